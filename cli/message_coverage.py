"""What a search says about itself: how far it came, by partition, and the line that goes on from there."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from klamm.cli.output import Item
from klamm.cli.run import Run
from klamm.client.errors import ClientError
from klamm.client.text import counted

if TYPE_CHECKING:
    from klamm.client.messages.fetching import Gap
    from klamm.client.messages.latest import Backwards
    from klamm.client.messages.scan import Coverage, Scan

PARTITIONS_TOLD = 12
"""As many partitions are summed up one by one after a search; of more only those that have something to say."""


def coverage_items(scan: Scan) -> list[Item]:
    """Return the coverage as programs read it."""
    return [
        coverage_item(each, each.position, complete=each.is_complete and each.where not in scan.errors)
        for each in scan.coverage.values()
    ]


def coverage_item(each: Coverage | Backwards, position: int, *, complete: bool) -> Item:
    """Return how far a search came in one partition, forwards or backwards, as programs read it."""
    return {
        "topic": each.where[0],
        "partition": each.where[1],
        "start": each.start,
        "end": each.end,
        "position": position,
        "scanned": each.scanned,
        "matched": each.matched,
        "remaining": each.remaining,
        "complete": complete,
    }


def tell_coverage(run: Run, scan: Scan) -> None:
    """Say on standard error what was looked at, by partition and in all."""
    if scan.has_condition:
        told = list(scan.coverage.values())
        if len(told) > PARTITIONS_TOLD:
            told = [each for each in told if each.matched or not each.is_complete][:PARTITIONS_TOLD]
        for each in told:
            state = "complete" if each.is_complete else "following the log"
            if each.remaining:
                state = (
                    f"{counted(each.remaining, 'offset')} left, next {each.where[0]}:{each.where[1]}@{each.position:,}"
                )
            run.note(f"{each.where[0]}:{each.where[1]}  scanned {each.scanned:,}  matched {each.matched:,}  {state}")
    matches = f"{scan.matched:,} match{'' if scan.matched == 1 else 'es'} in " if scan.has_condition else ""
    left = scan.remaining
    state = "complete" if scan.is_complete else f"{counted(left, 'offset')} not looked at" if left else ""
    if scan.gaps or scan.corrupt_count or scan.undecoded or scan.errors:
        state = f"incomplete{'; ' + state if left else ''}"
    run.note(f"{matches}{scan.scanned:,} record{'' if scan.scanned == 1 else 's'}{'; ' + state if state else ''}")


def tell_resume(run: Run, scan: Scan) -> None:
    """Say on standard error which line goes on where the scan stopped, if anything is left."""
    if scan.cursor:
        run.note(f"Go on with: {resume_line(scan)}")


def resume_line(scan: Scan, to: str | None = None) -> str:
    """Return the line that goes on where a scan stopped; ``to`` is another file for it to write."""
    words = iter(sys.argv[1:])
    kept: list[str] = []
    dropped = ("--from", "--offset", "--until", *(("--to",) if to is not None else ()))
    for word in words:
        if word in dropped:
            next(words, None)
        elif word in {"-e", "--exit"} or word.startswith(tuple(f"{each}=" for each in dropped)):
            continue
        else:
            kept.append(word)
    kept += ["--to", to] if to is not None else []
    kept += ["--from", scan.cursor]
    if scan.cursor_end:
        kept += ["--until", scan.cursor_end]
    return shlex.join(["klamm", *kept])


def gap_errors(gaps: Iterable[Gap]) -> list[ClientError]:
    """Return the offsets that were gone when they were asked for as errors to report."""
    return [
        ClientError(
            "OFFSETS_GONE",
            f"{gap.where[0]}:{gap.where[1]}: offsets {gap.start:,} to {gap.end - 1:,} could not be read: {gap.why}",
            "klamm topic describe " + gap.where[0],
        )
        for gap in gaps
    ]
