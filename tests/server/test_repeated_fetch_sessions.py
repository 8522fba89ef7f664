"""What consumers with sessions, or of several partitions, ask again: answered as what comes for the first time.

Each script of requests is said twice, to a broker of its own: on one connection, which knows by then what comes again,
and each request on a new connection, which knows nothing. Answers, counters and what telemetry is told are the same.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions, NewTopic

from klamm.protocol.apis import ApiKey
from klamm.server.embedded import Broker
from klamm.server.fetch_sessions import FetchSessions
from klamm.server.handlers.fetch import FetchApi
from klamm.telemetry.journal import Journal
from tests.server.fetch_frames import Asked, FetchFrame
from tests.server.handled import note_handled
from tests.server.replicas import on_loop, port_of
from tests.support.record_batch import record_batch
from tests.support.wire import PRODUCE, WireConnection, produce_request

VERSIONS = [7, 9, 12, 13, 18]
PARTITIONS = 3
TIMEOUT_S = 10.0
SHORT_MS, LONG_MS = 20, 30_000
BATCHES = [record_batch([bytes([97 + number]) * size]) for number, size in enumerate((700, 10, 20_000, 300, 5))]
Step = FetchFrame | Callable[["Said"], object]


class Said:
    """One broker with two topics of three partitions, to which a script is said.

    Args:
        topic: How the topics' names begin.
        version: Of every Fetch.
        anew: Each request comes on a new connection.
    """

    def __init__(self, topic: str, version: int, *, anew: bool) -> None:
        self.topics = [topic, f"{topic}-2"]
        self.version, self.anew = version, anew
        self.answers: list[bytes] = []
        self.broker = Broker(memory=True, telemetry=True)
        self._numbers = itertools.count(1)

    def run(self, script: Sequence[Step]) -> None:
        """Say everything."""
        with self.broker:
            self.admin = AdminClient({"bootstrap.servers": self.broker.bootstrap, "log_level": 0})
            made = self.admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in self.topics])
            for future in made.values():
                future.result(TIMEOUT_S)
            api = self.broker.node.apis[ApiKey.FETCH]
            assert isinstance(api, FetchApi)
            api.sessions = FetchSessions(10, itertools.count(1000).__next__)
            self.ids = on_loop(self.broker, lambda: {name: self._id_of(name) for name in self.topics})
            with WireConnection(port_of(self.broker)) as self.producer, WireConnection(port_of(self.broker)) as known:
                for step in script:
                    if isinstance(step, FetchFrame):
                        self._fetch(known, step)
                    else:
                        step(self)
            self.stats = (api.stats.count, api.stats.errors, api.stats.received_size, api.stats.sent_size)

    def _id_of(self, name: str) -> UUID | None:
        return self.broker.node.partitions[name, 0].topic_id

    def _fetch(self, known: WireConnection, step: FetchFrame) -> None:
        frame = step.encode(self.version, next(self._numbers), self.ids)
        if not self.anew:
            known.socket.sendall(frame)
            self._meanwhile(step)
            self.answers.append(self._named(known.receive_frame()))
            return
        with WireConnection(port_of(self.broker)) as fresh:
            fresh.socket.sendall(frame)
            self._meanwhile(step)
            self.answers.append(self._named(fresh.receive_frame()))

    def _meanwhile(self, step: FetchFrame) -> None:
        """Produce what a fetch waits for; where it comes first, the fetch finds the same."""
        if step.wait_max_ms == LONG_MS:
            self.produce(self.topics[0], 1, BATCHES[3])

    def produce(self, topic: str, partition: int, *batches: bytes) -> None:
        for batch in batches:
            self.producer.request(PRODUCE, 7, b"\xff\xff" + produce_request(topic, batch, partition=partition)[2:])

    def _named(self, answer: bytes) -> bytes:
        for number, topic_id in enumerate(self.ids.values()):
            answer = answer.replace(topic_id.bytes, bytes([number]) * 16)
        return answer


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str | None, list[tuple[int, int, int]]]]:
    """Return a list that grows by what telemetry is told that consumers were given."""
    seen: list[tuple[str | None, list[tuple[int, int, int]]]] = []
    fetched = Journal.fetched

    def noting(self: Journal, last: Any, client_id: str | None, address: Any, ranges: Any) -> Any:
        seen.append((client_id, [given[1:] for given in ranges]))
        return fetched(self, last, client_id, address, ranges)

    monkeypatch.setattr(Journal, "fetched", noting)
    return seen


@pytest.fixture
def handled(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows by the correlation id of each fetch that is read anew."""
    return note_handled(monkeypatch, FetchApi)


def fill(said: Said) -> None:
    for topic in said.topics:
        for partition in range(PARTITIONS):
            said.produce(topic, partition, *BATCHES[partition:])


def more(said: Said) -> None:
    said.produce(said.topics[0], 2, BATCHES[0])


def delete_records(said: Said) -> None:
    name = said.topics[0].encode()
    body = struct.pack(">ih", 1, len(name)) + name + struct.pack(">iiqi", 1, 0, 2, 10_000)
    said.producer.request(ApiKey.DELETE_RECORDS, 0, body)


def delete_second_topic(said: Said) -> None:
    said.admin.delete_topics([said.topics[1]])[said.topics[1]].result(TIMEOUT_S)


def add_partition(said: Said) -> None:
    said.admin.create_partitions([NewPartitions(said.topics[0], PARTITIONS + 1)])[said.topics[0]].result(TIMEOUT_S)


def at(topic: str, *offsets: int, **fields: int) -> dict[str, list[Asked]]:
    return {topic: [replace(Asked(number, offset), **fields) for number, offset in enumerate(offsets)]}


def session_script(topic: str, *, committed_only: bool) -> list[Step]:
    """Return what a consumer with a session asks, with much that can go wrong."""
    epochs = itertools.count(1)
    plain = FetchFrame({}, 1000, committed_only=committed_only)

    def next_one(topics: dict[str, list[Asked]] | None = None, **fields: Any) -> FetchFrame:
        return replace(plain, topics=topics or {}, epoch=next(epochs), **fields)

    def again(count: int, topics: dict[str, list[Asked]] | None = None, **fields: Any) -> list[FetchFrame]:
        return [next_one(topics, **fields) for _ in range(count)]

    return [
        fill,
        replace(plain, topics=at(topic, 5, 4, 3) | at(f"{topic}-2", 5, 4, 3), session_id=0, epoch=0),
        *again(4),  # no change, the commonest of all
        *[step for _ in range(3) for step in (next_one(forgotten={topic: [0]}), next_one({topic: [Asked(0, 5)]}))],
        more,
        *again(2),
        next_one({topic: [Asked(2, 4)]}),
        *again(2, wait_max_ms=SHORT_MS),
        *[next_one({topic: [Asked(1, 4 + number)]}, wait_max_ms=LONG_MS) for number in range(3)],
        *again(3, at(topic, 0, 0, 0), bytes_max=1_500),  # each partition gets its turn
        *again(3, {topic: [Asked(1, 3), Asked(0, 4)]}),
        *again(2, {f"{topic}-2": [Asked(0, 1), Asked(1, 2)]}),
        next_one({topic: [Asked(0, 99)]}),
        *again(2),  # the offset is still out of range
        next_one({topic: [Asked(0, 2, leader_epoch=9)]}),
        next_one({topic: [Asked(0, 2, last_fetched_epoch=7)]}),
        next_one(at(topic, 5, 7, 4)),
        *again(2),
        replace(plain, epoch=3),  # not its turn
        replace(plain, session_id=77, epoch=1),
        *again(2),
        delete_records,
        *again(2),
        next_one(forgotten={topic: [1]}),
        next_one(forgotten={topic: [0]}),
        *again(2),
        next_one({topic: [Asked(3, 0)]}),
        *again(1),
        add_partition,
        *again(2),
        delete_second_topic,
        *again(2),
        *again(2, bytes_min=100_000),
        *again(2, bytes_min=100_000, wait_max_ms=SHORT_MS),
        replace(plain, epoch=-1),
        *again(1),
    ]


def full_script(topic: str, *, committed_only: bool) -> list[Step]:
    """Return what a consumer of several partitions without a session asks."""
    both = at(topic, 0, 1, 2) | at(f"{topic}-2", 2, 0, 1)
    plain = FetchFrame(both, committed_only=committed_only)
    later = at(topic, 3, 0, 2) | at(f"{topic}-2", 4, 3, 0)
    end = at(topic, 5, 4, 3) | at(f"{topic}-2", 5, 4, 3)
    return [
        fill,
        *[plain, replace(plain, topics=later)] * 3,
        *[replace(plain, topics=later, bytes_max=1_500)] * 3,
        *[replace(plain, topics=at(topic, 0, 0, 0, size_max=800) | at(f"{topic}-2", 3, 3, 3, size_max=1))] * 3,
        *[replace(plain, topics=end)] * 3,
        *[replace(plain, topics=end, wait_max_ms=SHORT_MS)] * 3,
        *[replace(plain, topics=end | at(topic, 5, 4 + number, 3), wait_max_ms=LONG_MS) for number in range(4)],
        replace(plain, topics=end | at(topic, 5, 99, 3)),
        replace(plain, topics=end | at(topic, 5, 1, 3, leader_epoch=5)),
        replace(plain, topics=end | at(topic, 5, 1, 3, last_fetched_epoch=5)),
        replace(plain, rack="r", topics=later),
        delete_records,
        *[plain] * 2,
        delete_second_topic,
        *[plain, replace(plain, topics=later)] * 2,
        *[replace(plain, bytes_min=100_000, wait_max_ms=SHORT_MS)] * 2,
    ]


@pytest.mark.parametrize("committed_only", [False, True])
@pytest.mark.parametrize("script", [session_script, full_script])
@pytest.mark.parametrize("version", VERSIONS)
def test_answers_counters_and_what_telemetry_is_told_are_those_of_first_requests(
    topic: str, told: list[Any], handled: list[int], script: Callable[..., list[Step]], version: int,
    *, committed_only: bool,
) -> None:  # fmt: skip
    steps = script(topic, committed_only=committed_only)
    fetches = sum(isinstance(step, FetchFrame) for step in steps)
    on_one = Said(topic, version, anew=False)
    on_one.run(steps)
    told_by_one, known = list(told), fetches - len(handled)
    told.clear()
    anew = Said(topic, version, anew=True)
    anew.run(steps)
    for number, (answer, expected) in enumerate(zip(on_one.answers, anew.answers, strict=True)):
        assert answer == expected, f"answer {number} to version {version}"
    assert on_one.stats == anew.stats
    assert told_by_one == told
    assert known > fetches // 3, "few came again"
