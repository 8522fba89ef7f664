"""Reads every counter of a node into the points of its metrics (``klamm.telemetry.instruments``).

Runs on whatever thread collects, and only then: nothing is counted for metrics alone.
"""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING, Final

import psutil

from klamm.actors.partition import PartitionActor
from klamm.server.group_lag import GroupLags
from klamm.telemetry.instruments import BOUND_FIRST, BOUND_LAST, Durations, Point, Samples

if TYPE_CHECKING:
    from klamm.server.node import Node
    from klamm.server.partitions import Partition
    from klamm.telemetry.requests import RequestStats

_NS_IN_S: Final = 1e9
YIELD_EVERY: Final = 50


class NodeMetrics:
    """Reads the counters of one node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._lags = GroupLags(node)
        self._process = psutil.Process()

    def samples(self) -> Samples:
        """Return everything as it is now."""
        points: dict[str, list[Point]] = defaultdict(list)
        durations = self._requests(points)
        self._partitions(points)
        self._groups(points)
        self._actors(points)
        self._own_process(points)
        self._telemetry(points)
        return Samples(points, durations)

    def _requests(self, points: dict[str, list[Point]]) -> list[Durations]:
        durations: list[Durations] = []
        for api in list(self._node.apis.values()):
            name, stats = api.name, api.stats
            if not stats.count:
                continue
            points["klamm.requests"].append(Point(stats.count, (name,)))
            points["klamm.request.errors"].append(Point(stats.errors, (name,)))
            points["klamm.request.received"].append(Point(stats.received_size, (name,)))
            points["klamm.request.sent"].append(Point(stats.sent_size, (name,)))
            waited_ns, busy_ns = stats.waited_ns, stats.busy_ns
            points["klamm.request.time"] += [
                Point(stats.read_ns / _NS_IN_S, (name, "read")),
                Point(max(busy_ns - waited_ns, 0) / _NS_IN_S, (name, "handle")),
                Point(waited_ns / _NS_IN_S, (name, "wait")),
                Point(stats.write_ns / _NS_IN_S, (name, "write")),
            ]
            durations.append(_durations(name, stats))
        points["klamm.connections"].append(Point(len(self._node.connections)))
        return durations

    def _partitions(self, points: dict[str, list[Point]]) -> None:
        image = self._node.image
        points["kafka.brokers"].append(Point(len(image.brokers)))
        points["kafka.topic.partitions"] += [
            Point(len(topic.partitions), (topic.name,)) for topic in list(image.topics.values())
        ]
        for number, partition in enumerate(list(self._node.partitions.values())):
            if number % YIELD_EVERY == 0:
                time.sleep(0)  # the node's loop needs the interpreter, too
            _partition(points, partition)
        points["klamm.partition.online"] += [Point(0, where) for where in self._node.unopened]

    def _groups(self, points: dict[str, list[Point]]) -> None:
        for facts in self._lags.look(time.monotonic(), time.time_ns() // 1000):
            points["kafka.consumer_group.members"].append(Point(facts.members, (facts.group,)))
            points["klamm.consumer_group.rebalances"].append(Point(facts.rebalances, (facts.group,)))
            sums: dict[str, list[int]] = defaultdict(lambda: [0, 0])
            for lag in facts.lags:
                where = (lag.group, lag.topic, lag.partition)
                points["kafka.consumer_group.offset"].append(Point(lag.committed_offset, where))
                points["kafka.consumer_group.lag"].append(Point(lag.lag, where))
                sums[lag.topic][0] += lag.committed_offset
                sums[lag.topic][1] += lag.lag
                for name, value in (
                    ("lag_time", lag.lag_time_s),
                    ("drain_rate", lag.drain_rate),
                    ("eta", lag.eta_s),
                    ("retention_risk", lag.retention_risk),
                ):
                    if value is not None:
                        points[f"klamm.consumer_group.{name}"].append(Point(value, where))
            for topic, (offsets, lags) in sums.items():
                points["kafka.consumer_group.offset_sum"].append(Point(offsets, (facts.group, topic)))
                points["kafka.consumer_group.lag_sum"].append(Point(lags, (facts.group, topic)))

    def _actors(self, points: dict[str, list[Point]]) -> None:
        seen: dict[str, int] = {}
        for dispatcher in self._node.dispatchers():
            counters = dispatcher.counters
            points["klamm.actor.failures"].append(Point(counters.failures, (dispatcher.name,)))
            points["klamm.actor.dead_letters"].append(Point(counters.dead_letters, (dispatcher.name,)))
            for one in dispatcher.actors():
                seen[one.name] = number = seen.get(one.name, 0) + 1
                where = (one.name if number == 1 else f"{one.name} {number}", dispatcher.name)
                points["klamm.actor.depth"].append(Point(one.depth, where))
                points["klamm.actor.handled"].append(Point(one.handled, where))
                points["klamm.actor.waited"].append(Point(one.waited_ns / _NS_IN_S, where))
                points["klamm.actor.busy"].append(Point(one.busy_ns / _NS_IN_S, where))
                points["klamm.actor.oldest"].append(Point(one.oldest_ns / _NS_IN_S, where))
                points["klamm.actor.restarts"].append(Point(one.restarts, where))

    def _own_process(self, points: dict[str, list[Point]]) -> None:
        process = self._process
        with process.oneshot():
            cpu, memory = process.cpu_times(), process.memory_info()
            points["process.cpu.time"] += [Point(cpu.user, ("user",)), Point(cpu.system, ("system",))]
            points["process.memory.usage"].append(Point(memory.rss))
            points["process.memory.virtual"].append(Point(memory.vms))
            points["process.thread.count"].append(Point(process.num_threads()))
            if hasattr(process, "num_fds"):
                points["process.unix.file_descriptor.count"].append(Point(process.num_fds()))
        points["process.uptime"].append(Point(time.monotonic() - self._node.started_s))

    def _telemetry(self, points: dict[str, list[Point]]) -> None:
        telemetry = self._node.telemetry
        if telemetry is not None:
            for name, (label, value) in telemetry.counts():
                points[name].append(Point(value, (label,) if label else ()))


def _partition(points: dict[str, list[Point]], partition: Partition) -> None:
    where = (partition.topic, partition.index)
    log, image = partition.log, partition.image
    segments = log.segments()
    points["kafka.partition.current_offset"].append(Point(log.log_end_offset, where))
    points["kafka.partition.oldest_offset"].append(Point(log.log_start_offset, where))
    points["kafka.partition.replicas"].append(Point(len(image.replicas), where))
    points["kafka.partition.replicas_in_sync"].append(Point(len(image.isr), where))
    points["klamm.partition.high_watermark"].append(Point(partition.state.high_watermark, where))
    points["klamm.partition.size"].append(Point(sum(one.size_bytes for one in segments), where))
    points["klamm.partition.segments"].append(Point(len(segments), where))
    points["klamm.partition.online"].append(Point(int(partition.online), where))
    points["klamm.partition.damaged"].append(Point(int(partition.fault is not None), where))
    actor = partition.ref.actor_inbox.actor
    if isinstance(actor, PartitionActor):
        points["klamm.partition.flushes"].append(Point(actor.flush_count, where))
        points["klamm.partition.flush_time"].append(Point(actor.flush_ns / _NS_IN_S, where))


def bucket_counts(stats: RequestStats) -> tuple[int, ...]:
    """Return how many requests took at most each of the bounds (``BOUNDS_S``), and the rest."""
    buckets = list(stats.buckets)
    return (
        sum(buckets[: BOUND_FIRST + 1]),
        *buckets[BOUND_FIRST + 1 : BOUND_LAST + 1],
        sum(buckets[BOUND_LAST + 1 :]),
    )


def _durations(api: str, stats: RequestStats) -> Durations:
    total_ns = stats.busy_ns - (stats.waited_ns if stats.long_poll else 0)
    return Durations((api,), bucket_counts(stats), max(total_ns, 0) / _NS_IN_S)
