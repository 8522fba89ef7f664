"""The ladder before a change, one rule for every face: how much has to be confirmed, and the note for undo.

| level | a person | a script |
|---|---|---|
| 0 additive (create a topic) | no question | no question |
| 1 mild (a valid config) | yes or no | ``--yes`` |
| 2 moderate (seek, delete a group, add partitions) | plan, yes or no | ``--yes`` |
| 3 severe (delete or trim a topic) | type the name | ``--confirm NAME``; a bare ``--yes`` is refused |

In a context with env = prod every level but 0 is one higher, and ``--write`` is needed as well, which
:meth:`klamm.client.cluster.Cluster.ensure_writable` sees to.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from klamm.client.cluster import Cluster
from klamm.client.errors import ClientError
from klamm.client.journal import Entry
from klamm.client.operations import Operation
from klamm.client.settings import Settings

ADDITIVE, MILD, MODERATE, SEVERE = range(4)
LEVELS: Final = ("additive", "mild", "moderate", "severe")


class Plan(NamedTuple):
    """What is about to change. ``name`` is what a severe change makes one type."""

    what: str
    level: int
    name: str
    lines: Sequence[str] = ()
    cannot_undo: str = ""


class Made(NamedTuple):
    """What came of a change: in a few words, to what of what was meant it was made, and what failed.

    ``inverse`` takes it back, but for what ``cannot_undo`` names.
    """

    summary: str
    names: Sequence[str] = ()
    errors: Sequence[ClientError] = ()
    inverse: Sequence[Operation] = ()
    cannot_undo: str = ""


def level_of(plan: Plan, settings: Settings) -> int:
    """Return how high a plan stands on the ladder in this context."""
    return min(SEVERE, plan.level + 1) if settings.env == "prod" and plan.level > ADDITIVE else plan.level


def config_level(kinds: Iterable[str]) -> int:
    """Return how severe a change of configs is: what brokers and groups go by concerns more than one topic."""
    return MILD if set(kinds) <= {"topic"} else MODERATE


async def journal_change(
    cluster: Cluster,
    line: str,
    summary: str,
    inverse: list[dict[str, Any]],
    cannot: str = "",
    *,
    of_registry: bool = False,
) -> Entry:
    """Write a change that was made to the undo journal; one of a schema registry needs no cluster to answer.

    Raises:
        OSError: The journal cannot be written; the change was made all the same.
    """
    from klamm.client import journal  # noqa: PLC0415 (reads and writes files: only after a change)

    cluster_id = None if of_registry else await cluster.cluster_id()
    return journal.write(line, summary, cluster.settings.context, cluster_id, inverse, cannot)
