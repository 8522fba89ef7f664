"""``klamm message get``: single records whole, by TOPIC:PARTITION@OFFSET."""

from __future__ import annotations

from typing import TYPE_CHECKING

from klamm.cli.names import mistaken
from klamm.cli.output import Result
from klamm.cli.parser import UsageError
from klamm.cli.run import Run
from klamm.client.errors import ClientError

if TYPE_CHECKING:
    from klamm.client.decoding import RecordDecoder
    from klamm.client.messages.record import Fields, Record
    from klamm.client.wire import ClusterMetadata
    from klamm.records.batch import BatchHeader

PLACE = r"(?P<topic>[\w.-]+):(?P<partition>\d+)@(?P<offset>\d+)"


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
    begun = False
    for topic, partition, offset in places:
        try:
            rows = await rows_at(run, topic, partition, offset)
            if sink is not None:
                if not begun:
                    sink.begin()
                begun = True
                await sink.prepare((topic, partition), rows)
                sink.rows((topic, partition), rows)
            elif decoder is not None:
                records = [to_record(topic, partition, header, fields) for header, batch in rows for fields in batch]
                await decoder.prepare(records)
                shown += [_whole(decoder, record) for record in records]
        except ClientError as error:
            errors.append(error)
    if sink is not None and begun:
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
    for error in scan.failures():
        raise error
    if not rows:
        raise _not_there(topic, partition, offset, "compacted away, or a transaction's marker")
    return rows


def _not_there(topic: str, partition: int, offset: int, why: str) -> ClientError:
    msg = f"{topic}:{partition} has no record at {offset}: {why}"
    code = "NO_RECORD"
    return ClientError(code, msg, f"klamm consume {topic} -p {partition} --from {offset} -n 1")


async def _topic_metadata(run: Run, topic: str, partition: int) -> ClusterMetadata:
    from klamm.cli.topic_names import find_topics

    metadata, topics, errors = await find_topics(run, [topic])
    if errors:
        raise errors[0]
    known = [part.partition for part in topics[0].partitions]
    if partition not in known:
        msg = f"{topic} has no partition {partition}; it has 0 to {max(known)}"
        code = "UNKNOWN_PARTITION"
        raise mistaken(ClientError(code, msg, f"klamm topic describe {topic}", name=f"{topic}:{partition}"))
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
