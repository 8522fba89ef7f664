"""Samples of groups: joins, rebalances, heartbeats, commits, and a start with many committed offsets."""

import asyncio
import itertools
import time
from collections.abc import Coroutine, Generator
from contextlib import contextmanager
from typing import Any

import psutil

from bench import group_wire, noise
from bench.brokers import Broker
from bench.group_wire import ClassicMember, ConsumerMember, Wire
from bench.instance_measures import Spawn, fresh
from bench.measures import Bench
from bench.rows import Measure, Sample
from klamm.records.group_partition import partition_for

COORDINATED_PARTITIONS = 50
SETTLED_TIMEOUT_S = 120.0
LOOK_EVERY_S = 0.05
KILLED_SESSION_MS = 6_000  # the least that Kafka allows by default
KILLED_HEARTBEAT_S = 0.5
HEARTBEAT_EVERY_S = 3.0  # the Java consumer's default
HEARTBEAT_WINDOW_S = 12.0
GROUP_SIZE = 4
COMMIT_SIZE = 20
COMMIT_CONNECTIONS = 4
COMMITS_IN_FLIGHT = 5
GROUP_OFFSETS = 1_000

_names = itertools.count(1)


def classic_settles(groups: int, members: int) -> Measure:
    """Seconds from the first JoinGroup until every member of every group has its assignment."""

    async def settle(wires: list[Wire], prefix: str) -> None:
        await asyncio.gather(
            *(ClassicMember(wire, f"{prefix}-{number % groups}", "t").join() for number, wire in enumerate(wires))
        )

    def measure(_: Bench, broker: Broker, __: int) -> Sample:
        return group_wire.run(_settled(broker, groups * members, settle))

    return measure


def consumer_settles(members: int) -> Measure:
    """Seconds from the first heartbeat until every member of one group owns its one partition, all at one epoch."""

    async def settle(wires: list[Wire], group: str, topic: str) -> None:
        joined = [ConsumerMember(wire, group, topic) for wire in wires]
        tasks = [asyncio.create_task(member.settle()) for member in joined]
        deadline = time.monotonic() + SETTLED_TIMEOUT_S
        while not _one_each(joined):
            for task in tasks:
                if task.done():
                    task.result()
            if time.monotonic() > deadline:
                message = f"{group} has not settled: {sum(1 for one in joined if one.owned)} own something"
                raise RuntimeError(message)
            await asyncio.sleep(LOOK_EVERY_S)
        for task in tasks:
            task.cancel()

    def measure(bench: Bench, broker: Broker, _: int) -> Sample:
        with bench.topic(broker, members) as topic:

            async def settle_topic(wires: list[Wire], group: str) -> None:
                await settle(wires, group, topic)

            return group_wire.run(_settled(broker, members, settle_topic))

    return measure


def after_a_crash(members: int = GROUP_SIZE) -> Measure:
    """Seconds from a member's last sign of life until the others have their new assignment.

    It has just sent a heartbeat when its connection closes, so its whole session has to pass.
    """

    async def crash(broker: Broker) -> Sample:
        group = _group()
        wires = await group_wire.connect_all(broker.port, members)
        await group_wire.find_coordinator(wires[0], group)
        joined = [ClassicMember(wire, group, "t", KILLED_SESSION_MS) for wire in wires]
        await asyncio.gather(*(one.join() for one in joined))
        survivors = joined[1:]

        async def survive(member: ClassicMember) -> None:
            await member.heartbeats_until_rebalance(KILLED_HEARTBEAT_S)
            await member.join()

        tasks = [asyncio.create_task(survive(member)) for member in survivors]
        await joined[0].wire.send(joined[0].heartbeat_frame())
        begin = time.monotonic()
        joined[0].wire.close()
        await asyncio.gather(*tasks)
        elapsed = time.monotonic() - begin
        _close(wires)
        return {"elapsed_s": elapsed, "over_session_s": elapsed - KILLED_SESSION_MS / 1000}

    def measure(_: Bench, broker: Broker, __: int) -> Sample:
        return group_wire.run(crash(broker))

    return measure


def classic_heartbeats(members: int) -> Measure:
    """Share of a core that heartbeats take: groups of four, each member one every three seconds, spread evenly."""

    async def join(wires: list[Wire], prefix: str) -> list[bytes]:
        joined = [ClassicMember(wire, f"{prefix}-{index // GROUP_SIZE}", "t") for index, wire in enumerate(wires)]
        await asyncio.gather(*(one.join() for one in joined))
        return [one.heartbeat_frame() for one in joined]

    def measure(_: Bench, broker: Broker, __: int) -> Sample:
        return group_wire.run(_beating(broker, members, join))

    return measure


def consumer_heartbeats(members: int) -> Measure:
    """The same with the consumer protocol: heartbeats that change nothing."""

    def measure(bench: Bench, broker: Broker, _: int) -> Sample:
        with bench.topic(broker, GROUP_SIZE) as topic:

            async def join(wires: list[Wire], prefix: str) -> list[bytes]:
                joined = [ConsumerMember(wire, f"{prefix}-{n // GROUP_SIZE}", topic) for n, wire in enumerate(wires)]
                tasks = [asyncio.create_task(one.settle()) for one in joined]
                groups = [joined[start : start + GROUP_SIZE] for start in range(0, len(joined), GROUP_SIZE)]
                async with asyncio.timeout(SETTLED_TIMEOUT_S):
                    while not all(_one_each(group) for group in groups):  # noqa: ASYNC110 (what is awaited is many)
                        await asyncio.sleep(LOOK_EVERY_S)
                for task in tasks:
                    task.cancel()
                return [one.heartbeat_frame() for one in joined]

            return group_wire.run(_beating(broker, members, join))

    return measure


def commits(seconds: float = 4.0) -> Measure:
    """Committed offsets a second: requests of twenty, five in flight on each of four connections, a group each."""

    async def commit(broker: Broker, topic: str) -> Sample:
        wires = await group_wire.connect_all(broker.port, COMMIT_CONNECTIONS)
        groups = [_group() for _ in wires]
        for wire, group in zip(wires, groups, strict=True):
            await group_wire.find_coordinator(wire, group)
        frames = [group_wire.commit_frame(group, topic, range(COMMIT_SIZE)) for group in groups]
        with measured(broker) as sample:
            end = time.monotonic() + seconds
            done = await asyncio.gather(
                *(
                    _commit_until(end, wire, frame)
                    for wire, frame in zip(wires, frames, strict=True)
                    for _ in range(COMMITS_IN_FLIGHT)
                )
            )
        _close(wires)
        offsets = sum(done) * COMMIT_SIZE
        return {
            **sample,
            "offsets_per_s": offsets / sample["seconds"],
            "us_per_request": sample["broker_cpu_s"] / sum(done) * 1e6,
        }

    def measure(bench: Bench, broker: Broker, _: int) -> Sample:
        with bench.topic(broker, COMMIT_SIZE) as topic:
            return group_wire.run(commit(broker, topic))

    return measure


def start_with_offsets(spawn: Spawn, offsets: int) -> Measure:
    """Process start to the answer of an OffsetFetch of 1,000 offsets, with many committed, all on one coordinator."""

    def measure(bench: Bench, like: Broker, _: int) -> Sample:
        groups = _groups_of_one_coordinator(offsets // GROUP_OFFSETS)
        with fresh(spawn, bench, like) as broker:
            broker.start()
            broker.create_topics(["committed"], GROUP_OFFSETS)
            group_wire.run(_commit_all(broker, groups))
            broker.stop()
            begin = time.monotonic()
            broker.start()
            group_wire.run(_until_fetched(broker, groups[-1]))
            return {"elapsed_s": time.monotonic() - begin, "start_s": broker.start_s}

    return measure


# --- helpers ----------------------------------------------------------------------------------------------------------


@contextmanager
def measured(broker: Broker) -> Generator[Sample]:
    """Fill a sample with what a stretch of time took of broker, client and the machine."""
    process = psutil.Process(broker.pid)
    sample: Sample = {}
    before, own, busy, begin = process.cpu_times(), time.process_time(), noise.busy_seconds(), time.monotonic()
    yield sample
    sample["seconds"] = time.monotonic() - begin
    after = process.cpu_times()
    sample["broker_cpu_s"] = after.user + after.system - before.user - before.system
    sample["client_cpu_s"] = time.process_time() - own
    sample["busy_cpu_s"] = noise.busy_seconds() - busy
    sample["broker_cores"] = sample["broker_cpu_s"] / sample["seconds"]
    sample["client_cores"] = sample["client_cpu_s"] / sample["seconds"]
    sample["others_share"] = noise.others_share(sample)


async def beat(wires: list[Wire], frames: list[bytes], every_s: float, seconds: float) -> int:
    """Send each member's frame each ``every_s``, spread evenly over that time; return how many were answered."""
    loop = asyncio.get_running_loop()
    answers: list[asyncio.Future[bytes]] = []
    begin, step = loop.time(), every_s / len(frames)
    for number in range(int(seconds / step)):
        due = begin + number * step
        if due > loop.time():
            await asyncio.sleep(due - loop.time())
        answers.append(wires[number % len(wires)].send(frames[number % len(frames)]))
    await asyncio.gather(*answers)
    return len(answers)


async def _settled(broker: Broker, count: int, settle: Any) -> Sample:  # noqa: ANN401 (a coroutine function)
    prefix = _group()
    wires = await group_wire.connect_all(broker.port, count)
    await group_wire.find_coordinator(wires[0], prefix)
    with measured(broker) as sample:
        work: Coroutine[Any, Any, None] = settle(wires, prefix)
        await work
    _close(wires)
    return {**sample, "elapsed_s": sample["seconds"]}


async def _beating(broker: Broker, members: int, join: Any) -> Sample:  # noqa: ANN401 (a coroutine function)
    prefix = _group()
    wires = await group_wire.connect_all(broker.port, members)
    await group_wire.find_coordinator(wires[0], prefix)
    frames: list[bytes] = await join(wires, prefix)
    await beat(wires, frames, HEARTBEAT_EVERY_S, HEARTBEAT_EVERY_S)
    idle = await _idle_cores(broker)
    with measured(broker) as sample:
        count = await beat(wires, frames, HEARTBEAT_EVERY_S, HEARTBEAT_WINDOW_S)
    _close(wires)
    taken = sample["broker_cores"] - idle
    return {**sample, "core_percent": taken * 100, "us_per_request": taken * sample["seconds"] / count * 1e6}


async def _idle_cores(broker: Broker) -> float:
    """Return what the broker takes of a core while nobody asks it anything."""
    with measured(broker) as sample:
        await asyncio.sleep(HEARTBEAT_EVERY_S)
    return sample["broker_cores"]


async def _commit_until(end: float, wire: Wire, frame: bytes) -> int:
    done = 0
    while time.monotonic() < end:
        await wire.send(frame)
        done += 1
    return done


async def _commit_all(broker: Broker, groups: list[str]) -> None:
    wire = await group_wire.connect(broker.port)
    await group_wire.find_coordinator(wire, groups[0])
    for group in groups:
        await group_wire.commit(wire, group, "committed", range(GROUP_OFFSETS))
        found = await group_wire.committed_count(wire, group)
        assert found == GROUP_OFFSETS, (group, found)
    wire.close()


async def _until_fetched(broker: Broker, group: str) -> None:
    wire = await group_wire.connect(broker.port)
    deadline = time.monotonic() + SETTLED_TIMEOUT_S
    while (found := await group_wire.committed_count(wire, group)) is None:
        if time.monotonic() > deadline:
            message = f"{broker.name} does not answer OffsetFetch"
            raise RuntimeError(message)
        await asyncio.sleep(0.01)
    assert found == GROUP_OFFSETS, found
    wire.close()


def _groups_of_one_coordinator(count: int) -> list[str]:
    names = (f"offsets-{number}" for number in itertools.count())
    return list(itertools.islice((name for name in names if not partition_for(name, COORDINATED_PARTITIONS)), count))


def _one_each(members: list[ConsumerMember]) -> bool:
    return len({one.epoch for one in members}) == 1 and all(
        sum(len(topic.partitions) for topic in one.owned) == 1 for one in members
    )


def _group() -> str:
    return f"bench-group-{next(_names)}-{time.monotonic_ns()}"


def _close(wires: list[Wire]) -> None:
    for wire in wires:
        wire.close()
