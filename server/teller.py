"""Tells about a node: flow, state, spans, metrics. Everything runs on the exporter's thread."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

import psutil

from klamm.model.own_topics import FLOW, SPANS, STATE
from klamm.records import flow_schema, state_schema
from klamm.records.batch import iter_batches
from klamm.records.state_schema import RoundState, StateKey, key_of
from klamm.server.own_topics import OwnRecord, OwnTopics
from klamm.server.state_rounds import groups_by_client, node_state, yielding
from klamm.server.topic_settings import NOT_RECORDED
from klamm.storage.errors import CorruptSegmentError, StorageFailureError
from klamm.telemetry.flow import FlowRecorder, Names
from klamm.telemetry.message_spans import MessageCounts, MessageTracer
from klamm.telemetry.request_spans import RequestTracer, SlowThresholds

if TYPE_CHECKING:
    from klamm.records.flow_schema import FlowRecord
    from klamm.server.exporters import Exporters
    from klamm.server.exports_wanted import Wanted
    from klamm.server.node import Node
    from klamm.telemetry.journal import Journal, Note, TopicKey
    from klamm.telemetry.requests import RequestStats
    from klamm.telemetry.spans import Span

logger = logging.getLogger(__name__)

PAUSE_FACTOR: Final = 20
"""A round of state that took long is followed by so many times as long a pause: 5 % of a core at most."""

PAUSE_S_MIN: Final = 0.5

INSPECTED_SIZE: Final = 192 * 1024
"""Bytes read back at once for batches to look into: eight of 16 KiB, and what stands before them. A larger one comes
whole."""

Send = Callable[[Callable[[], None]], bool]


class StoredBatch(NamedTuple):
    """A record batch as it is stored."""

    payload: memoryview
    base_offset: int
    attributes: int


class Teller:
    """Tells about one node.

    Args:
        node: The node.
        journal: What its hot path notes.
        topics: Its own topics.
        wanted: What was asked for besides the topics.
        send: Has the sender do what waits for the network.

    Attributes:
        state_pause_s: How long after a round of state the next one may begin.
        spans_made: How many spans were made.
    """

    def __init__(self, node: Node, journal: Journal, topics: OwnTopics, wanted: Wanted, send: Send) -> None:
        self._node = node
        self._journal = journal
        self._topics = topics
        self._wanted = wanted
        self._send = send
        self._process = psutil.Process()
        self._flow = FlowRecorder(node.broker_id)
        self._log_starts: dict[str, int] = {}
        self._round = 0
        self._keys: set[StateKey] = set()
        limits = (node.config.klamm_telemetry_batches_per_second, node.config.klamm_telemetry_messages_per_second)
        self._messages = MessageTracer(self._read_batches, *limits)
        server = (node.advertised.host, node.advertised.port)
        self._requests = RequestTracer(server, self._topic_name, self._messages.contexts)
        self._thresholds = SlowThresholds()
        self._tracing = False
        self._exporters: Exporters | None = None
        self.state_pause_s = PAUSE_S_MIN
        self.spans_made = 0

    @property
    def message_counts(self) -> MessageCounts:
        """What became of batches and messages; from any thread."""
        return self._messages.counts

    @property
    def exports_dropped(self) -> int:
        """Exports that were not sent, or failed; from any thread."""
        return 0 if self._exporters is None else self._exporters.dropped

    @property
    def spans_dropped(self) -> int:
        """Spans in them; from any thread."""
        return 0 if self._exporters is None else self._exporters.spans_dropped

    @property
    def exporters(self) -> Exporters | None:
        """The ways out, once anything was asked for; from any thread."""
        return self._exporters

    def begin(self) -> None:
        """Open the ways out that were asked for from the start."""
        if self._wanted.anything:
            self._load_exporters()

    def end(self) -> None:
        """Close them."""
        if self._exporters is not None:
            self._exporters.stop()

    # --- flow and spans -------------------------------------------------------------------------------------------

    def tell(self, notes: list[Note], deleted: list[str]) -> None:
        """Write what the notes say as flow and, if anybody wants them, as spans."""
        offset_ns = time.time_ns() - time.perf_counter_ns()
        names = Names(self._topic_name, groups_by_client(self._node))
        self._append_flow(self._flow.records(notes, names, lambda at_ns: (at_ns + offset_ns) // 1000))
        self._trace(notes, names, offset_ns)
        for partition in deleted:
            self._flow.forget(partition)
            self._messages.forget(partition)
            self._log_starts.pop(partition, None)

    def _trace(self, notes: list[Note], names: Names, offset_ns: int) -> None:
        wanted = self._wanted.otlp_spans or self._topics.exists(SPANS)
        if not wanted:
            if self._tracing:
                self._thresholds.off(self._stats())
                self._tracing = False
                self._journal.is_exact = False
            return
        self._tracing = True
        self._journal.is_exact = True
        now_s = time.monotonic()

        def wall_ns(at_ns: int) -> int:
            return at_ns + offset_ns

        config = self._node.config
        self._messages.limit(config.klamm_telemetry_batches_per_second, config.klamm_telemetry_messages_per_second)
        spans = self._messages.spans(notes, names, now_s, wall_ns)
        spans += self._requests.spans(notes, now_s, wall_ns)
        self._thresholds.update(self._stats())
        self._export_spans(spans)

    def _export_spans(self, spans: list[Span]) -> None:
        if spans:
            self.spans_made += len(spans)
            self._load_exporters().spans(spans)

    def _stats(self) -> Iterator[tuple[str, RequestStats]]:
        return ((api.name, api.stats) for api in list(self._node.apis.values()))

    def _read_batches(self, name: str, offset: int, end_offset: int) -> Iterator[StoredBatch]:
        """Yield the first stored batches of a partition from an offset on; nothing where they cannot be read."""
        topic, _, index = name.rpartition("-")
        partition = self._node.partition(topic, int(index))
        if partition is None or not partition.online:
            return
        try:
            read = partition.log.read_waiting(offset, end_offset, INSPECTED_SIZE)
        except (StorageFailureError, CorruptSegmentError) as error:  # whoever reads it is told
            logger.debug("a batch cannot be looked into", extra={"partition": name, "reason": str(error)})
            return
        for buffer in read.buffers:
            for position, header in iter_batches(buffer):
                payload = memoryview(buffer)[position : position + header.size]
                yield StoredBatch(payload, header.base_offset, header.attributes)

    def tell_expired(self) -> None:
        """Tell of offsets that are gone since the last look."""
        records: list[FlowRecord] = []
        spans: list[Span] = []
        now_ns = time.time_ns()
        for partition in list(self._node.partitions.values()):
            if partition.topic in NOT_RECORDED:
                continue
            name, start = str(partition), partition.log.log_start_offset
            before = self._log_starts.get(name)
            self._log_starts[name] = start
            if before is not None and start > before:
                records.append(self._flow.expired(name, before, start, now_ns // 1000))
                spans += self._messages.expired(name, start, now_ns)
        self._append_flow(records)
        self._export_spans(spans)
        self._messages.sweep(now_ns)

    def _append_flow(self, records: Iterable[FlowRecord]) -> None:
        self._topics.append(
            FLOW, (OwnRecord(flow_schema.encode_key(one), flow_schema.encode_value(one)) for one in records)
        )

    def _topic_name(self, key: TopicKey) -> str | None:
        name = key if isinstance(key, str) else self._node.topic_names.get(key)
        return None if name in NOT_RECORDED else name

    # --- state ----------------------------------------------------------------------------------------------------

    def tell_state(self) -> None:
        """Write one round; the next one waits longer if this one took long."""
        began = time.perf_counter()
        self._round += 1
        number, broker = self._round, self._node.broker_id
        keys: set[StateKey] = set()
        records: list[OwnRecord] = []
        for name, value in yielding(node_state(self._node, self._process)):
            key = key_of(broker, name, value)
            keys.add(key)
            records.append(OwnRecord(state_schema.encode_key(key), state_schema.encode_value(number, value)))
        gone = [OwnRecord(state_schema.encode_key(key), None) for key in self._keys - keys]
        self._keys = keys
        self.state_pause_s = max(PAUSE_S_MIN, PAUSE_FACTOR * (time.perf_counter() - began))
        interval_ms = max(state_schema.INTERVAL_MS, round(self.state_pause_s * 1000))
        end = RoundState(time.time_ns() // 1_000_000, len(records), interval_ms)
        last = OwnRecord(state_schema.encode_key(key_of(broker, "", end)), state_schema.encode_value(number, end))
        self._topics.append(STATE, [*gone, *records, last])

    # --- metrics --------------------------------------------------------------------------------------------------

    def metrics_to_topic(self) -> None:
        """Write the metrics to ``otlp_metrics``."""
        self._load_exporters().metrics_to_topic()

    def metrics_to_otlp(self) -> None:
        """Send the metrics by OTLP."""
        self._load_exporters().metrics_to_otlp()

    def _load_exporters(self) -> Exporters:
        if self._exporters is None:
            from klamm.server.exporters import Exporters  # noqa: PLC0415 (it imports the SDK)

            self._exporters = Exporters(self._node, self._topics, self._wanted, self._send)
        return self._exporters
