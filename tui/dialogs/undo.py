"""Taking back the last change made with klamm on this cluster."""

from __future__ import annotations

from klamm.client import journal
from klamm.client.errors import SettingsError
from klamm.client.guard import Plan
from klamm.client.undo import apply_inverse, severity, told
from klamm.tui.dialogs.change import Change, Done, Prepared, Values
from klamm.tui.session import Session


class UndoLast(Change):
    """The newest entry of the journal that is of this cluster and was not undone."""

    title = "Undo"

    async def prepare(self, session: Session, values: Values) -> Prepared:
        """Find the entry."""
        cluster_id = await session.cluster.cluster_id()
        mine = [each for each in journal.entries() if each.cluster_id == cluster_id and not each.undone]
        entry = next((each for each in mine if each.inverse), None)
        if entry is None:
            cannot = f"; the last change cannot be undone: {mine[0].cannot}" if mine and mine[0].cannot else ""
            msg = f"nothing that klamm changed on this cluster can be undone{cannot}"
            raise SettingsError(msg)
        lines = [f"made {entry.at}: {entry.command}", *(told(operation) for operation in entry.inverse)]
        what = f"undo change {entry.number} ({entry.summary})"
        plan = Plan(what, severity(entry.inverse), str(entry.number), lines, entry.cannot)
        level = ["--confirm", str(entry.number)] if plan.level >= 3 else ["--yes"]  # noqa: PLR2004 (severe)

        async def apply() -> Done:
            errors = await apply_inverse(session.cluster, entry.inverse)
            if not errors:
                journal.mark_undone(entry)
            return Done(what.replace("undo", "undid", 1), errors, (), changed=False)

        return Prepared(plan, ["undo", str(entry.number), *level], apply)
