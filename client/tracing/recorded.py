"""What brokers and collectors have recorded of a message in topics: ``__klamm_flow`` and ``otlp_spans``.

Both are read from the message's time on; where that is more than the bound allows, around the times at which its groups
passed it and at the end, and what was left out is said (``windows.py``).
``otlp_spans`` holds OTLP protobuf, as a klamm broker writes it and as the OpenTelemetry Collector's Kafka exporter does
(its ``otlp_proto`` encoding); Collectors that write ``otlp_json`` are read as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from klamm.client.cluster import Cluster
from klamm.client.errors import ClientError
from klamm.client.tracing.asking import offsets_at
from klamm.client.tracing.otlp import OtlpError, decode_json, decode_protobuf
from klamm.client.tracing.spans import Place, Span, SpanStore
from klamm.client.tracing.windows import Gap, Part, read_part
from klamm.client.wire import ClusterMetadata, TopicMetadata
from klamm.model.errors import KafkaError
from klamm.protocol.varint import unsigned_varint
from klamm.records import flow_schema
from klamm.records.flow_schema import FlowRecord

FLOW_TOPIC: Final = flow_schema.TOPIC
SPANS_TOPIC: Final = "otlp_spans"
SIZE_BYTES_MAX: Final = 16 << 20
"""Bytes read of one topic at most, over its partitions: a quarter of a second's work."""
_JSON_START: Final = b"{"


class Recorded(NamedTuple):
    """What was found, and why the rest was not: what the bound left out, and errors.

    ``begins_ms`` is the time of the topic's very first record, where that was among what was read; ``brothers`` are
    other messages with the very same context.
    """

    flow: tuple[FlowRecord, ...] = ()
    spans: tuple[Span, ...] = ()
    gaps: tuple[Gap, ...] = ()
    errors: tuple[ClientError, ...] = ()
    begins_ms: int | None = None
    brothers: frozenset[Place] = frozenset()


class Window:
    """From when on, and around which moments, the two topics are read: once, for one message or several.

    Args:
        from_ms: Where reading begins.
        moments_ms: Times around which something is known to have happened.
    """

    def __init__(self, from_ms: int, moments_ms: Sequence[int] = ()) -> None:
        self._from_ms = from_ms
        self._moments_ms = moments_ms
        self._reads: dict[tuple[str, tuple[bytes, ...]], asyncio.Future[tuple[Part, list[ClientError]]]] = {}

    async def read(
        self, cluster: Cluster, metadata: ClusterMetadata, topic: TopicMetadata, needles: Sequence[bytes]
    ) -> tuple[Part, list[ClientError]]:
        """Return what is in a topic then, and what could not be read."""
        key = topic.name, tuple(needles)
        if key not in self._reads:
            reading = _read(cluster, metadata, topic, self._from_ms, self._moments_ms, needles)
            self._reads[key] = asyncio.ensure_future(reading)
        return await self._reads[key]


def topic_of(metadata: ClusterMetadata, name: str) -> TopicMetadata | None:
    """Return a topic that is there and may be seen, None if it is not."""
    return next((each for each in metadata.topics if each.name == name and not each.error_code), None)


async def read_flow(
    cluster: Cluster,
    metadata: ClusterMetadata,
    where: tuple[str, int],
    offset: int,
    from_ms: int,
    window: Window | None = None,
) -> Recorded:
    """Return the flow records of a message: those of its partition with a range that holds its offset.

    Ranges of before ``from_ms`` are of another topic of this name, which is gone.
    """
    topic = topic_of(metadata, FLOW_TOPIC)
    if topic is None:
        return Recorded()
    needle = f"{where[0]}:{where[1]}".encode()
    found, errors = await (window or Window(from_ms)).read(cluster, metadata, topic, [needle])
    flow = [
        record
        for each in found.records
        if each.key == needle
        and (record := flow_schema.decode_value(each.value)) is not None
        and (time_us := record.time_us(offset)) is not None
        and time_us >= from_ms * 1000
    ]
    return Recorded(flow=tuple(flow), gaps=tuple(found.gaps), errors=tuple(errors))


async def read_spans(
    cluster: Cluster,
    metadata: ClusterMetadata,
    context: tuple[str, str] | None,
    place: Place,
    window: Window,
) -> Recorded:
    """Return the spans of a message, following parents and links as far as what was read goes.

    Only exports are decoded whose bytes hold the context, or the message's place as a span names it: most of what was
    read is of other messages, and decoding all of it would take a second.
    """
    topic = topic_of(metadata, SPANS_TOPIC)
    if topic is None:
        return Recorded()
    # A span in another trace that links to the message holds its span id; what follows in there is found by decoding.
    needles = [] if context is None else [bytes.fromhex(each) for each in context]
    needles += [each.encode() for each in context or ()]
    found, errors = await window.read(cluster, metadata, topic, ())
    store = SpanStore()
    values = [each.value for each in found.records if each.value]
    hits = [value for value in values if any(needle in value for needle in needles) or names_place(value, place)]
    store.add(_decode(hits))
    linked = {span.trace_id for span in store} - {context[0] if context else ""}
    if linked:
        further = [bytes.fromhex(trace_id) for trace_id in linked]
        store.add(_decode(value for value in values if any(each in value for each in further)))
    begins_ms = min((each.timestamp_ms for each in found.records if each.offset == 0), default=None)
    return Recorded(
        spans=tuple(store.related(context, place)),
        gaps=tuple(found.gaps),
        errors=tuple(errors),
        begins_ms=begins_ms,
        brothers=frozenset(store.brothers(context, place)),
    )


def names_place(value: bytes, place: Place) -> bool:
    """Return whether an export may hold a span that names the message's topic and offset, by its bytes alone.

    In protobuf an attribute is its name, then, in a field 2, a number in a field 3 or a text in a field 1.
    """
    topic, _, offset = place
    digits = str(offset).encode()
    if topic.encode() not in value:
        return False
    if value.startswith(_JSON_START):
        return digits in value
    number = unsigned_varint(offset)
    as_number = b".offset\x12" + bytes((len(number) + 1,)) + b"\x18" + number
    as_text = b".offset\x12" + bytes((len(digits) + 2,)) + b"\x0a" + bytes((len(digits),)) + digits
    return as_number in value or as_text in value


def _decode(values: Iterable[bytes]) -> list[Span]:
    spans: list[Span] = []
    for value in values:
        try:
            spans += (decode_json(value) if value.startswith(_JSON_START) else decode_protobuf(value)).spans
        except OtlpError:
            continue  # another signal, or another encoding: no spans of ours
    return spans


async def _read(
    cluster: Cluster,
    metadata: ClusterMetadata,
    topic: TopicMetadata,
    from_ms: int,
    moments_ms: Sequence[int],
    needles: Sequence[bytes],
) -> tuple[Part, list[ClientError]]:
    led = [each for each in topic.partitions if each.leader >= 0]
    starts, failed = await offsets_at(cluster, metadata, [(topic.name, each.partition) for each in led], from_ms)
    errors = list(failed.values())
    found = Part([], [])
    share = SIZE_BYTES_MAX // max(1, len(led))

    async def one(index: int) -> None:
        start = starts[topic.name, index]
        if start < 0:
            return
        partition = next(each for each in led if each.partition == index)
        try:
            part = await read_part(cluster, metadata, topic, partition, start, moments_ms, needles, share)
            found.records.extend(part.records)
            found.gaps.extend(part.gaps)
        except ClientError as error:
            errors.append(error)
        except KafkaError as error:
            name = f"{topic.name}:{index}"
            errors.append(ClientError("CORRUPT_MESSAGE", f"{name}: {error}", name=name))

    await asyncio.gather(*(one(index) for _, index in starts))
    return found, errors
