"""``klamm message`` as it reads: consume, find, get, latest."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from klamm.cli.output import Item, Result
from klamm.cli.parser import UsageError
from klamm.cli.progress import Progress
from klamm.cli.run import Run
from klamm.client.errors import ClientError

if TYPE_CHECKING:
    from klamm.cli.message_output import Sink
    from klamm.client.decoding import RecordDecoder
    from klamm.client.messages.conditions import Node
    from klamm.client.messages.filters import Filter
    from klamm.client.messages.record import Fields, Record
    from klamm.client.messages.scan import Found, Scan
    from klamm.client.offsets import Partition
    from klamm.client.wire import ClusterMetadata
    from klamm.records.batch import BatchHeader

KEY_PLACE = 2
"""Where a record's fields have the key."""
PARTITIONS_TOLD = 12
"""As many partitions are summed up one by one after a search; of more only those that have something to say."""
PLACE = r"(?P<topic>[\w.-]+):(?P<partition>\d+)@(?P<offset>\d+)"


class Source(NamedTuple):
    """A topic to read, and which of its partitions."""

    topic: str
    metadata: ClusterMetadata
    partitions: list[Partition]


async def consume(run: Run) -> Result:
    """Print records as they come, from a position on."""
    if run.values.text("group") is not None:
        from klamm.cli.message_group import consume_in_group

        return await consume_in_group(run)
    return await _read(run, until=_until(run), people=False)


async def find(run: Run) -> Result:
    """Print the records that match, and say what was looked at."""
    if not _conditions(run):
        msg = 'klamm message find needs what to look for: TEXT, --key, --header or --where, e.g. --where "key=cust-*"'
        raise UsageError(msg)
    return await _read(run, until=_until(run) or "end", people=True)


def _until(run: Run) -> str | None:
    until = run.values.text("until")
    if run.values.flag("exit"):
        if until not in {None, "end"}:
            msg = "-e means --until end; give one of them"
            raise UsageError(msg)
        return "end"
    return "end" if until is None and ".." in (run.values.text("from") or "") else until


async def _read(run: Run, *, until: str | None, people: bool) -> Result:
    from klamm.cli.message_output import Counting, choose_sink

    limit = _limit(run)
    where_to = await choose_sink(run, run.values.required("topic"), people=people)
    condition = await make_condition(run)
    with open_ended(run):
        source = await find_source(run)
        scan = await make_scan(run, source, until, condition)
        sink = Counting() if run.values.flag("count") else where_to
        return await _run_scan(run, scan, sink, limit, tells=people or until is not None or limit is not None)


async def _run_scan(run: Run, scan: Scan, sink: Sink, limit: int | None, *, tells: bool) -> Result:
    """Print what a scan finds; whatever ends it, the output is whole and it is said how far it came."""
    errors: list[ClientError] = []
    finished = False
    sink.begin()
    try:
        try:
            finished = await _print_found(run, scan, sink, limit)
        except ClientError as error:
            errors.append(error)
        errors += [*scan.errors.values(), *scan.corrupt_errors(), *gap_errors(scan)]
        if not finished and (errors or scan.remaining) and limit is None:
            tell_resume(run, scan)
    except (asyncio.CancelledError, KeyboardInterrupt):
        tell_coverage(run, scan)
        tell_resume(run, scan)
        raise
    finally:
        sink.end(errors, {"coverage": coverage_items(scan)} if run.command.path == "message find" else None)
    if run.values.flag("count"):
        sys.stdout.write(f"{scan.matched}\n")
    if tells:
        tell_coverage(run, scan)
        if scan.remaining and finished:
            tell_resume(run, scan)
    return Result((), (), errors, streamed=True)


async def _print_found(run: Run, scan: Scan, sink: Sink, limit: int | None) -> bool:
    """Print until the end or the limit; return whether that was reached without anything left out."""
    if limit is None and sink.wants_values and not scan.has_condition:
        async for values in scan.values():
            sink.values(values)
        return not scan.errors
    left = limit
    total = scan.remaining
    with Progress(run, "searching", total, "offsets") as bar:
        async for found in scan.rows():
            if total is not None and scan.has_condition:
                bar.at(total - (scan.remaining or 0))
            if left is None:
                if found.rows:
                    await sink.prepare(found.where, found.rows)
                    sink.rows(found.where, found.rows)
                continue
            left -= await _print_some(scan, sink, found, left)
            if left == 0:
                return True
    return not scan.errors


async def _print_some(scan: Scan, sink: Sink, found: Found, most: int) -> int:
    """Print at most ``most`` of what was found, and let the scan stand right behind the last one."""
    count = sum(len(rows) for _, rows in found.rows)
    await sink.prepare(found.where, found.rows)
    if count <= most:
        if found.rows:
            sink.rows(found.where, found.rows)
            if count == most:
                scan.stop_at(found.where, found.rows[-1][1][-1][0] + 1, 0)
        return count
    kept: list[Any] = []
    left = most
    for header, rows in found.rows:
        kept.append((header, rows[:left]))
        left -= len(kept[-1][1])
        if left == 0:
            break
    sink.rows(found.where, kept)
    scan.stop_at(found.where, kept[-1][1][-1][0] + 1, count - most)
    return most


def _limit(run: Run) -> int | None:
    limit = run.values.number("n")
    if limit is not None and limit < 1:
        msg = f"-n takes a number from 1 on, not {limit}"
        raise UsageError(msg)
    return limit


class open_ended:  # noqa: N801 (used like a function)
    """Takes the deadline of the whole command away, unless the line has one: a stream ends when it ends."""

    def __init__(self, run: Run) -> None:
        self._stopped = run.without_deadline() if run.values.text("timeout") is None else None

    def __enter__(self) -> None:
        """Stop the clock."""
        if self._stopped is not None:
            self._stopped.__enter__()

    def __exit__(self, *error: object) -> None:
        """Start it again."""
        if self._stopped is not None:
            self._stopped.__exit__(None, None, None)


async def find_source(run: Run) -> Source:
    """Return the topic of the line and the partitions that are asked for.

    Raises:
        ClientError: There is no such topic; nothing was created. Says which names are near.
    """
    from klamm.cli.topic import find_topics

    name = run.values.required("topic")
    metadata, topics, errors = await find_topics(run, [name])
    if errors:
        raise errors[0]
    if len(topics) != 1:
        msg = f"{name!r} names {len(topics)} topics, and records are read from one"
        raise UsageError(msg)
    known = sorted(part.partition for part in topics[0].partitions)
    chosen = known
    text = run.values.text("partition")
    if text is not None:
        try:
            chosen = sorted({int(part) for part in text.split(",")})
        except ValueError:
            msg = f"--partition takes numbers like 0,2, not {text!r}"
            raise UsageError(msg) from None
        missing = [each for each in chosen if each not in known]
        if missing:
            msg = f"{topics[0].name} has no partition {missing[0]}; it has 0 to {known[-1]}"
            raise UsageError(msg)
    return Source(topics[0].name, metadata, [(topics[0].name, each) for each in chosen])


async def make_scan(run: Run, source: Source, until: str | None, condition: Filter | None) -> Scan:
    """Return the search that the line asks for, its positions resolved and told on standard error."""
    from klamm.client.messages.scan import Scan
    from klamm.client.positions import resolve_ranges

    committed = run.values.text("isolation") == "read_committed"
    given = run.values.text("from")
    start = "start" if given is None else given
    if ".." in start and run.values.text("until") is None:
        until = None  # the range has its own
    found = await resolve_ranges(
        run.cluster, source.metadata, source.partitions, start, until, committed_only=committed
    )
    if given is not None or run.values.text("until") is not None:
        for note in found.notes:
            run.note(f"{source.topic}: {note}")
    if found.errors and not found.ranges:
        raise next(iter(found.errors.values()))
    scan = Scan(
        run.cluster,
        source.metadata,
        found.ranges,
        condition,
        committed_only=committed,
        on_trouble=lambda text: run.note(f"waiting: {text}"),
    )
    scan.errors.update(found.errors)
    return scan


def _conditions(run: Run) -> list[str]:
    """Return whatever the line says about what to look for; not every command takes all of it."""
    values = run.values
    single = [values.text(name) for name in ("key", "text") if values.has(name)]
    several = [text for name in ("where", "filter", "header") if values.has(name) for text in values.texts(name)]
    return [*several, *(each for each in single if each is not None)]


async def make_condition(run: Run) -> Filter | None:
    """Return what the line looks for, None for everything.

    Raises:
        FilterError: A filter that cannot be parsed.
    """
    if not _conditions(run):
        return None
    from klamm.client.messages.conditions import joined, parse
    from klamm.client.messages.filters import both, literal_filter

    values = run.values
    key = values.text("key")
    text = values.text("text") if values.has("text") else None
    headers: list[tuple[str, bytes | None]] = []
    for pair in values.texts("header"):
        name, equals, value = pair.partition("=")
        headers.append((name, _raw(value) if equals else None))
    literals = None
    if key is not None or text is not None or headers:
        literals = literal_filter(
            key=None if key is None else _raw(key), text=None if text is None else _raw(text), headers=headers
        )
    node = joined([parse(each) for each in (*values.texts("where"), *values.texts("filter"))])
    return both(literals, None if node is None else await _built(run, node))


async def _built(run: Run, node: Node) -> Filter:
    """Return a filter at work, with the decoding that its paths need."""
    from klamm.client.decoding import open_decoder
    from klamm.client.messages.filters import build, decode_json
    from klamm.client.messages.record import Record

    values = run.values
    named = [
        values.text(name)
        for name in ("key_as", "value_as", "key_schema", "value_schema", "registry")
        if values.has(name)
    ]
    settings = run.resolved.settings
    topic = values.required("topic")
    plain = not any(named) and not settings.registry and not topic.startswith("__")
    if plain:
        decoder = await open_decoder(settings)
    else:
        from klamm.cli.message_output import make_decoder

        decoder = await make_decoder(run)

    def as_record(fields: Fields) -> Record:
        return Record(topic, -1, fields[0], fields[1], "", fields[2], fields[3], fields[4])

    def decode(fields: Fields, place: int) -> object:
        if plain:
            with contextlib.suppress(ValueError):
                return decode_json(fields, place)
        record = as_record(fields)
        return (decoder.key(record) if place == KEY_PLACE else decoder.value(record)).value

    async def prepare(rows: Sequence[Fields]) -> None:
        await decoder.prepare(as_record(fields) for fields in rows)

    return build(node, decode, None if plain else prepare, literal=plain)


def _raw(text: str) -> bytes:
    """Return the bytes of a word of the line; what was no UTF-8 there stays what it was."""
    return text.encode("utf-8", "surrogateescape")


def coverage_items(scan: Scan) -> list[Item]:
    """Return the coverage as programs read it."""
    return [
        {
            "topic": each.where[0],
            "partition": each.where[1],
            "start": each.start,
            "end": each.end,
            "position": each.position,
            "scanned": each.scanned,
            "matched": each.matched,
            "remaining": each.remaining,
            "complete": each.is_complete and each.where not in scan.errors,
        }
        for each in scan.coverage.values()
    ]


def tell_coverage(run: Run, scan: Scan) -> None:
    """Say on standard error what was looked at, by partition and in all."""
    if scan.has_condition:
        told = list(scan.coverage.values())
        if len(told) > PARTITIONS_TOLD:
            told = [each for each in told if each.matched or not each.is_complete][:PARTITIONS_TOLD]
        for each in told:
            state = "complete" if each.is_complete else "following the log"
            if each.remaining:
                state = f"{each.remaining:,} offsets left, next {each.where[0]}:{each.where[1]}@{each.position:,}"
            run.note(f"{each.where[0]}:{each.where[1]}  scanned {each.scanned:,}  matched {each.matched:,}  {state}")
    matches = f"{scan.matched:,} match{'' if scan.matched == 1 else 'es'} in " if scan.has_condition else ""
    left = scan.remaining
    state = "complete" if scan.is_complete else f"{left:,} offsets not looked at" if left else ""
    if scan.gaps or scan.corrupt_count or scan.errors:
        state = f"incomplete{'; ' + state if left else ''}"
    run.note(f"{matches}{scan.scanned:,} record{'' if scan.scanned == 1 else 's'}{'; ' + state if state else ''}")


def tell_resume(run: Run, scan: Scan) -> None:
    """Say on standard error which line goes on where the scan stopped, if anything is left."""
    if scan.cursor:
        run.note(f"Go on with: {resume_line(scan)}")


def resume_line(scan: Scan) -> str:
    """Return the line that goes on where a scan stopped."""
    words = iter(sys.argv[1:])
    kept: list[str] = []
    dropped = ("--from", "--offset", "--until")
    for word in words:
        if word in dropped:
            next(words, None)
        elif word in {"-e", "--exit"} or word.startswith(tuple(f"{each}=" for each in dropped)):
            continue
        else:
            kept.append(word)
    kept += ["--from", scan.cursor]
    if scan.cursor_end:
        kept += ["--until", scan.cursor_end]
    return shlex.join(["klamm", *kept])


def gap_errors(scan: Scan) -> list[ClientError]:
    """Return the offsets that were gone when they were asked for as errors to report."""
    return [
        ClientError(
            "OFFSETS_GONE",
            f"{gap.where[0]}:{gap.where[1]}: offsets {gap.start:,} to {gap.end - 1:,} could not be read: {gap.why}",
            "klamm topic describe " + gap.where[0],
        )
        for gap in scan.gaps
    ]


async def get(run: Run) -> Result:
    """Show single records whole, by TOPIC:PARTITION@OFFSET."""
    from klamm.cli.message_output import choose_sink, make_decoder
    from klamm.client.messages.record import to_record

    places = [place_of(text) for text in run.values.texts("places")]
    errors: list[ClientError] = []
    shown: list[str] = []
    table = run.form.name == "table" and run.values.text("format") is None
    sink = None if table else await choose_sink(run, places[0][0], people=True)
    decoder = await make_decoder(run) if table else None
    if sink is not None:
        sink.begin()
    for topic, partition, offset in places:
        try:
            rows = await rows_at(run, topic, partition, offset)
            if sink is not None:
                await sink.prepare((topic, partition), rows)
                sink.rows((topic, partition), rows)
            elif decoder is not None:
                records = [to_record(topic, partition, header, fields) for header, batch in rows for fields in batch]
                await decoder.prepare(records)
                shown += [_whole(decoder, record) for record in records]
        except ClientError as error:
            errors.append(error)
    if sink is not None:
        sink.end(errors)
        return Result((), (), errors, streamed=True)
    return Result((), (), errors, text="\n".join(shown))


async def rows_at(run: Run, topic: str, partition: int, offset: int) -> list[tuple[BatchHeader, list[Fields]]]:
    """Return the record at an offset.

    Raises:
        ClientError: There is none; says why.
    """
    from klamm.client.messages.scan import Scan
    from klamm.client.positions import resolve_ranges

    where = (topic, partition)
    metadata = await _topic_metadata(run, topic, partition)
    found = await resolve_ranges(run.cluster, metadata, [where], f"{offset}..{offset + 1}", None)
    for error in found.errors.values():
        raise error
    bounds = found.ranges[where]
    if not bounds.log_start <= offset < bounds.log_end:
        held = f"{bounds.log_start} to {bounds.log_end - 1}" if bounds.log_end > bounds.log_start else "none"
        raise _not_there(topic, partition, offset, f"the log has {held}")
    scan = Scan(run.cluster, metadata, {where: bounds})
    rows = [each async for found_rows in scan.rows() for each in found_rows.rows]
    for error in [*scan.errors.values(), *scan.corrupt_errors()]:
        raise error
    if not rows:
        raise _not_there(topic, partition, offset, "compacted away, or a transaction's marker")
    return rows


def _not_there(topic: str, partition: int, offset: int, why: str) -> ClientError:
    msg = f"{topic}:{partition} has no record at {offset}: {why}"
    code = "NO_RECORD"
    return ClientError(code, msg, f"klamm consume {topic} -p {partition} --from {offset} -n 1")


async def _topic_metadata(run: Run, topic: str, partition: int) -> ClusterMetadata:
    from klamm.cli.topic import find_topics

    metadata, topics, errors = await find_topics(run, [topic])
    if errors:
        raise errors[0]
    known = [part.partition for part in topics[0].partitions]
    if partition not in known:
        msg = f"{topic} has no partition {partition}; it has 0 to {max(known)}"
        code = "UNKNOWN_PARTITION"
        raise ClientError(code, msg, f"klamm topic describe {topic}")
    return metadata


def place_of(text: str) -> tuple[str, int, int]:
    """Return topic, partition and offset of ``TOPIC:PARTITION@OFFSET``.

    Raises:
        UsageError: It is none.
    """
    import re

    match = re.fullmatch(PLACE, text)
    if match is None:
        msg = f"{text!r} is no TOPIC:PARTITION@OFFSET, for example orders:0@42"
        raise UsageError(msg)
    return match["topic"], int(match["partition"]), int(match["offset"])


def _whole(decoder: RecordDecoder, record: Record) -> str:
    """Return one record for a person: where it stands, headers, key and value, JSON in lines."""
    import json

    from klamm.cli.message_output import time_text
    from klamm.client.decoding import decode, visible

    key, value = decoder.key(record), decoder.value(record)
    lines = [
        f"{record.topic}:{record.partition}@{record.offset}   {time_text(record.timestamp_ms)} {record.timestamp_type}"
    ]
    if record.producer_id >= 0:
        lines.append(f"producer  {record.producer_id}")
    lines += [f"header    {visible(name)} = {decode(data).text}" for name, data in record.headers]
    for name, decoded, data in (("key", key, record.key), ("value", value, record.value)):
        kind = " ".join(part for part in (decoded.kind, decoded.schema) if part)
        size = "" if data is None else f", {len(data):,} bytes"
        note = f"  ({decoded.note})" if decoded.note else ""
        shown = decoded.text
        if isinstance(decoded.value, (dict, list)) and name == "value":
            indented = json.dumps(decoded.value, indent=2, ensure_ascii=False, default=str)
            shown = visible(indented, lines=True)
        lines.append(f"{name:<9} [{kind}{size}]{note}")
        lines += [f"  {line}" for line in shown.split("\n")]
    return "\n".join(lines) + "\n"


async def latest(run: Run) -> Result:
    """Show the latest record of one key, or of every key."""
    from klamm.cli.message_output import choose_sink
    from klamm.client.messages.filters import literal_filter

    key = run.values.text("key")
    condition = None if key is None else literal_filter(key=_raw(key))
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
