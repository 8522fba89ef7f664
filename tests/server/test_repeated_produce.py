"""A producer sends one batch after the other to one partition: each is taken as one that came for the first time is."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

import pytest

from klamm.core.producer_state import ProducerStates
from klamm.model.errors import ErrorCode
from klamm.protocol.apis import ApiKey
from klamm.protocol.produce import FLEXIBLE_SINCE, TOPIC_ID_SINCE
from klamm.protocol.varint import unsigned_varint
from klamm.records.record import decode_records
from klamm.server.connection import Connection
from klamm.server.embedded import Broker
from klamm.server.handlers import produce
from klamm.server.handlers.produce import ProduceApi
from klamm.server.node import Node
from klamm.server.repeated_produce import RepeatedProduce, repeated_produce
from klamm.server.repeated_request import REPEATED_MAX
from klamm.telemetry.journal import Journal, Request
from klamm.telemetry.requests import RequestStats
from tests.server.handled import note_handled
from tests.server.replicas import create_topic, on_loop, port_of
from tests.support.process import wait_until
from tests.support.record_batch import record_batch
from tests.support.wire import WireConnection

CLIENT_ID = b"again"
DELETE_TOPICS = 20
TIMEOUT_S = 10.0
VERSIONS = [7, 8, 9, 12, 13]


@pytest.fixture
def broker() -> Iterator[Broker]:
    """Return a running broker, whose acknowledged records are written."""
    with Broker(memory=True) as running:
        yield running


@pytest.fixture
def handled(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows by the correlation id of each Produce that is read anew."""
    return note_handled(monkeypatch, ProduceApi)


class Producer:
    """Makes the frames of one producer's requests to one partition of a topic."""

    def __init__(self, broker: Broker, topic: str, version: int, *, acks: int = -1) -> None:
        self.topic, self.version, self.acks = topic, version, acks
        create_topic(broker, topic)
        found = on_loop(broker, lambda: broker.node.partitions[topic, 0].topic_id)
        assert isinstance(found, UUID)
        self.topic_id = found

    def frame(
        self, records: bytes | None, number: int = 1, *, partition: int = 0, acks: int | None = None,
        client_id: bytes = CLIENT_ID, behind: bytes = b"",
    ) -> bytes:  # fmt: skip
        """Return a whole frame; ``behind`` stands after the body."""
        flexible = self.version >= FLEXIBLE_SINCE
        head = struct.pack(">hhih", ApiKey.PRODUCE, self.version, number, len(client_id)) + client_id
        limits = struct.pack(">hi", self.acks if acks is None else acks, 10_000)
        if flexible:
            name = self.topic.encode()
            topic = unsigned_varint(len(name) + 1) + name if self.version < TOPIC_ID_SINCE else self.topic_id.bytes
            size = unsigned_varint(0 if records is None else len(records) + 1)
            body = b"\0\0" + limits + b"\2" + topic + b"\2" + struct.pack(">i", partition) + size
            body += (records or b"") + bytes(3)
        else:
            body = b"\xff\xff" + limits + struct.pack(">ih", 1, len(self.topic)) + self.topic.encode()
            body += struct.pack(">iii", 1, partition, -1 if records is None else len(records)) + (records or b"")
        content = head + body + behind
        return struct.pack(">i", len(content)) + content


def numbered(value: bytes, sequence: int, **fields: int) -> bytes:
    """Return a batch of an idempotent producer."""
    return record_batch([value], producer_id=7, producer_epoch=0, base_sequence=sequence, **fields)


def awkward_batches() -> list[bytes | None]:
    """Return batches that are taken, repeated or refused, in an order in which that matters."""
    sound = record_batch([b"sound", b"and", b"two more"])
    return [
        sound,
        record_batch([b"x" * 200_000]),
        numbered(b"first", 0),
        numbered(b"second", 1),
        numbered(b"second", 1),  # again: answered with its old offset
        numbered(b"a gap", 9),
        record_batch([b"wrong checksum"], crc=1),
        record_batch([b"old format"], magic=1),
        record_batch([b"unknown format"], magic=9),
        record_batch([b"too many records"], record_count=5),
        record_batch([b"a control batch"], attributes=0x20),
        record_batch([b"no such codec"], attributes=7),
        record_batch([b"a transaction"], attributes=0x10),
        sound + sound,
        sound + b"\0\0\0",
        sound[:-1],
        sound[:30],
        b"",
        None,
        record_batch([b"too large" * 200_000]),
        numbered(b"third", 2),
        sound,
    ]


def answers_of(broker: Broker, frames: Sequence[bytes], *, connections: int) -> list[bytes]:
    """Return the answers to frames that are sent one after the other on so many connections in turn."""
    opened = [WireConnection(port_of(broker)) for _ in range(connections)]
    answers: list[bytes] = []
    try:
        for at, frame in enumerate(frames):
            connection = opened[at % connections]
            connection.socket.sendall(frame)
            answers.append(connection.receive_frame())
    finally:
        for connection in opened:
            connection.socket.close()
    return answers


def answers_together(broker: Broker, frames: Sequence[bytes]) -> list[bytes]:
    """Return the answers to frames of which the first two come alone and all others together."""
    with WireConnection(port_of(broker)) as connection:
        answers: list[bytes] = []
        for sent in (frames[:1], frames[1:2], frames[2:]):
            connection.socket.sendall(b"".join(sent))
            answers += [connection.receive_frame() for _ in sent]
        return answers


def payloads(broker: Broker, topic: str, partition: int = 0) -> list[bytes]:
    """Return the batches of a topic's partition."""

    def read() -> list[bytes]:
        return [bytes(row.payload) for row in broker.node.partitions[topic, partition].log.rows_from(0)]

    found: list[bytes] = on_loop(broker, read)
    return found


def values_of(batch: bytes) -> list[bytes | None]:
    """Return the values of a batch's records."""
    return [record.value for record in decode_records(batch)]


def error_of(producer: Producer, answer: bytes) -> int:
    """Return the error code of the one partition of an answer."""
    flexible = producer.version >= FLEXIBLE_SINCE
    name = len(producer.topic) + (1 if flexible else 2)
    topic = 16 if producer.version >= TOPIC_ID_SINCE else name
    at = 4 + (2 + topic + 1 if flexible else 4 + topic + 4) + 4
    return int.from_bytes(answer[at : at + 2], "big", signed=True)


@pytest.mark.parametrize("acks", [-1, 1])
@pytest.mark.parametrize("version", VERSIONS)
def test_answers_and_log_are_those_of_requests_that_come_for_the_first_time(
    topic: str, handled: list[int], version: int, acks: int
) -> None:
    batches = awkward_batches()
    outcomes: list[tuple[list[bytes], list[bytes]]] = []
    counts: list[int] = []
    for way in ("one connection", "together", "a connection each"):
        handled.clear()
        with Broker(memory=True) as broker:
            producer = Producer(broker, topic, version, acks=acks)
            frames = [producer.frame(batch, number) for number, batch in enumerate(batches * 2)]
            if way == "together":
                answers = answers_together(broker, frames)
            else:
                answers = answers_of(broker, frames, connections=1 if way == "one connection" else len(frames))
            answers = [answer.replace(producer.topic_id.bytes, bytes(16)) for answer in answers]
            outcomes.append((answers, payloads(broker, topic)))
            stats = broker.node.apis[ApiKey.PRODUCE].stats
            counts.append(stats.errors)
            assert (stats.count, stats.received_size) == (len(frames), sum(map(len, frames)))
        if way != "a connection each":
            assert len(handled) <= len(batches), "few came again"
    alone, together, anew = outcomes
    assert alone == anew
    assert together == anew
    assert counts == counts[:1] * 3


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"partition": 1}, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
        ({"acks": 1}, 0),
        ({"acks": 5}, ErrorCode.INVALID_REQUIRED_ACKS),
        ({"client_id": b"other"}, 0),
        ({"client_id": b"other client"}, 0),
        ({"behind": b"rest"}, 0),
    ],
)
def test_what_differs_before_or_behind_the_records_is_read_anew(
    broker: Broker, topic: str, handled: list[int], change: dict[str, int], error: int
) -> None:
    producer, batch = Producer(broker, topic, 9), record_batch([b"value"])
    frames = [producer.frame(batch, number) for number in range(3)]
    frames += [producer.frame(batch, 3, **change), producer.frame(batch, 4)]  # type: ignore[arg-type]  # see change
    answers = answers_of(broker, frames, connections=1)
    assert handled[:3] == [0, 1, 3], "the third came again"
    assert [error_of(producer, answer) for answer in answers] == [0, 0, 0, error, 0]
    assert [int.from_bytes(answer[:4], "big") for answer in answers] == [0, 1, 2, 3, 4]


def test_a_producer_of_another_topic_in_between_is_served(broker: Broker, topic: str, handled: list[int]) -> None:
    producers = Producer(broker, topic, 9), Producer(broker, f"{topic}-2", 9)
    values = [b"%d" % number for number in range(12)]
    turns = [0, 0, 0, 1, 0, 1, 1, 1, 1, 0, 0, 0]
    frames = [producers[turn].frame(record_batch([value])) for turn, value in zip(turns, values, strict=True)]
    answers_of(broker, frames, connections=1)
    assert len(handled) == 12 - 4
    for turn, producer in enumerate(producers):
        expected = [value for one, value in zip(turns, values, strict=True) if one == turn]
        assert [values_of(batch) for batch in payloads(broker, producer.topic)] == [[value] for value in expected]


def test_one_that_changes_between_topics_is_learnt_once(
    broker: Broker, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    producers = [Producer(broker, f"{topic}-{number}", 9) for number in range(REPEATED_MAX + 1)]
    learnt: list[str | None] = []

    def learning(node: Node, stats: RequestStats, connection: Connection, *asked: Any) -> RepeatedProduce | None:
        learnt.append(asked[-1].topics[0][0])
        return repeated_produce(node, stats, connection, *asked)

    monkeypatch.setattr(produce, "repeated_produce", learning)
    with WireConnection(port_of(broker)) as connection:
        for turn in [0, 1, 0, 1, *range(REPEATED_MAX + 1), 0]:
            for _ in range(3):
                connection.socket.sendall(producers[turn].frame(record_batch([b"v"])))
                assert error_of(producers[turn], connection.receive_frame()) == 0
    assert learnt == [producers[turn].topic for turn in (*range(REPEATED_MAX + 1), 0)], "the last one made room"


def test_a_producer_that_goes_round_the_partitions_is_known(topic: str, handled: list[int]) -> None:
    partitions = [0, 1, 2, 1, 2, 0, 0, 2, 1, 1, 2, 0]
    for together in (False, True):
        handled.clear()
        with Broker(memory=True, config={"num.partitions": 3}) as broker:
            producer = Producer(broker, topic, 13)
            frames = [
                producer.frame(record_batch([b"%d" % number]), number, partition=partition)
                for number, partition in enumerate(partitions)
            ]
            answers = answers_together(broker, frames) if together else answers_of(broker, frames, connections=1)
            assert [error_of(producer, answer) for answer in answers] == [0] * len(frames)
            assert [answer[4 + 1 + 1 + 16 + 1 : 27][:4] for answer in answers] == [
                struct.pack(">i", partition) for partition in partitions
            ]
            for partition in range(3):
                expected = [[b"%d" % number] for number, asked in enumerate(partitions) if asked == partition]
                assert [values_of(batch) for batch in payloads(broker, topic, partition)] == expected
        assert handled == [0, 1]


def test_requests_that_come_together_are_answered_in_order(broker: Broker, topic: str) -> None:
    producer = Producer(broker, topic, 9)
    frames = [producer.frame(numbered(b"v", number), number) for number in range(8)]
    with WireConnection(port_of(broker)) as connection:
        for together in (1, 1, 1, 3, 1, 1):
            sent, frames = frames[:together], frames[together:]
            connection.socket.sendall(b"".join(sent))
            answers = [connection.receive_frame() for _ in sent]
            assert [error_of(producer, answer) for answer in answers] == [0] * together
    assert [int.from_bytes(batch[53:57], "big") for batch in payloads(broker, topic)] == list(range(8))


def test_a_request_that_comes_in_pieces_is_taken_once(broker: Broker, topic: str) -> None:
    producer = Producer(broker, topic, 7)
    with WireConnection(port_of(broker)) as connection:
        for number in range(4):
            frame = producer.frame(numbered(b"v" * 100_000, number), number)
            for at in range(0, len(frame), 30_000):
                connection.socket.sendall(frame[at : at + 30_000])
            assert error_of(producer, connection.receive_frame()) == 0
    assert len(payloads(broker, topic)) == 4


def test_where_records_wait_for_the_disk_the_answer_does(topic: str, handled: list[int]) -> None:
    with Broker(memory=True, config={"acks.all.single": "flushed"}) as broker:
        producer = Producer(broker, topic, 12)
        frames = [producer.frame(record_batch([b"v"]), number) for number in range(6)]
        answers = answers_of(broker, frames, connections=1)
        assert [error_of(producer, answer) for answer in answers] == [0] * 6
        assert on_loop(broker, lambda: broker.node.partitions[topic, 0].log.flushed_end_offset) == 6
    assert handled == [0, 1]


def test_a_batch_waits_until_the_producers_are_known(broker: Broker, topic: str, handled: list[int]) -> None:
    producer = Producer(broker, topic, 9)

    def forget() -> None:
        state = broker.node.partitions[topic, 0].state
        state.producers, state.producers_loaded = ProducerStates(), False

    with WireConnection(port_of(broker)) as connection:
        for number in range(5):
            if number == 3:
                on_loop(broker, forget)
            connection.socket.sendall(producer.frame(numbered(b"v", number), number))
            assert error_of(producer, connection.receive_frame()) == 0
        connection.socket.sendall(producer.frame(numbered(b"v", 4), 5))
        assert error_of(producer, connection.receive_frame()) == 0
    assert handled == [0, 1]
    assert len(payloads(broker, topic)) == 5, "the last one was known as a repetition"


def test_what_is_noted_of_a_refused_one_is_its_own(broker: Broker, topic: str, handled: list[int]) -> None:
    producer, journal = Producer(broker, topic, 12), Journal()
    batches = [record_batch([b"v"])] * 2 + [record_batch([b"v"], crc=1)] * 3
    with WireConnection(port_of(broker)) as connection:
        connection.socket.sendall(producer.frame(batches[0], 100))
        connection.receive_frame()
        (served,) = broker.node.connections
        on_loop(broker, lambda: setattr(served._listener, "journal", journal))
        for sent in ([1], [2], [3, 4]):
            connection.socket.sendall(b"".join(producer.frame(batches[number], 100 + number) for number in sent))
            for _ in sent:
                connection.receive_frame()
    assert handled == [100, 101]
    notes = [note for note in journal.notes if isinstance(note, Request)]
    assert [note.correlation_id for note in notes] == [102, 103, 104]
    assert {(note.error_code, note.batches) for note in notes} == {(ErrorCode.CORRUPT_MESSAGE, ((topic, 0, -1),))}


def test_a_topic_that_was_deleted_takes_nothing(broker: Broker, topic: str) -> None:
    producer = Producer(broker, topic, 9)
    frame = producer.frame(record_batch([b"v"]))
    with WireConnection(port_of(broker)) as connection:
        for _ in range(3):
            connection.socket.sendall(frame)
            assert error_of(producer, connection.receive_frame()) == 0
        body = struct.pack(">ih", 1, len(topic)) + topic.encode() + struct.pack(">i", 10_000)
        assert connection.request(DELETE_TOPICS, 1, body)[-2:] == b"\0\0"
        connection.socket.sendall(frame)
        assert error_of(producer, connection.receive_frame()) == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


def test_a_partition_that_breaks_answers_and_comes_back(
    broker: Broker, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    producer = Producer(broker, topic, 9)
    frame = producer.frame(record_batch([b"v"]))
    partition = on_loop(broker, lambda: broker.node.partitions[topic, 0])
    failed = partition.ref

    def breaks(rows: object) -> None:
        msg = "our own bug"
        raise AssertionError(msg)

    with WireConnection(port_of(broker)) as connection:
        for _ in range(3):
            connection.socket.sendall(frame)
            assert error_of(producer, connection.receive_frame()) == 0
        on_loop(broker, lambda: monkeypatch.setattr(partition.log, "append", breaks))
        connection.socket.sendall(frame)
        assert error_of(producer, connection.receive_frame()) == ErrorCode.KAFKA_STORAGE_ERROR
        wait_until(lambda: partition.online and partition.ref is not failed, TIMEOUT_S, "the partition is back")
        for _ in range(3):
            connection.socket.sendall(frame)
            assert error_of(producer, connection.receive_frame()) == 0
    assert len(payloads(broker, topic)) == 6
