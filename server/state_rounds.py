"""Looks at everything a broker is doing, for ``__klamm_state``. Reads counters from another thread; changes nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from klamm.model.errors import ErrorCode
from klamm.model.version import VERSION
from klamm.records.state_schema import (
    SEGMENTS_MAX,
    ActorState,
    BrokerState,
    ClientState,
    PartitionStatus,
    RequestState,
    SegmentState,
    StateValue,
)
from klamm.server.metrics import bucket_counts

if TYPE_CHECKING:
    import psutil

    from klamm.actors.runtime import Dispatcher
    from klamm.core.groups.classic_group import ClassicMember
    from klamm.core.groups.consumer_group import ConsumerMember
    from klamm.server.connection import Connection
    from klamm.server.node import Node
    from klamm.server.partitions import Partition
    from klamm.telemetry.actors import ActorSnapshot, RuntimeCounters

_NS_IN_MS: Final = 1_000_000
ERROR_NAMES: Final = {int(code): code.name for code in ErrorCode}
YIELD_EVERY: Final = 100
"""Things looked at between two moments in which other threads may go on: some hundred microseconds."""


def yielding(values: Iterator[tuple[str, StateValue]]) -> Iterator[tuple[str, StateValue]]:
    """Yield what ``values`` does, and let the node's loop go on now and then: both need the interpreter's lock."""
    for number, one in enumerate(values):
        if number % YIELD_EVERY == 0:
            time.sleep(0)
        yield one


def node_state(node: Node, process: psutil.Process) -> Iterator[tuple[str, StateValue]]:
    """Yield everything there is on this node, with its name; the broker itself last."""
    dispatchers = node.dispatchers()
    actors = 0
    names: dict[str, int] = {}
    for dispatcher in dispatchers:
        for snapshot in dispatcher.actors():
            actors += 1
            yield _unique(names, snapshot.name), _actor(snapshot)
    partitions = list(node.partitions.values())
    for partition in partitions:
        yield str(partition), _partition(node, partition)
    connections = list(node.connections)
    groups = groups_by_client(node)
    for connection in connections:
        yield f"{connection.client_host}:{connection.client_port}", _client(connection, groups)
    yield str(node.broker_id), _broker(node, process, dispatchers, len(partitions), len(connections), actors)


def groups_by_client(node: Node) -> dict[tuple[str, str], frozenset[str]]:
    """Return the groups that have a member of each (client id, host)."""
    found: dict[tuple[str, str], set[str]] = {}
    running = node.running_groups
    for core in running.cores() if running is not None else ():
        for group_id, group in list(core.groups.items()):
            members: list[ClassicMember | ConsumerMember] = list(group.members.values())
            for member in members:
                found.setdefault((member.client_id, member.client_host.removeprefix("/")), set()).add(group_id)
    return {who: frozenset(groups) for who, groups in found.items()}


def _unique(names: dict[str, int], name: str) -> str:
    """Return the name, with a number if others have it too: disk actors are many of one name."""
    names[name] = number = names.get(name, 0) + 1
    return name if number == 1 else f"{name} {number}"


def _actor(one: ActorSnapshot) -> ActorState:
    return ActorState(
        dispatcher=one.dispatcher,
        depth=one.depth,
        handled=one.handled,
        drains=one.drains,
        busy_ms=round(one.busy_ns / _NS_IN_MS, 3),
        oldest_ms=round(one.oldest_ns / _NS_IN_MS, 3),
        restarts=one.restarts,
        last_failure=one.last_failure,
    )


def _partition(node: Node, one: Partition) -> PartitionStatus:
    log, state, image = one.log, one.state, one.image
    segments = log.segments()
    return PartitionStatus(
        topic=one.topic,
        partition=one.index,
        leader=image.leader == node.broker_id,
        online=one.online,
        leader_epoch=image.leader_epoch,
        log_start_offset=log.log_start_offset,
        high_watermark=state.high_watermark,
        flushed_end_offset=log.flushed_end_offset,
        log_end_offset=log.log_end_offset,
        size=sum(segment.size_bytes for segment in segments),
        isr=tuple(image.isr),
        replicas=tuple(image.replicas),
        segment_count=len(segments),
        segments=tuple(SegmentState(segment.base_offset, segment.size_bytes) for segment in segments[-SEGMENTS_MAX:]),
        damage=one.fault,
    )


def _client(one: Connection, groups: dict[tuple[str, str], frozenset[str]]) -> ClientState:
    now_ns, wall_ms = time.perf_counter_ns(), time.time_ns() // _NS_IN_MS
    name, version = one.client_software
    code = one.responses.last_error_code
    return ClientState(
        client_id=one.client_id,
        software_name=name,
        software_version=version,
        host=one.client_host,
        port=one.client_port,
        connected_ms=wall_ms - (now_ns - one.connected_ns) // _NS_IN_MS,
        idle_ms=max(0, round(now_ns / _NS_IN_MS - one.responses.last_used * 1000)),
        requests=one.request_count,
        errors=one.responses.error_count,
        received_size=one.received_size,
        sent_size=one.responses.sent_size,
        unanswered=one.unanswered,
        last_api=one.last_api,
        last_error=ERROR_NAMES.get(code, str(code)) if code else None,
        groups=tuple(sorted(groups.get((one.client_id or "", one.client_host), ()))),
        client_instance_id=one.client_instance_id,
    )


def _broker(
    node: Node,
    process: psutil.Process,
    dispatchers: list[Dispatcher],
    partitions: int,
    connections: int,
    actors: int,
) -> BrokerState:
    counters: list[RuntimeCounters] = [dispatcher.counters for dispatcher in dispatchers]
    times = os.times()
    with process.oneshot():
        memory, threads = process.memory_info().rss, process.num_threads()
    return BrokerState(
        version=VERSION,
        started_ms=node.started_ns // _NS_IN_MS,
        time_ms=time.time_ns() // _NS_IN_MS,
        connections=connections,
        partitions=partitions,
        actors=actors,
        dead_letters=sum(each.dead_letters for each in counters),
        actor_failures=sum(each.failures for each in counters),
        actor_restarts=sum(each.restarts for each in counters),
        cpu_ms=round((times.user + times.system) * 1000),
        memory_size=memory,
        threads=threads,
        open_files=process.num_fds() if hasattr(process, "num_fds") else 0,
        requests=tuple(
            RequestState(
                api.name,
                api.stats.count,
                api.stats.errors,
                api.stats.received_size,
                api.stats.sent_size,
                round(api.stats.busy_ns / _NS_IN_MS, 3),
                bucket_counts(api.stats),
            )
            for api in list(node.apis.values())
            if api.stats.count
        ),
    )
