"""The ladder before a change, at a prompt: plan, question, journal. The ladder itself is ``client/guard.py``'s."""

from __future__ import annotations

import asyncio
import shlex
import sys
from typing import TYPE_CHECKING, Any

from klamm.cli.run import Run
from klamm.client.cluster import Cluster
from klamm.client.errors import RefusedError
from klamm.client.guard import ADDITIVE, MILD, MODERATE, SEVERE, Made, Plan, journal_change, level_of
from klamm.client.text import printable

if TYPE_CHECKING:
    from klamm.client.journal import Entry

__all__ = ["ADDITIVE", "MILD", "MODERATE", "SEVERE", "Plan", "guard", "record", "record_made", "tell_undo"]


async def guard(run: Run, plan: Plan, cluster: Cluster | None = None) -> bool:
    """Show the plan and have it confirmed; False in a dry run. ``cluster`` is changed, the line's own if None.

    Raises:
        RefusedError: Read-only, or nobody confirmed.
    """
    changed = run.cluster if cluster is None else cluster
    if not run.dry_run:
        await changed.ensure_writable(plan.what)
    settings = changed.settings
    level = level_of(plan, settings)
    if level > 0 or run.dry_run:
        where = f" in {settings.context}" if settings.context else ""
        # Names come from the cluster: one with a line break in it must not look like a line of the plan.
        run.note(f"{'Would' if run.dry_run else 'Plan:'} {printable(plan.what)}{where}")
        for line in plan.lines:
            run.note(f"  {printable(line)}")
        if plan.cannot_undo:
            run.note(f"  Cannot be undone: {printable(plan.cannot_undo)}")
    if run.dry_run:
        return False
    if level >= SEVERE:
        await _confirm_name(run, plan)
    elif level > 0 and not run.values.flag("yes"):
        await _confirm(run, plan)
    return True


async def record(
    run: Run,
    summary: str,
    inverse: list[dict[str, Any]],
    cannot: str = "",
    cluster: Cluster | None = None,
    *,
    of_registry: bool = False,
) -> int | None:
    """Write a change to the undo journal and say how to take it back; return the entry's number."""
    changed = run.cluster if cluster is None else cluster
    try:
        entry = await journal_change(changed, run.line, summary, inverse, cannot, of_registry=of_registry)
    except OSError as error:
        run.note(f"warning: the undo journal cannot be written: {error}")
        return None
    tell_undo(run, entry, others=changed is not run.cluster)
    return entry.number


def tell_undo(run: Run, entry: Entry, word: str = "Undo", *, others: bool = False) -> None:
    """Say how to take a change back, if anything of it can be.

    ``others``: not the line's own cluster was changed, but one that it names besides.
    """
    if entry.inverse:
        own = ("-c", run.values.text("context")), ("-b", run.values.text("bootstrap"))
        named = (("-c", entry.context),) if others else own
        words = [part for option, value in named if value for part in (option, value)]
        line = shlex.join(["klamm", "undo", str(entry.number), *words])
        run.note(f"{word} with: {line}" + (f" (not {entry.cannot})" if entry.cannot else ""))


async def record_made(run: Run, made: Made, cluster: Cluster | None = None) -> None:
    """Write what came of a change to the undo journal, unless nothing did."""
    if made.names:
        await record(run, made.summary, [dict(each) for each in made.inverse], made.cannot_undo, cluster)


async def _confirm(run: Run, plan: Plan) -> None:
    if not run.interactive:
        msg = f"{plan.what}: nobody confirmed"
        raise RefusedError(msg, "add --yes")
    if (await _ask(run, "Do it? [y/N] ")).lower() not in {"y", "yes"}:
        msg = f"{plan.what}: not confirmed"
        raise RefusedError(msg, "nothing was changed")


async def _confirm_name(run: Run, plan: Plan) -> None:
    given = run.values.text("confirm")
    if given is None and run.interactive:
        given = await _ask(run, f"Type {plan.name!r} to do it: ")
    if given is None:
        yes = "--yes is not enough for this; " if run.values.flag("yes") else ""
        msg = f"{plan.what}: nobody confirmed"
        raise RefusedError(msg, f"{yes}add --confirm {shlex.quote(plan.name)}")
    if given != plan.name:
        msg = f"{plan.what}: {given!r} is not {plan.name!r}"
        raise RefusedError(msg, f"--confirm {shlex.quote(plan.name)}")


async def _ask(run: Run, question: str) -> str:
    """Ask on the terminal; the deadline waits meanwhile, and Ctrl-C ends the question."""
    sys.stderr.write(question)
    sys.stderr.flush()
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[None] = loop.create_future()
    stdin = sys.stdin.fileno()
    with run.without_deadline():
        try:
            # A thread that reads would outlive Ctrl-C: the interpreter waits for it until somebody presses Enter.
            loop.add_reader(stdin, lambda: None if answered.done() else answered.set_result(None))
        except NotImplementedError:  # Windows' loop watches no console
            return str(await asyncio.to_thread(sys.stdin.readline)).strip()
        try:
            await answered
        finally:
            loop.remove_reader(stdin)
        return sys.stdin.readline().strip()
