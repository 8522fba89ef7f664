"""Taking back the last change made with klamm on this cluster, and doing it again."""

from __future__ import annotations

from collections.abc import Sequence

from klamm.client import journal
from klamm.client.errors import SettingsError
from klamm.client.guard import SEVERE, Plan
from klamm.client.redo import last_change, last_undo, take_back
from klamm.client.undo import severity, told
from klamm.tui.dialogs.change import Change, Done, Prepared, Values, command_line
from klamm.tui.session import Session


class UndoLast(Change):
    """The newest entry of the journal that is of this cluster and was not undone."""

    title = "Undo"

    async def prepare(self, session: Session, values: Values) -> Prepared:
        """Find the entry."""
        mine = await _mine(session)
        entry = last_change(mine)
        if entry is None:
            last = next((each for each in mine if not each.undone and not each.undoes), None)
            cannot = f"; the last change cannot be undone: {last.cannot}" if last is not None and last.cannot else ""
            msg = f"nothing that klamm changed on this cluster can be undone{cannot}"
            raise SettingsError(msg)
        what = f"undo change {entry.number} ({entry.summary})"
        return _prepared(session, entry, what, what.replace("undo", "undid", 1) + "; Z does it again")


class RedoLast(Change):
    """The change that was undone last, made again."""

    title = "Redo"

    async def prepare(self, session: Session, values: Values) -> Prepared:
        """Find the undo."""
        entry = last_undo(await _mine(session))
        if entry is None:
            msg = "nothing was undone since the last change on this cluster"
            raise SettingsError(msg)
        change = journal.read(entry.undoes)
        what = f"do change {change.number} again ({change.summary})"
        return _prepared(session, entry, what, f"did change {change.number} again; z takes it back")


async def _mine(session: Session) -> Sequence[journal.Entry]:
    cluster_id = await session.cluster.cluster_id()
    return [each for each in journal.entries() if each.cluster_id == cluster_id]


def _prepared(session: Session, entry: journal.Entry, what: str, done: str) -> Prepared:
    lines = [f"made {entry.at}: {entry.command}", *(told(operation) for operation in entry.inverse)]
    plan = Plan(what, severity(entry.inverse), str(entry.number), lines, entry.cannot)
    words = ["undo", str(entry.number), *(["--confirm", plan.name] if plan.level >= SEVERE else ["--yes"])]

    async def apply() -> Done:
        errors, _ = await take_back(session.cluster, entry, command_line(words, session.settings))
        return Done(done, errors, (), changed=False)

    return Prepared(plan, words, apply)
