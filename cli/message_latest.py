"""``klamm message latest`` of every key: the whole topic is read, and the last record of each key kept.

Of one key (``--key``) see ``message_latest_key.py``: its own partition is read, backwards.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, NamedTuple

from klamm.cli.message_coverage import coverage_items, gap_errors, tell_coverage
from klamm.cli.message_source import find_source, make_scan, open_ended
from klamm.cli.output import Result
from klamm.cli.progress import Progress
from klamm.cli.run import Run
from klamm.client.text import counted

if TYPE_CHECKING:
    from klamm.client.messages.record import Fields
    from klamm.client.messages.scan import Scan
    from klamm.client.offsets import Partition
    from klamm.records.batch import BatchHeader


async def latest(run: Run) -> Result:
    """Show the latest record of one key, or of every key."""
    from klamm.cli.message_output import choose_sink

    if run.values.text("key") is not None:
        from klamm.cli.message_latest_key import latest_of_key

        return await latest_of_key(run)
    sink = await choose_sink(run, run.values.required("topic"), people=True)
    with open_ended(run):
        source = await find_source(run)
        scan = await make_scan(run, source, run.values.text("until") or "end", None)
        newest = await _newest_by_key(run, scan)
    errors = [*scan.failures(), *gap_errors(scan.gaps)]
    kept = [each for each in newest.values() if run.values.flag("tombstones") or each.is_alive]
    if run.values.flag("count"):
        sys.stdout.write(f"{len(kept)}\n")
    else:
        sink.begin()
        for each in sorted(kept, key=lambda each: (each.where, each.fields[0])):
            await sink.prepare(each.where, [(each.header, [each.fields])])
            sink.rows(each.where, [(each.header, [each.fields])])
        sink.end(errors, {"coverage": coverage_items(scan)})
    several = sum(each.is_elsewhere for each in newest.values())
    if several:
        run.note(f"{several:,} of {counted(len(newest), 'key')} in several partitions; the latest is by timestamp")
    tell_coverage(run, scan)
    return Result((), (), errors, streamed=True)


class _Newest(NamedTuple):
    """The latest record of a key, and whether another partition has the key too."""

    where: Partition
    header: BatchHeader
    fields: Fields
    is_elsewhere: bool = False

    @property
    def is_alive(self) -> bool:
        """Whether there is a value: not a tombstone."""
        return self.fields[3] is not None


async def _newest_by_key(run: Run, scan: Scan) -> dict[bytes, _Newest]:
    """Return the latest record of each key. Memory grows with the keys, not with the records."""
    by_partition: dict[Partition, dict[bytes | None, tuple[BatchHeader, Fields]]] = {}
    total = scan.remaining or 0
    try:
        with Progress(run, "reading", total, "offsets") as bar:
            async for found in scan.rows():
                bar.at(total - (scan.remaining or 0))
                last = by_partition.setdefault(found.where, {})
                for header, rows in found.rows:
                    for fields in rows:
                        last[fields[2]] = (header, fields)
    except (asyncio.CancelledError, KeyboardInterrupt):
        tell_coverage(run, scan)
        run.note("interrupted: nothing is shown, since later records were not looked at")
        raise
    newest: dict[bytes, _Newest] = {}
    for where, last in by_partition.items():
        for key, (header, fields) in last.items():
            if key is not None:
                newest[key] = _later(newest.get(key), _Newest(where, header, fields))
    return newest


def _later(one: _Newest | None, other: _Newest) -> _Newest:
    """Return the later of a key's last records in two partitions.

    In one partition the offset decides. Between partitions (another partitioner placed the key elsewhere once) only
    time can.
    """
    if one is None:
        return other
    later = one if (one.fields[1], one.where) > (other.fields[1], other.where) else other
    return later._replace(is_elsewhere=True)
