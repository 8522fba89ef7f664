"""``klamm message latest``: the last record of a key, or of every key."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, NamedTuple

from klamm.cli.message_coverage import gap_errors, tell_coverage
from klamm.cli.message_source import find_source, make_scan, open_ended, raw_word
from klamm.cli.output import Result
from klamm.cli.progress import Progress
from klamm.cli.run import Run
from klamm.client.errors import ClientError

if TYPE_CHECKING:
    from klamm.client.messages.record import Fields
    from klamm.client.messages.scan import Scan
    from klamm.client.offsets import Partition
    from klamm.records.batch import BatchHeader


async def latest(run: Run) -> Result:
    """Show the latest record of one key, or of every key."""
    from klamm.cli.message_output import choose_sink
    from klamm.client.messages.filters import literal_filter

    key = run.values.text("key")
    condition = None if key is None else literal_filter(key=raw_word(key))
    sink = await choose_sink(run, run.values.required("topic"), people=True)
    with open_ended(run):
        source = await find_source(run)
        scan = await make_scan(run, source, run.values.text("until") or "end", condition)
        newest = await _newest_by_key(run, scan)
    errors = [*scan.errors.values(), *scan.corrupt_errors(), *gap_errors(scan)]
    kept = [each for each in newest.values() if key is not None or run.values.flag("tombstones") or each.is_alive]
    if key is not None and not newest:
        code, msg = "NO_RECORD", f"{source.topic} has no record with key {key!r}"
        errors.append(ClientError(code, msg, f"klamm message find {source.topic} {shlex.quote(key)}"))
    if run.values.flag("count"):
        sys.stdout.write(f"{len(kept)}\n")
    else:
        sink.begin()
        for each in sorted(kept, key=lambda each: (each.where, each.fields[0])):
            await sink.prepare(each.where, [(each.header, [each.fields])])
            sink.rows(each.where, [(each.header, [each.fields])])
        sink.end(errors)
    for each in newest.values() if key is not None else ():
        if each.fields[3] is None:
            run.note(f"the latest record of {key!r} is a tombstone: the key is deleted")
        if each.partitions > 1:
            run.note(f"{key!r} is in {each.partitions} partitions; the latest is by timestamp")
    tell_coverage(run, scan)
    return Result((), (), errors, streamed=True)


class _Newest(NamedTuple):
    """The latest record of a key, and in how many partitions the key is."""

    where: Partition
    header: BatchHeader
    fields: Fields
    partitions: int = 1

    @property
    def is_alive(self) -> bool:
        """Whether there is a key, and a value: neither a record without key nor a tombstone."""
        return self.fields[2] is not None and self.fields[3] is not None


async def _newest_by_key(run: Run, scan: Scan) -> dict[bytes | None, _Newest]:
    """Return the latest record of each key. Memory grows with the keys, not with the records."""
    newest: dict[bytes | None, _Newest] = {}
    total = scan.remaining or 0
    with Progress(run, "reading", total, "offsets") as bar:
        async for found in scan.rows():
            bar.at(total - (scan.remaining or 0))
            for header, rows in found.rows:
                for fields in rows:
                    before = newest.get(fields[2])
                    if before is None or before.where == found.where:
                        number = 1 if before is None else before.partitions
                        newest[fields[2]] = _Newest(found.where, header, fields, number)
                    elif before.fields[1] <= fields[1]:
                        # In one partition the offset decides. Between partitions (another partitioner placed the key
                        # elsewhere once) only time can.
                        newest[fields[2]] = _Newest(found.where, header, fields, before.partitions + 1)
                    else:
                        newest[fields[2]] = before._replace(partitions=before.partitions + 1)
    return newest
