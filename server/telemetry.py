"""What a node tells about itself: collects on the loop once a second, has the rest done on the exporter's thread.

A collection with nothing new and nobody watching costs a few comparisons. When the exporter has not done with what it
was told before, what was collected is dropped and counted: telemetry is lost rather than queued, and never in the way.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Final

import pykka

from klamm.actors.dispatchers import ThreadDispatcher
from klamm.actors.exporter import Export, ExporterActor
from klamm.model.own_topics import FLOW, METRICS, STATE
from klamm.records.state_schema import WATCHED_MS
from klamm.server.exports_wanted import wanted
from klamm.server.own_topics import OwnTopics
from klamm.server.teller import Teller

if TYPE_CHECKING:
    from klamm.actors.runtime import LoopActorRef
    from klamm.core.metadata_image import TopicImage
    from klamm.server.node import Node
    from klamm.telemetry.journal import Journal

logger = logging.getLogger(__name__)

INTERVAL_S: Final = 1.0
WATCHED_NS: Final = WATCHED_MS * 1_000_000
EXPORTS_MAX: Final = 4
"""Pieces of work that wait for the exporter; a further one is dropped."""

SENDS_MAX: Final = 16
"""Exports that wait while another is under way; the next ones are dropped. One has the spans of a second, so that a
Collector may take its time, or start again, for some seconds; so many are less than a megabyte."""

EXPIRY_CHECK_S: Final = 5.0
"""How often is looked for offsets that retention removed."""

STOP_TIMEOUT_S: Final = 10.0
SEND_TIMEOUT_S: Final = 1.0
"""How long a stop waits for what is being sent, and then for it to give up: an OTLP receiver may never answer, and the
thread that waits for it ends with the process at the latest."""


class NodeTelemetry:
    """Tells about one node, from :meth:`start` to :meth:`stop`. Everything runs on the node's loop.

    Attributes:
        dispatcher: Runs the exporter and the sender, each on its own thread.
        topics: The broker's own topics.
        dropped: Notes that were collected and not told, because the exporter was behind.
    """

    def __init__(self, node: Node, journal: Journal) -> None:
        self._node = node
        self._journal = journal
        self._wanted = wanted(os.environ, node.config.klamm_metrics_listen)
        self.dispatcher = ThreadDispatcher("telemetry")
        self._exporter = ExporterActor.start("telemetry exporter", dispatcher=self.dispatcher)
        self._sender = ExporterActor.start("telemetry sender", dispatcher=self.dispatcher)
        self.topics = OwnTopics(node)
        self.teller = Teller(node, journal, self.topics, self._wanted, self._send)
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = False
        self.dropped = 0
        self._deleted: list[str] = []
        self._state_due = self._expiry_due = self._topic_due = 0.0
        self._otlp_due = node.loop.time() + self._wanted.interval_s

    def start(self) -> None:
        """Begin."""
        self._journal.on_watch = self._watched
        self._tell(self.teller.begin)
        self._tick()

    async def stop(self) -> None:
        """Tell what there is to tell, then end; the partitions must still be there."""
        self._stopped = True
        self._journal.on_watch = None
        if self._timer is not None:
            self._timer.cancel()
        self._collect()
        self.topics.stop()
        if self._wanted.otlp_metrics:
            self._tell(self.teller.metrics_to_otlp)
        _hand(self._exporter, self._end)  # however much it has to do: what is open is to be closed
        try:
            await asyncio.to_thread(self._close)
        except pykka.Timeout:
            logger.warning("telemetry was still being exported when the broker stopped")

    def _end(self) -> None:
        """Close the ways out, those to the network behind all that is sent; on the exporter's thread."""
        self.teller.end()
        exporters = self.teller.exporters
        if exporters is not None and not _hand(self._sender, exporters.close):
            exporters.close()  # the exporter was late, and the sender has ended meanwhile

    def _close(self) -> None:
        """End the exporter once it has told everything, then the sender: what it sends may wait a moment, no longer.

        Raises:
            pykka.Timeout: One is still busy; it ends once it has done with that.
        """
        try:
            self._exporter.stop(timeout=STOP_TIMEOUT_S)
        finally:
            self._close_sender()

    def _close_sender(self) -> None:
        stopping = self._sender.stop(block=False)
        try:
            stopping.get(timeout=SEND_TIMEOUT_S)
        except pykka.Timeout:
            exporters = self.teller.exporters
            if exporters is not None:
                exporters.unblock()
        self.dispatcher.close(SEND_TIMEOUT_S)

    def topics_deleted(self, topics: Iterable[TopicImage]) -> None:
        """Forget what is known of the partitions of deleted topics."""
        self._deleted += [f"{topic.name}-{one.partition}" for topic in topics for one in topic.partitions]

    def counts(self) -> list[tuple[str, tuple[str, int]]]:
        """Return what became of what was to be told: (instrument, (label, count)); from any thread."""
        messages = self.teller.message_counts
        return [
            ("klamm.telemetry.dropped", ("journal", self._journal.lost)),
            ("klamm.telemetry.dropped", ("exporter", self.dropped)),
            ("klamm.telemetry.dropped", ("topic", self.topics.refused)),
            ("klamm.telemetry.dropped", ("otlp", self.teller.exports_dropped)),
            ("klamm.telemetry.dropped", ("otlp spans", self.teller.spans_dropped)),
            ("klamm.telemetry.batches", ("inspected", messages.inspected)),
            ("klamm.telemetry.batches", ("skipped", messages.skipped)),
            ("klamm.telemetry.messages", ("traced", messages.traced)),
            ("klamm.telemetry.messages", ("limited", messages.limited)),
            ("klamm.telemetry.messages", ("malformed", messages.malformed)),
            ("klamm.telemetry.spans", ("", self.teller.spans_made)),
        ]

    # --- collecting -----------------------------------------------------------------------------------------------

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
        now = self._node.loop.time()
        self._collect_notes()
        if now >= self._expiry_due and self.topics.exists(FLOW):
            self._expiry_due = now + EXPIRY_CHECK_S
            self._tell(self.teller.tell_expired)
        watched_ns = self._journal.watched_ns
        watched = watched_ns and time.perf_counter_ns() - watched_ns < WATCHED_NS
        if watched and now >= self._state_due and self.topics.exists(STATE):
            self._state_due = now + self.teller.state_pause_s
            self._tell(self.teller.tell_state)
        if now >= self._topic_due and self.topics.exists(METRICS):
            self._topic_due = now + self._wanted.interval_s
            self._tell(self.teller.metrics_to_topic)
        if self._wanted.otlp_metrics and now >= self._otlp_due:
            self._otlp_due = now + self._wanted.interval_s
            self._tell(self.teller.metrics_to_otlp)

    def _collect_notes(self) -> None:
        if not self._journal.notes and not self._deleted:
            return
        if self.topics.exists(FLOW):
            deleted, self._deleted = self._deleted, []
            notes = self._journal.collect()
            if not self._tell(partial(self.teller.tell, notes, deleted)):
                self.dropped += len(notes)
        elif not self._stopped:
            self.topics.create_later(FLOW)  # the notes wait for it in the journal

    def _tell(self, work: Callable[[], None]) -> bool:
        """Have the exporter do something; return whether it has not too much to do already."""
        return _hand(self._exporter, work, EXPORTS_MAX)

    def _send(self, work: Callable[[], None]) -> bool:
        """Have the sender do something; from the exporter's thread."""
        return _hand(self._sender, work, SENDS_MAX)


def _hand(ref: LoopActorRef, work: Callable[[], None], waiting_max: float = math.inf) -> bool:
    """Have an actor do something; return whether it is there and has not too much to do already."""
    if not ref.is_alive() or len(ref.actor_inbox.messages) >= waiting_max:
        return False
    ref.tell(Export(work))
    return True
