"""``klamm message latest --key``: the last record of one key, found where the default partitioner puts it.

That partition is read backwards, and only it. Nothing proves that no producer put the key elsewhere except looking
there: a key that is not in its partition is looked for in all others, and ``--all-partitions`` looks there anyway.
There only records from the found one's timestamp on can be later, and between partitions time is all that can tell.
"""

from __future__ import annotations

import asyncio
import shlex
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from klamm.cli.message_coverage import coverage_item, gap_errors
from klamm.cli.message_source import committed_only, find_source, open_ended, ranges_of, raw_word
from klamm.cli.output import Result
from klamm.cli.run import Run
from klamm.client.errors import ClientError
from klamm.client.text import counted

if TYPE_CHECKING:
    from klamm.cli.message_source import Source
    from klamm.client.messages.latest import Backwards, LastMatches
    from klamm.client.offsets import Partition
    from klamm.client.positions import Range


async def latest_of_key(run: Run) -> Result:
    """Show the latest record of the line's key."""
    from klamm.cli.message_output import choose_sink
    from klamm.client.messages.filters import literal_filter
    from klamm.client.messages.latest import LastMatches

    key = run.values.text("key") or ""
    sink = await choose_sink(run, run.values.required("topic"), people=True)
    with open_ended(run):
        source = await find_source(run)
        ranges = await ranges_of(run, source, run.values.text("until") or "end")
        matches = LastMatches(
            run.cluster,
            source.metadata,
            literal_filter(key=raw_word(key)),
            committed_only=committed_only(run),
            on_trouble=lambda text: run.note(f"waiting: {text}"),
        )
        matches.errors.update(ranges.errors)
        try:
            told = await _look(run, source, ranges.ranges, matches)
        except (asyncio.CancelledError, KeyboardInterrupt):
            _tell(run, matches)
            run.note(f"interrupted before the latest record of {key!r} was known")
            raise
    newest = _newest(matches)
    errors = [*matches.errors.values(), *matches.corrupt_errors, *gap_errors(matches.gaps)]
    if newest is None:
        read = f"what could be read of {source.topic} has" if errors else f"{source.topic} has"
        code, msg = "NO_RECORD", f"{read} no record with key {key!r}"
        errors.append(ClientError(code, msg, f"klamm message find {source.topic} {shlex.quote(key)}"))
    if run.values.flag("count"):
        sys.stdout.write(f"{int(newest is not None)}\n")
    else:
        sink.begin()
        if newest is not None and newest.last is not None:
            header, fields = newest.last
            await sink.prepare(newest.where, [(header, [fields])])
            sink.rows(newest.where, [(header, [fields])])
        parts = matches.parts.values()
        covered = [coverage_item(each, each.low, complete=each.is_done and not each.failed) for each in parts]
        sink.end(errors, {"coverage": covered})
    if newest is not None and newest.last is not None and newest.last[1][3] is None:
        run.note(f"the latest record of {key!r} is a tombstone: the key is deleted")
    _tell(run, matches)
    if told:
        run.note(told)
    return Result((), (), errors, streamed=True)


async def _look(run: Run, source: Source, ranges: Mapping[Partition, Range], matches: LastMatches) -> str:
    """Look where the line asks to, and return what to say about the partitions that were left out or added."""
    from klamm.client.messages.raw_producing import default_partition

    key = run.values.text("key") or ""
    topic = next(each for each in source.metadata.topics if each.name == source.topic)
    home = (source.topic, default_partition(raw_word(key), len(topic.partitions)))
    others = {where: each for where, each in ranges.items() if where != home}
    if run.values.text("partition") is not None or home not in ranges or not others:
        await matches.look(ranges)  # just those that were named, or that there are
        return ""
    await matches.look({home: ranges[home]})
    found = _newest(matches)
    rest = f"the other {counted(len(others), 'partition')}"
    by_default = f"{home[0]}:{home[1]}, where the default partitioner (murmur2) puts it"
    if found is None:
        run.note(f"{key!r} is not in {by_default}: looking at {rest}")
        await matches.look(others)
        return f"{key!r} was placed by another partitioner, or before the topic grew" if _newest(matches) else ""
    if not run.values.flag("all_partitions"):
        elsewhere = "where a producer with another partitioner may have put a later one: --all-partitions"
        return f"{key!r} is in {by_default}. Not looked at: {rest}, {elsewhere}"
    await matches.look(await _since(run, source, others, matches, found))
    if _newest(matches) is found:
        return f"{rest} have no later record with key {key!r}: looked at from its timestamp on"
    return f"{key!r} is in several partitions; the latest is by timestamp"


async def _since(
    run: Run, source: Source, ranges: Mapping[Partition, Range], matches: LastMatches, found: Backwards
) -> dict[Partition, Range]:
    """Return the parts of ranges that can hold a later record than one: from its timestamp on."""
    from klamm.client.offsets import list_offsets

    assert found.last is not None, "called for a record"
    timestamp = found.last[1][1]
    if timestamp < 0:
        return dict(ranges)
    offsets, errors = await list_offsets(run.cluster, source.metadata, dict.fromkeys(ranges, timestamp))
    matches.errors |= errors
    return {
        where: each._replace(
            start=max(each.start, each.end or 0 if offsets[where].offset < 0 else offsets[where].offset)
        )
        for where, each in ranges.items()
        if where in offsets
    }


def _newest(matches: LastMatches) -> Backwards | None:
    """Return the part that has the latest record: by timestamp where several have one."""
    found = [each for each in matches.parts.values() if each.last is not None]
    return max(found, key=lambda each: (each.last[1][1] if each.last else -1, each.where), default=None)


def _tell(run: Run, matches: LastMatches) -> None:
    """Say on standard error which offsets were looked at."""
    for each in matches.parts.values():
        span = f"offsets {each.low:,} to {each.end - 1:,}" if each.end > each.low else "no offsets"
        left = each.remaining
        state = "complete" if not left else f"{counted(left, 'offset')} before it not needed" if each.last else "unread"
        run.note(
            f"{each.where[0]}:{each.where[1]}  scanned {each.scanned:,}  matched {each.matched:,}  {span}, {state}"
        )
