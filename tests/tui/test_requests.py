"""What one refresh of each screen sends, counted: looking must not load a cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import asynccontextmanager

import pytest

from klamm.client.committed import Committed, commit_offsets
from klamm.client.groups import coordinators
from klamm.client.settings import Settings, parse_bootstrap
from klamm.client.topics import NewTopic, create_topics
from klamm.tui import registry
from klamm.tui.place import Place
from klamm.tui.session import Memory, Session
from tests.support.brokers import Broker
from tests.support.klamm_process import KlammProcess

# Of one broker: what a refresh may send when it looks at everything, and what it sends each time in between.
FULL: Mapping[str, Mapping[str, int]] = {
    "topics": {"Metadata": 1, "ListOffsets": 3, "DescribeLogDirs": 1, "DescribeConfigs": 1},
    "topic": {
        "Metadata": 1, "ListOffsets": 2, "DescribeLogDirs": 1, "DescribeConfigs": 1, "ListGroups": 1, "OffsetFetch": 1,
        "DescribeAcls": 1,
    },
    "groups": {
        "Metadata": 1, "ListOffsets": 1, "ListGroups": 1, "OffsetFetch": 1, "Fetch": 2, "DescribeGroups": 1,
        "ConsumerGroupDescribe": 1, "DescribeConfigs": 1, "DescribeCluster": 1,
    },
    "group": {
        "Metadata": 1, "ListOffsets": 1, "ListGroups": 1, "OffsetFetch": 1, "Fetch": 2, "DescribeGroups": 1,
        "ConsumerGroupDescribe": 1, "DescribeConfigs": 1,
    },
    "brokers": {"DescribeCluster": 1, "DescribeQuorum": 1, "Metadata": 1, "DescribeLogDirs": 1},
    "broker": {"Metadata": 1, "DescribeConfigs": 1, "DescribeLogDirs": 1},
    "cluster": {"DescribeCluster": 1, "DescribeQuorum": 1, "ListPartitionReassignments": 1, "ApiVersions": 1},
    "home": {
        "Metadata": 3, "ListOffsets": 4, "ListGroups": 1, "OffsetFetch": 1, "Fetch": 22, "DescribeConfigs": 3,
        "DescribeCluster": 1,
    },
}  # fmt: skip
# Screens that look at everything each time. Messages read on in the background, one long poll after the other.
ALWAYS: Mapping[str, Mapping[str, int]] = {
    "messages": {"Metadata": 1, "ListOffsets": 2, "Fetch": 20},
    "trace": {"Metadata": 1, "ListOffsets": 1, "ListGroups": 1, "OffsetFetch": 1, "Fetch": 3},
    "actors": {"Metadata": 1, "DescribeConfigs": 1, "ListOffsets": 2, "Fetch": 20},
    "clients": {"Metadata": 1, "DescribeConfigs": 1, "ListOffsets": 2, "Fetch": 20},
    "segments": {"Metadata": 1, "DescribeConfigs": 1, "ListOffsets": 2, "Fetch": 20},
    "acls": {"DescribeAcls": 1},
    "diff": {"DescribeConfigs": 2},
    "users": {"DescribeUserScramCredentials": 1},
    "quotas": {"DescribeClientQuotas": 1},
    "transactions": {"Metadata": 1, "ListTransactions": 1, "FindCoordinator": 1, "DescribeTransactions": 1},
}
NOT_EVERYWHERE = {"SECURITY_DISABLED", "NOT_KLAMM"}
COUNTED = sorted(set(registry.SCREENS) - {"trace"})  # a trace is of one record, and has tests of its own
USUAL: Mapping[str, Mapping[str, int]] = {
    "topics": {"Metadata": 1, "ListOffsets": 1},
    "topic": {"Metadata": 1, "ListOffsets": 2},
    "groups": {"Metadata": 1, "ListOffsets": 1, "ListGroups": 1, "OffsetFetch": 1, "Fetch": 2},
    "group": FULL["group"],
    "brokers": {"DescribeCluster": 1, "DescribeQuorum": 1, "Metadata": 1},
    "broker": {"Metadata": 1},
    "cluster": {"DescribeCluster": 1, "DescribeQuorum": 1, "ListPartitionReassignments": 1},
    "home": FULL["home"],
}


COUNTS = {**FULL, **ALWAYS}


def test_every_screen_has_its_count() -> None:
    assert set(FULL) == set(USUAL)
    assert set(FULL) | set(ALWAYS) == set(registry.SCREENS)


@asynccontextmanager
async def session_of(broker: Broker, topic: str) -> AsyncGenerator[Session]:
    session = Session(Settings(parse_bootstrap(broker.bootstrap), {}), registry.loader_of)
    session.start()

    async def prepare() -> None:
        await create_topics(session.cluster, [NewTopic(topic, 2, 1)])
        where, _ = await coordinators(session.cluster, [topic])
        metadata = await session.cluster.metadata([topic])
        offsets = {(topic, 0): Committed(0, -1, "")}
        await session.cluster.retry(lambda: commit_offsets(session.cluster, where[topic], topic, offsets, metadata))

    try:
        await session.run(prepare)
        yield session
    finally:
        await asyncio.to_thread(session.close)


def above(sent: Mapping[str, int], before: Mapping[str, int], allowed: Mapping[str, int]) -> dict[str, int]:
    """Return what went out beyond what is allowed."""
    counts = {api: count - before.get(api, 0) for api, count in sent.items()}
    return {api: count for api, count in counts.items() if count > allowed.get(api, 0)}


@pytest.fixture(scope="module")
def small_klamm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KlammProcess]:
    """Run a broker of our own: what other tests leave behind would be asked about as well."""
    server = KlammProcess(tmp_path_factory.mktemp("small-klamm")).start()
    yield server
    server.stop()


@pytest.mark.parametrize("kind", COUNTED)
async def test_a_refresh_sends_no_more_than_it_says(kind: str, small_klamm: KlammProcess, topic: str) -> None:
    async with session_of(small_klamm, topic) as session:
        names = {
            "topic": topic,
            "messages": topic,
            "group": topic,
            "broker": str(next(iter(await session.run(session.cluster.brokers)))),
        }
        place = Place(
            kind, names.get(kind, ""), f"broker {names['broker']} {names['broker']}" if kind == "diff" else ""
        )
        memory: Memory = {}
        loaded = await session.load(place, memory)  # also opens connections
        for allowed in (COUNTS[kind], COUNTS[kind], USUAL.get(kind, COUNTS[kind])):
            before = dict(session.cluster.requests_sent)
            loaded = await session.load(place, memory)
            assert above(session.cluster.requests_sent, before, allowed) == {}
        assert loaded.error is None
        assert loaded.parts


@pytest.mark.apache
@pytest.mark.parametrize("kind", COUNTED)
async def test_every_screen_loads_from_apache_kafka(kind: str, apache_kafka: Broker, topic: str) -> None:
    async with session_of(apache_kafka, topic) as session:
        names = {
            "topic": topic,
            "messages": topic,
            "group": topic,
            "broker": str(next(iter(await session.run(session.cluster.brokers)))),
        }
        place = Place(
            kind, names.get(kind, ""), f"broker {names['broker']} {names['broker']}" if kind == "diff" else ""
        )
        memory: Memory = {}
        loaded = await session.load(place, memory)
        for _ in range(2):
            loaded = await session.load(place, memory)
        assert loaded.error is None
        problems = {name: part.error.code for name, part in loaded.parts.items() if part.error is not None}
        assert set(problems.values()) <= NOT_EVERYWHERE
