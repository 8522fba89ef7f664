"""What a node tells about itself: collects on the loop once a second, does the rest on the exporter's thread.

A collection with nothing new and nobody watching costs a few comparisons. When the exporter has not done with what it
was told before, what was collected is dropped and counted: telemetry is lost rather than queued, and never in the way.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Final

import psutil
import pykka

from klamm.actors.dispatchers import ThreadDispatcher
from klamm.actors.exporter import Export, ExporterActor
from klamm.model.own_topics import FLOW, STATE
from klamm.records import flow_schema, state_schema
from klamm.records.state_schema import RoundState, StateKey, key_of
from klamm.server.own_topics import OwnRecord, OwnTopics
from klamm.server.state_rounds import groups_by_client, node_state, yielding
from klamm.server.topic_settings import NOT_RECORDED
from klamm.telemetry.flow import FlowRecorder, Names

if TYPE_CHECKING:
    from klamm.core.metadata_image import TopicImage
    from klamm.records.flow_schema import FlowRecord
    from klamm.server.node import Node
    from klamm.telemetry.journal import Journal, Note, TopicKey

logger = logging.getLogger(__name__)

INTERVAL_S: Final = 1.0
WATCHED_NS: Final = state_schema.WATCHED_MS * 1_000_000
EXPORTS_MAX: Final = 4
"""Pieces of work that wait for the exporter; a further one is dropped."""

PAUSE_FACTOR: Final = 20
"""A round of state that took long is followed by so many times as long a pause: 5 % of a core at most."""

EXPIRY_CHECK_S: Final = 5.0
"""How often is looked for offsets that retention removed."""

STOP_TIMEOUT_S: Final = 10.0


class NodeTelemetry:
    """Tells about one node, from :meth:`start` to :meth:`stop`. Everything without a comment runs on the node's loop.

    Attributes:
        dropped: Notes that were collected and not told, because the exporter was behind.
    """

    def __init__(self, node: Node, journal: Journal) -> None:
        self._node = node
        self._journal = journal
        self.dispatcher = ThreadDispatcher("telemetry")
        self._exporter = ExporterActor.start(dispatcher=self.dispatcher)
        self.topics = OwnTopics(node)
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = False
        self.dropped = 0
        self._deleted: list[str] = []
        self._state_due = 0.0
        self._expiry_due = 0.0
        # Only the exporter's thread touches what follows.
        self._process = psutil.Process()
        self._flow = FlowRecorder(node.broker_id)
        self._log_starts: dict[str, int] = {}
        self._round = 0
        self._keys: set[StateKey] = set()

    def start(self) -> None:
        """Begin."""
        self._journal.on_watch = self._watched
        self._tick()

    async def stop(self) -> None:
        """Tell what there is to tell, then end; the partitions must still be there."""
        self._stopped = True
        self._journal.on_watch = None
        if self._timer is not None:
            self._timer.cancel()
        self._collect()
        try:
            await asyncio.to_thread(self.dispatcher.close, STOP_TIMEOUT_S)
        except pykka.Timeout:
            logger.warning("telemetry was still being exported when the broker stopped")

    def topics_deleted(self, topics: Iterable[TopicImage]) -> None:
        """Forget what is known of the partitions of deleted topics."""
        self._deleted += [f"{topic.name}-{one.partition}" for topic in topics for one in topic.partitions]

    # --- on the loop ----------------------------------------------------------------------------------------------

    def _watched(self) -> None:
        """Somebody has begun to watch: the first round need not wait for the next tick."""
        if not self._stopped:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._node.loop.call_later(0, self._tick)

    def _tick(self) -> None:
        self._timer = self._node.loop.call_later(INTERVAL_S, self._tick)
        self._collect()

    def _collect(self) -> None:
        journal, now = self._journal, self._node.loop.time()
        if journal.notes or self._deleted:
            if self.topics.exists(FLOW):
                deleted, self._deleted = self._deleted, []
                notes = journal.collect()
                if not self._tell(partial(self._write_flow, notes, deleted)):
                    self.dropped += len(notes)
            elif not self._stopped:
                self.topics.create_later(FLOW)  # the notes wait for it in the journal
        if now >= self._expiry_due and self.topics.exists(FLOW):
            self._expiry_due = now + EXPIRY_CHECK_S
            self._tell(self._write_expired)
        watched = journal.watched_ns and time.perf_counter_ns() - journal.watched_ns < WATCHED_NS
        if watched and now >= self._state_due and self.topics.exists(STATE):
            self._state_due = now + INTERVAL_S / 2
            self._tell(self._write_state)

    def _tell(self, work: Callable[[], None]) -> bool:
        """Have the exporter do something; return whether it has not too much to do already."""
        if not self._exporter.is_alive() or len(self._exporter.actor_inbox.messages) >= EXPORTS_MAX:
            return False
        self._exporter.tell(Export(work))
        return True

    # --- on the exporter's thread ---------------------------------------------------------------------------------

    def _topic_name(self, key: TopicKey) -> str | None:
        name = key if isinstance(key, str) else self._node.topic_names.get(key)
        return None if name in NOT_RECORDED else name

    def _write_flow(self, notes: list[Note], deleted: list[str]) -> None:
        offset_ns = time.time_ns() - time.perf_counter_ns()
        names = Names(self._topic_name, groups_by_client(self._node))
        records = self._flow.records(notes, names, lambda at_ns: (at_ns + offset_ns) // 1000)
        for partition in deleted:
            self._flow.forget(partition)
            self._log_starts.pop(partition, None)
        self._append_flow(records)

    def _append_flow(self, records: Iterable[FlowRecord]) -> None:
        self.topics.append(
            FLOW, (OwnRecord(flow_schema.encode_key(one), flow_schema.encode_value(one)) for one in records)
        )

    def _write_expired(self) -> None:
        """Tell of offsets that are gone since the last look."""
        records: list[FlowRecord] = []
        now_us = time.time_ns() // 1000
        for partition in list(self._node.partitions.values()):
            if partition.topic in NOT_RECORDED:
                continue
            name, start = str(partition), partition.log.log_start_offset
            before = self._log_starts.get(name)
            self._log_starts[name] = start
            if before is not None and start > before:
                records.append(self._flow.expired(name, before, start, now_us))
        self._append_flow(records)

    def _write_state(self) -> None:
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
        took = time.perf_counter() - began
        pause = max(INTERVAL_S / 2, PAUSE_FACTOR * took)
        self._state_due = self._node.loop.time() + pause
        interval_ms = max(state_schema.INTERVAL_MS, round(pause * 1000))
        end = RoundState(time.time_ns() // 1_000_000, len(records), interval_ms)
        last = OwnRecord(state_schema.encode_key(key_of(broker, "", end)), state_schema.encode_value(number, end))
        self.topics.append(STATE, [*gone, *records, last])
