"""One change made to several objects: one plan, one question, one entry in the journal."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from klamm.client.errors import ClientError
from klamm.client.guard import Plan
from klamm.tui.dialogs.change import Change, Done, Prepared, Values
from klamm.tui.session import Session

LOOKED_AT_ONCE: Final = 8
"""Objects of which it is found out at a time what the change would do: brokers need not answer for all at once."""


class Together(Change):
    """The same change of each object, asked for once; if one of them cannot be made, none is.

    Objects of which nothing would change are left out.
    """

    def __init__(self, changes: Sequence[Change], what: str) -> None:
        """Take one change for each object, with the same fields, and what all are called: ``3 groups``."""
        self.changes = list(changes)
        self.title = changes[0].title
        self.fields = changes[0].fields
        self.starts_at = changes[0].starts_at
        self._what = what

    def where(self) -> str:
        """Return what it is about."""
        return self._what

    async def prepare(self, session: Session, values: Values) -> Prepared:
        """Find out what each would do."""
        limit = asyncio.Semaphore(LOOKED_AT_ONCE)

        async def look(change: Change) -> Prepared:
            async with limit:
                return await change.prepare(session, values)

        found = await asyncio.gather(*(look(change) for change in self.changes))
        made = [each for each in found if not each.idle] or found
        lines = [line for each in made for line in (each.plan.what, *(f"  {line}" for line in each.plan.lines))]
        lines += [f"{each.plan.what}: {each.problem}" for each in found if each.idle]
        cannot = next((each.plan.cannot_undo for each in made if each.plan.cannot_undo), "")
        names = [each.plan.name for each in made]
        left_out = f", {len(found) - len(made)} left out" if made != found else ""
        plan = Plan(
            f"{self.title.lower()} of {self._what}{left_out}",
            max(each.plan.level for each in made),
            ",".join(names),
            lines,
            cannot,
        )

        async def apply() -> Done:
            return await self._apply(made, f"{self.changes[0].past} {self._what}{left_out}")

        also = [each.words for each in made[1:]]
        return Prepared(plan, made[0].words, apply, made[0].undo, _problem(made), also=also, names=names)

    async def _apply(self, made: Sequence[Prepared], summary: str) -> Done:
        """Make one change after another until somebody stops it; one that fails leaves the others as they are."""
        done: list[Done] = []
        for each in made:
            assert each.apply is not None, f"{each.plan.what}: nothing to apply"
            if self.stopped:
                break
            try:
                done.append(await each.apply())
            except ClientError as error:  # what was made before it belongs into the journal
                done.append(Done("", [error], changed=False))
        changed = sum(each.changed for each in done)
        return Done(
            summary if changed == len(made) else f"{summary}, {changed} of {len(made)}",
            [error for each in done for error in each.errors],
            [operation for each in reversed(done) for operation in each.inverse],
            next((each.cannot_undo for each in done if each.cannot_undo), ""),
            bool(changed),
        )


def _problem(made: Sequence[Prepared]) -> str:
    """Return what is wrong: with all of them, or with the first one that something is wrong with."""
    if len({each.problem for each in made}) == 1:
        return made[0].problem
    return next(f"{each.plan.what}: {each.problem}" for each in made if each.problem)
