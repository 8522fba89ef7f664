"""``klamm produce``: records from standard input, files, a template, or one line."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from klamm.cli.guard import ADDITIVE, MILD, Plan, guard, record
from klamm.cli.message_destination import CANNOT_UNDO, Destination, Placing, asked_partitions, find_destination, made
from klamm.cli.message_input import chunks, raw, split, unescaped
from klamm.cli.message_source import open_ended
from klamm.cli.message_template import compile_template, rate_of
from klamm.cli.output import Column, Item, Result, count_text
from klamm.cli.parser import UsageError
from klamm.cli.run import Run
from klamm.client.errors import ClientError, SettingsError
from klamm.client.text import counted

if TYPE_CHECKING:
    from klamm.client.messages.producing import Sender
    from klamm.client.wire import TopicMetadata

PRODUCE_COLUMNS = (
    Column("TOPIC", "topic"),
    Column("SENT", "sent", right=True, show=count_text),
    Column("FAILED", "failed", right=True, show=count_text),
)


class Shape(NamedTuple):
    """What every record of one line shares, and how input becomes records."""

    key: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    partition: int | None
    timestamp_ms: int | None
    key_separator: bytes | None
    empty_is_null: bool

    @property
    def fields(self) -> dict[str, Any]:
        """The fields as librdkafka has them; those that are not said are not there."""
        from klamm.client.messages.producing import headers_to_send

        found: dict[str, Any] = {}
        if self.key is not None:
            found["key"] = self.key
        if self.headers:
            found["headers"] = headers_to_send(self.headers)
        if self.partition is not None:
            found["partition"] = self.partition
        if self.timestamp_ms:
            found["timestamp"] = self.timestamp_ms
        return found


async def produce(run: Run) -> Result:
    """Send records from standard input, a file, a template or the line itself."""
    values = run.values
    shape = _shape(run)
    source = _source(run)
    with open_ended(run):
        destination = await find_destination(run, asked_partitions(run))
        _check_partition(destination.topic, shape.partition)
        if not await _guarded(run, destination, source):
            return Result([{"topic": destination.topic.name, "sent": 0, "failed": 0}], PRODUCE_COLUMNS)
        topic = await made(run, destination)
        _say_if_typed(run, topic.name, source)
        from klamm.client.messages.producing import Sender

        sender = Sender(run.cluster, _properties(run))
        errors: list[ClientError] = []
        try:
            async with sender:
                try:
                    await _send(run, sender, topic, shape, source)
                except ClientError as error:
                    errors.append(error)
        except (asyncio.CancelledError, KeyboardInterrupt):
            run.note(f"interrupted: {topic.name}: {sender.far}")
            raise
        errors += sender.errors
        if sender.failed > len(sender.errors):
            msg = f"{sender.failed - len(sender.errors):,} more records failed"
            errors.append(ClientError("DELIVERY_FAILED", msg))
        if errors:
            run.note(f"{counted(sender.sent, 'record')} sent to {topic.name} before that; nothing after it")
        if sender.sent:
            await record(run, f"produced {counted(sender.sent, 'record')} to {topic.name}", [], CANNOT_UNDO)
        return _report(run, topic.name, sender, errors, values.text("output") is None)


def _report(run: Run, topic: str, sender: Sender, errors: list[ClientError], quietly: bool) -> Result:
    """Return the result; a line without ``-o`` says it on standard error, so that nothing is on standard output."""
    item: Item = {"topic": topic, "sent": sender.sent, "failed": sender.failed}
    if quietly:
        if not errors:
            run.note(f"{sender.sent:,} record{'' if sender.sent == 1 else 's'} sent to {topic}")
        return Result((), (), errors, streamed=True)
    return Result([item], PRODUCE_COLUMNS, errors)


def _shape(run: Run) -> Shape:
    values = run.values
    if values.flag("tombstone") and values.text("key") is None:
        msg = "--tombstone needs --key: it deletes that key where the topic is compacted"
        raise UsageError(msg)
    separator = values.text("key_separator")
    if separator is not None and values.text("key") is not None:
        msg = "--key gives every record the same key, --key-separator each its own: only one of them"
        raise UsageError(msg)
    headers: list[tuple[str, bytes | None]] = []
    for pair in values.texts("header"):
        name, equals, value = pair.partition("=")
        if not name:
            msg = f"--header {pair!r} is no NAME=VALUE"
            raise UsageError(msg)
        headers.append((name, raw(value) if equals else None))
    key = values.text("key")
    return Shape(
        None if key is None else raw(key),
        tuple(headers),
        values.number("partition"),
        _timestamp(values.text("timestamp")),
        None if separator is None else raw(unescaped(separator)),
        values.flag("empty_as_null"),
    )


def _timestamp(text: str | None) -> int | None:
    if text is None:
        return None
    from klamm.client.positions import parse_time_ms

    now = int(time.time() * 1000)
    try:
        found = int(text) if text.isdecimal() else parse_time_ms(text, now)
        found = parse_time_ms(f"@{text}", now) if found is None else found
    except SettingsError:
        found = None
    if found is None or found <= 0:
        msg = f"--timestamp takes milliseconds or a time like 2026-11-23T10:00, not {text!r}"
        raise UsageError(msg)
    return found


class _Input(NamedTuple):
    """Where records come from: ``value``, ``tombstone``, ``template``, or a file's ``lines``, ``jsonl``, ``whole``."""

    kind: str
    text: str | None = None
    path: str | None = None

    @property
    def is_typed(self) -> bool:
        """Whether somebody types it now."""
        return self.path is None and self.kind in {"lines", "jsonl", "whole"} and sys.stdin.isatty()


def _source(run: Run) -> _Input:
    values = run.values
    form = values.text("input") or "lines"
    path = values.text("file")
    chosen = [name for name in ("value", "template", "file") if values.text(name) is not None]
    if values.flag("tombstone"):
        chosen.append("tombstone")
    if len(chosen) > 1:
        msg = f"--{chosen[0]} and --{chosen[1]} exclude each other: records come from one place"
        raise UsageError(msg)
    if "template" not in chosen and (values.text("rate") or values.number("count")) is not None:
        msg = "--rate and --count are of --template"
        raise UsageError(msg)
    if values.flag("tombstone"):
        return _Input("tombstone")
    for name in ("value", "template"):
        if values.text(name) is not None:
            return _Input(name, values.text(name))
    return _Input(form, None, None if path in {None, "-"} else path)


def _check_partition(topic: TopicMetadata, partition: int | None) -> None:
    known = {part.partition for part in topic.partitions}
    if partition is not None and partition not in known:
        msg = f"{topic.name} has no partition {partition}; it has 0 to {max(known)}"
        raise UsageError(msg)


async def _guarded(run: Run, destination: Destination, source: _Input) -> bool:
    """Ask where somebody sits at a terminal; what is piped or typed line by line is its own confirmation."""
    asked = run.interactive and not source.is_typed
    what = {"value": "one record", "tombstone": "a tombstone", "template": "records of a template"}
    topic = destination.topic.name
    level = MILD if asked else ADDITIVE
    records = what.get(source.kind, "records")
    return await guard(run, Plan(f"produce {records} to {topic}", level, topic, destination.lines, CANNOT_UNDO))


def _say_if_typed(run: Run, topic: str, source: _Input) -> None:
    if source.is_typed:
        run.note(f"type records for {topic}, one a line; Ctrl-D ends" if source.kind == "lines" else "Ctrl-D ends")


def _properties(run: Run) -> dict[str, Any]:
    values = run.values
    found: dict[str, Any] = {}
    for option, name in (("acks", "acks"), ("compression", "compression.type"), ("partitioner", "partitioner")):
        text = values.text(option)
        if text is not None:
            found[name] = text
    return found


async def _send(run: Run, sender: Sender, metadata: TopicMetadata, shape: Shape, source: _Input) -> None:
    topic = metadata.name
    match source.kind:
        case "tombstone":
            await sender.send_values(topic, [None], **shape.fields)
        case "value":
            await sender.send_values(topic, [raw(source.text or "")], **shape.fields)
        case "template":
            await _send_template(run, sender, topic, shape, source.text or "")
        case "jsonl":
            keep = not run.values.flag("repartition")
            await _send_jsonl(sender, metadata, shape, source, keep=keep)
        case "whole":
            parts = [chunk async for chunk in chunks(source.path)]
            await sender.send_values(topic, [b"".join(parts)], **shape.fields)
        case _:
            await _send_lines(run, sender, topic, shape, source)


async def _send_lines(run: Run, sender: Sender, topic: str, shape: Shape, source: _Input) -> None:
    delimiter = raw(unescaped(run.values.text("delimiter") or "\n"))
    fields = shape.fields
    async for lines in split(chunks(source.path), delimiter):
        if shape.key_separator is not None:
            await sender.send_pairs(topic, _keyed(lines, shape.key_separator, null=shape.empty_is_null), **fields)
        elif shape.empty_is_null:
            await sender.send_values(topic, [line or None for line in lines], **fields)
        else:
            await sender.send_values(topic, lines, **fields)
        if source.is_typed or sender.errors:
            sender.poll()
        if sender.errors:
            return


def _keyed(lines: list[bytes], separator: bytes, *, null: bool) -> list[tuple[bytes | None, bytes | None]]:
    """Return keys and values of lines; a line without the separator has no key, as with kcat."""
    pairs: list[tuple[bytes | None, bytes | None]] = []
    for line in lines:
        key, found, value = line.partition(separator)
        kept = value if found else line
        pairs.append((key if found else None, None if null and not kept else kept))
    return pairs


async def _send_jsonl(sender: Sender, topic: TopicMetadata, shape: Shape, source: _Input, *, keep: bool) -> None:
    """Send records of JSONL into the topic of the line, whatever topic they name."""
    from klamm.cli.message_files import read_drafts

    placing = Placing(topic)
    async for drafts in read_drafts(source.path or "-", "jsonl"):
        shaped = [
            draft._replace(
                topic=None,
                partition=(draft.partition if keep else None) if shape.partition is None else shape.partition,
                timestamp_ms=shape.timestamp_ms or draft.timestamp_ms,
                headers=(*draft.headers, *shape.headers),
            )
            for draft in drafts
        ]
        fitting, wrong = placing.fitting(shaped)
        await sender.send(fitting, topic.name)
        sender.poll()
        if sender.errors:
            return
        if wrong is not None:
            raise wrong


async def _send_template(run: Run, sender: Sender, topic: str, shape: Shape, template: str) -> None:
    """Send records made of a template, at a rate if one is given, until there are as many as asked for."""
    rate = rate_of(run.values.text("rate"))
    count = run.values.number("count")
    if count is None and rate is None:
        count = 1
    make = compile_template(template)
    make_key = None if shape.key is None else compile_template(shape.key.decode("utf-8", "surrogateescape"))
    from klamm.client.messages.jsonl import Draft

    began = time.monotonic()
    number = 0
    while count is None or number < count:
        due = number + 1000 if rate is None else int((time.monotonic() - began) * rate) + 1
        due = min(due, number + 1000, due if count is None else count)
        drafts = [
            Draft(
                None, shape.partition, shape.timestamp_ms, None if make_key is None else raw(make_key(each)),
                raw(make(each)), shape.headers,
            )
            for each in range(number, due)
        ]  # fmt: skip
        await sender.send(drafts, topic)
        sender.poll()
        if sender.errors:
            return
        number = max(number, due)
        if rate is not None:
            await asyncio.sleep(max(0.0, min(0.1, began + number / rate - time.monotonic())))
