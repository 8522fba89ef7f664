"""``klamm undo``: take back a change that was made with klamm."""

from __future__ import annotations

from klamm.cli.guard import Plan, guard, tell_undo
from klamm.cli.output import Column, Result
from klamm.cli.run import Run
from klamm.cli.spec import Argument, Command, Example, Option
from klamm.client import journal
from klamm.client.errors import RefusedError, SettingsError

COLUMNS = (
    Column("N", "name", right=True),
    Column("AT", "at"),
    Column("CONTEXT", "context"),
    Column("SUMMARY", "summary"),
    Column("UNDO", "can_undo"),
    Column("CANNOT", "cannot"),
)


async def undo(run: Run) -> Result:
    """List the journal, or apply an entry's inverse."""
    from klamm.client.redo import take_back
    from klamm.client.undo import registry_only, severity, told

    if run.values.flag("list"):
        return Result(
            [_item(entry) for entry in journal.entries()], COLUMNS, empty="nothing was changed with klamm yet"
        )
    entry = _chosen(run)
    if not entry.inverse:
        msg = f"change {entry.number} cannot be undone: {entry.cannot}"
        raise RefusedError(msg, "klamm undo --list")
    needs_cluster = entry.cluster_id is not None or not registry_only(entry.inverse)
    found = await run.cluster.cluster_id() if needs_cluster else None
    if found != entry.cluster_id:
        msg = f"change {entry.number} was made on cluster {entry.cluster_id}, and {found} answers"
        raise RefusedError(msg, f"klamm undo {entry.number} -c {entry.context or 'CONTEXT'}")
    if entry.undone:
        run.note(f"note: change {entry.number} was undone before")
    lines = [told(operation) for operation in entry.inverse]
    what = f"do change {entry.undoes} again" if entry.undoes else f"undo change {entry.number} ({entry.summary})"
    plan = Plan(what, severity(entry.inverse), str(entry.number), lines, entry.cannot)
    if not await guard(run, plan):
        return Result([_item(entry)], COLUMNS)
    errors, again = await take_back(run.cluster, entry, run.line)
    if not errors:
        entry = entry._replace(undone=True)
    if again is not None:
        tell_undo(run, again, "Redo")
    return Result([_item(entry)], COLUMNS, errors)


def _chosen(run: Run) -> journal.Entry:
    text = run.values.text("number")
    if text is not None:
        digits = text.removeprefix("@").removeprefix("undo-")
        if not digits.isdigit():
            msg = f"{text!r} is no number of the undo journal"
            raise SettingsError(msg, "klamm undo --list")
        return journal.read(int(digits))
    from klamm.client.redo import last_change

    entry = last_change(journal.entries())
    if entry is not None:
        return entry
    msg = "there is nothing to undo"
    raise SettingsError(msg, "klamm undo --list")


def _item(entry: journal.Entry) -> dict[str, object]:
    return {
        "name": str(entry.number),
        "at": entry.at,
        "context": entry.context,
        "cluster_id": entry.cluster_id,
        "command": entry.command,
        "summary": entry.summary,
        "can_undo": "done" if entry.undone else "yes" if entry.inverse else "no",
        "cannot": entry.cannot or None,
    }


COMMANDS = (
    Command(
        "undo",
        "Take back a change made with klamm",
        undo,
        "UndoList",
        (Argument("number", "of the change; the last one if not said", required=False),),
        (Option(("--list",), "list the changes, newest first"),),
        (
            Example("klamm undo --list", "what was changed, and what can be taken back"),
            Example("klamm undo 42 --yes", "take back change 42; of an undo: do the change again"),
        ),
        ("those of the inverse",),
        ("those of the inverse",),
        level=2,
        details="Knows the changes this user made with klamm. What no request brings back (records) is said. An undo "
        "is a change as well: undoing it by its number does the change again.",
    ),
)
