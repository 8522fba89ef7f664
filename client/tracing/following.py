"""Messages as they pass through a cluster: each with the groups that read its partition and when each passed it.

Two logs are followed from now on: the topics, for messages that carry a sampled trace context (or all messages), and
``__consumer_offsets``, for the commits that pass them; and ``otlp_spans`` where there is one, for what went wrong.

Applications export a span some seconds after it has ended, and the logs are read side by side: an error or a commit may
come before its message is seen, and an error after every group has passed it. So errors and commits wait for messages,
and messages are remembered.
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from klamm.client.cluster import Cluster
from klamm.client.cluster_rights import lists_every_group
from klamm.client.errors import ClientError
from klamm.client.messages.filters import Filter
from klamm.client.messages.record import Fields, Record
from klamm.client.messages.scan import Scan
from klamm.client.offsets import Partition
from klamm.client.positions import resolve_ranges
from klamm.client.tracing.bystanders import told_once
from klamm.client.tracing.commits import CONSUMER_OFFSETS
from klamm.client.tracing.otlp import OtlpError, decode_json, decode_protobuf
from klamm.client.tracing.propagation import CONTEXT_NEEDLES, read_headers
from klamm.client.tracing.recorded import SPANS_TOPIC
from klamm.client.tracing.spans import Span, SpanId
from klamm.client.wire import ClusterMetadata
from klamm.model.errors import KafkaError
from klamm.records.offsets_schema import OffsetCommitKey, OffsetCommitValue, decode_record

TRACKED_MAX: Final = 10_000
"""Messages that wait to be passed at most: the oldest are let go first and counted."""
REMEMBERED_MAX: Final = 10_000
"""Messages that an error may still come for, and errors that a message may still come for: the oldest are forgotten."""
_DEAD_LETTERS: Final = re.compile(r"(^|[._-])(dlq|dlt|dead[._-]?letters?([._-]?queue)?)([._-]|$)", re.IGNORECASE)
_JSON_START: Final = b"{"


_COMMITS_KEPT: Final = 100
"""Commits of one group to one partition that a message may still come for."""
Place = tuple[str, int, int]
"""(topic, partition, offset)."""


@dataclass(slots=True)
class Sighting:
    """One message on its way. ``waiting`` are groups that read its partition and have yet to pass it."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    trace_id: str | None
    context: SpanId | None
    waiting: set[str] = field(default_factory=set)
    passed: dict[str, int] = field(default_factory=dict)
    error: str | None = None
    reported: bool = False

    @property
    def place(self) -> Place:
        """Where it is."""
        return self.topic, self.partition, self.offset

    @property
    def is_done(self) -> bool:
        """Whether every group that reads its partition has passed it, and there is one."""
        return bool(self.passed) and not self.waiting

    @property
    def slowest(self) -> str | None:
        """The group that it waits for, or waited for longest."""
        if self.waiting:
            return min(self.waiting)
        return max(self.passed, key=lambda group: self.passed[group], default=None)

    def age_ms(self, now_ms: float) -> float:
        """Return how long it took until the last group, or has taken so far."""
        end = max(self.passed.values()) if self.is_done else now_ms
        return max(0.0, end - self.timestamp_ms)


class Flow:
    """Follows a cluster; ``await start()``, take what :meth:`done` returns from time to time, and ``await close()``.

    Attributes:
        errors: Why something cannot be followed, by its topic; groups that may not be described by their first name.
        has_spans: Whether there is a topic ``otlp_spans``, so that error spans are seen.
        lists_all: False where groups may be missing: see :class:`klamm.client.tracing.bystanders.Bystanders`.
        let_go: Messages that were given up for newer ones.
    """

    def __init__(self, cluster: Cluster, metadata: ClusterMetadata, *, sampled_only: bool = True) -> None:
        """Prepare to follow the metadata's topics."""
        self.errors: dict[str, ClientError] = {}
        self.has_spans = False
        self.lists_all = True
        self.let_go = 0
        self._cluster = cluster
        self._metadata = metadata
        self._sampled_only = sampled_only
        self._tracked: OrderedDict[Place, Sighting] = OrderedDict()
        self._by_partition: dict[Partition, OrderedDict[int, Sighting]] = {}
        self._remembered: OrderedDict[Place, Sighting] = OrderedDict()
        self._by_context: dict[SpanId, Place] = {}
        self._early: OrderedDict[SpanId | Place, str] = OrderedDict()
        """Errors of messages that were not seen yet."""
        self._readers: dict[Partition, dict[str, int]] = {}
        self._commits: dict[tuple[Partition, str], deque[tuple[int, int]]] = {}
        """The last commits since the start: offset and time."""
        self._done: dict[Place, Sighting] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Learn which groups read what, and follow from now on.

        Raises:
            ClientError: The groups cannot be listed.
        """
        from klamm.client.committed import committed_offsets  # noqa: PLC0415 (loads kio, which the first poll hides)
        from klamm.client.groups import MEMBERLESS, list_groups  # noqa: PLC0415 (the same)

        (groups, failed), self.lists_all = await asyncio.gather(
            list_groups(self._cluster), lists_every_group(self._cluster)
        )
        live = [group for group in groups if group.state not in MEMBERLESS and group.type != "share"]
        commits, refused = await committed_offsets(self._cluster, live)
        self.errors.update((each.name or each.code, each) for each in told_once([*failed, *refused.values()]))
        for name, offsets in commits.items():
            for where, each in offsets.items():
                self._readers.setdefault(where, {})[name] = each.offset
        internal = await self._cluster.metadata([CONSUMER_OFFSETS, SPANS_TOPIC])
        topics = {topic.name: topic for topic in internal.topics if not topic.error_code}
        self.has_spans = SPANS_TOPIC in topics
        self._follow(
            "topics",
            self._metadata,
            Filter(self._is_wanted, [CONTEXT_NEEDLES] if self._sampled_only else []),
            self._see,
        )
        for name, take in ((CONSUMER_OFFSETS, self._commit), (SPANS_TOPIC, self._span)):
            if name in topics:
                self._follow(name, internal._replace(topics=[topics[name]]), None, take)

    async def close(self) -> None:
        """Stop following."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def done(self) -> list[Sighting]:
        """Return the messages that all have passed, that nobody reads, or that went wrong, since the last call.

        One that goes wrong, or is known to have, after it was returned is returned once more.
        """
        done, self._done = self._done, {}
        return list(done.values())

    def waiting(self) -> Sequence[Sighting]:
        """Return the messages that some group has yet to pass, oldest first."""
        return [each for each in self._tracked.values() if not each.is_done]

    def _follow(self, name: str, metadata: ClusterMetadata, condition: Filter | None, take: object) -> None:
        assert callable(take), take

        async def follow() -> None:
            partitions = [(topic.name, part.partition) for topic in metadata.topics for part in topic.partitions]
            try:
                ranges = await resolve_ranges(self._cluster, metadata, partitions, "end", None)
                scan = Scan(self._cluster, metadata, ranges.ranges, condition, committed_only=True)
                async for records in scan.batches():
                    for record in records:
                        take(record)
                for error in scan.errors.values():
                    self.errors[name] = error
            except ClientError as error:
                self.errors[name] = error

        self._tasks.append(asyncio.create_task(follow()))

    def _is_wanted(self, _: int, fields: Fields) -> bool:
        if not self._sampled_only:
            return True
        context = read_headers(fields[4]).context
        return context is not None and context.sampled is not False

    def _see(self, record: Record) -> None:
        context = read_headers(record.headers).context
        where, place = (record.topic, record.partition), (record.topic, record.partition, record.offset)
        sighting = Sighting(
            *place,
            record.timestamp_ms,
            record.key,
            None if context is None else context.trace_id,
            None if context is None or context.span_id is None else (context.trace_id, context.span_id),
            *self._groups_of(where, record.offset),
        )
        if _DEAD_LETTERS.search(record.topic):
            sighting.error = "in a dead letter topic"
        for key in (place, sighting.context):
            early = None if key is None else self._early.pop(key, None)
            sighting.error = sighting.error or early
        if sighting.error is not None or not sighting.waiting:
            self._report(sighting)
        self._remember(sighting)
        if sighting.is_done:
            return
        self._tracked[place] = sighting
        self._by_partition.setdefault(where, OrderedDict())[record.offset] = sighting
        if len(self._tracked) > TRACKED_MAX:
            self.let_go += 1
            self._forget(next(iter(self._tracked.values())))

    def _groups_of(self, where: Partition, offset: int) -> tuple[set[str], dict[str, int]]:
        """Return which groups have yet to pass an offset, and when those passed it whose commit was seen before it."""
        waiting, passed = set[str](), dict[str, int]()
        for group, committed in self._readers.get(where, {}).items():
            if committed <= offset:
                waiting.add(group)
                continue
            for past, at_ms in self._commits.get((where, group), ()):
                if past > offset:
                    passed[group] = at_ms
                    break
        return waiting, passed

    def _commit(self, record: Record) -> None:
        if record.key is None or record.value is None:
            return
        try:
            decoded = decode_record(record.key, record.value)
        except KafkaError:
            return  # a record of a later schema
        if decoded is None or not isinstance(decoded.key, OffsetCommitKey):
            return
        value, group = decoded.value, decoded.key.group
        assert isinstance(value, OffsetCommitValue), f"a commit's value is {value!r}"
        where = (decoded.key.topic, decoded.key.partition)
        self._readers.setdefault(where, {})[group] = value.offset
        kept = self._commits.setdefault((where, group), deque(maxlen=_COMMITS_KEPT))
        kept.append((value.offset, value.commit_timestamp_ms))
        for offset, sighting in list(self._by_partition.get(where, {}).items()):
            if offset < value.offset and group not in sighting.passed:
                sighting.waiting.discard(group)
                sighting.passed[group] = value.commit_timestamp_ms
                if sighting.is_done:
                    self._report(sighting)
                    self._forget(sighting)

    def _span(self, record: Record) -> None:
        value = record.value or b""
        try:
            spans = (decode_json(value) if value.startswith(_JSON_START) else decode_protobuf(value)).spans
        except OtlpError:
            return  # another signal
        for span in spans:
            if span.error is not None:
                self._fail(span, span.error)

    def _fail(self, span: Span, error: str) -> None:
        """Mark the messages that a span is about, by its place, by links or as its parent; remember it if none is."""
        text = f"{span.service or span.name}: {error}"
        contexts = [span.key, *span.links]
        if span.parent is not None:
            contexts.append((span.trace_id, span.parent))
        places = {self._by_context[context] for context in contexts if context in self._by_context}
        keys: list[SpanId | Place] = [*contexts]
        if span.topic is not None and span.partition is not None and span.offset is not None:
            places.add((span.topic, span.partition, span.offset))
            keys = [(span.topic, span.partition, span.offset)]
        found = [self._remembered[place] for place in places if place in self._remembered]
        for sighting in found:
            if sighting.error is None:
                sighting.error = text
                sighting.reported = True
                self._done[sighting.place] = sighting
        if not found:
            for key in keys:
                self._early.setdefault(key, text)
            while len(self._early) > REMEMBERED_MAX:
                self._early.popitem(last=False)

    def _remember(self, sighting: Sighting) -> None:
        """Keep a message for errors that come late."""
        self._remembered[sighting.place] = sighting
        if sighting.context is not None:
            self._by_context[sighting.context] = sighting.place
        if len(self._remembered) > REMEMBERED_MAX:
            place, oldest = self._remembered.popitem(last=False)
            if oldest.context is not None and self._by_context.get(oldest.context) == place:
                del self._by_context[oldest.context]

    def _report(self, sighting: Sighting) -> None:
        """Hand out a message, once."""
        if not sighting.reported:
            sighting.reported = True
            self._done[sighting.place] = sighting

    def _forget(self, sighting: Sighting) -> None:
        self._tracked.pop(sighting.place, None)
        self._by_partition[sighting.topic, sighting.partition].pop(sighting.offset, None)
