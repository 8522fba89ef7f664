"""What no client should send: the broker answers Kafka's error or closes that one connection, and serves on.

Where the answer is Kafka's own, the test runs against Apache Kafka too.
"""

import itertools
import random
import struct
import time
from collections.abc import Iterator

import psutil
import pytest

from tests.clients.confluent import consume, create_topic, make_producer, produce_values
from tests.support import wire
from tests.support.brokers import Broker
from tests.support.klamm_process import KlammProcess
from tests.support.process import wait_until
from tests.support.record_batch import record_batch
from tests.support.wire import WireConnection, send_and_forget

pytestmark = pytest.mark.wire

UNKNOWN_SERVER_ERROR = -1  # what Apache Kafka answers to a codec it does not know
CORRUPT_MESSAGE = 2
INVALID_RECORD = 87
UNSUPPORTED_CODEC = 76
UNSUPPORTED_VERSION = 35
MIB = 1024 * 1024


@pytest.fixture
def undisturbed(any_broker: Broker, topic: str) -> Iterator[None]:
    """Check that another client, connected before the test, produces and consumes after it."""
    producer = make_producer(any_broker)
    bystander = f"{topic}-bystander"
    produce_values(producer, bystander, [b"before"])
    yield
    produce_values(producer, bystander, [b"after"])
    assert [message.value() for message in consume(any_broker, bystander, 2)] == [b"before", b"after"]


GARBAGE = {
    "an HTTP request": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a TLS hello": bytes.fromhex("1603010200010001fc0303") + bytes(500),
    "a length beyond every limit": struct.pack(">i", 2**31 - 1) + b"x",
    "a negative length": struct.pack(">i", -5) + b"x" * 20,
    "an empty frame": struct.pack(">i", 0),
    "a frame shorter than a header": struct.pack(">i", 3) + b"\x00\x12\x00",
    "an unknown API key": struct.pack(">i", 10) + struct.pack(">hhih", 9_999, 0, 1, -1),
    "a negative API key": struct.pack(">i", 10) + struct.pack(">hhih", -7, 0, 1, -1),
    "a version of Metadata that does not exist": struct.pack(">i", 10) + struct.pack(">hhih", wire.METADATA, 99, 1, -1),
    "a client id longer than the frame": struct.pack(">i", 10) + struct.pack(">hhih", wire.METADATA, 1, 1, 30_000),
    "an array count beyond the frame": struct.pack(">i", 14) + struct.pack(">hhihi", wire.METADATA, 1, 1, -1, 2**30),
    "a string beyond the frame": struct.pack(">i", 16) + struct.pack(">hhihih", wire.METADATA, 1, 1, -1, 1, 20_000),
}  # fmt: skip


@pytest.mark.usefixtures("undisturbed")
@pytest.mark.parametrize("what", GARBAGE)
def test_what_cannot_be_a_request_closes_its_own_connection(any_broker: Broker, what: str) -> None:
    with WireConnection(any_broker.port) as connection, WireConnection(any_broker.port) as neighbour:
        connection.socket.sendall(GARBAGE[what])
        assert connection.is_closed_by_peer()
        neighbour.request(wire.API_VERSIONS, 0)


@pytest.mark.parametrize("what", GARBAGE)
def test_what_cannot_be_a_request_is_logged_in_one_line(shared_klamm: KlammProcess, what: str) -> None:
    before = shared_klamm.log()
    with WireConnection(shared_klamm.port) as connection:
        connection.socket.sendall(GARBAGE[what])
        assert connection.is_closed_by_peer()
    wait_until(lambda: shared_klamm.log()[len(before) :].endswith("\n"), 30, "the line is written")
    time.sleep(0.2)  # a second one would come now
    lines = shared_klamm.log()[len(before) :].splitlines()
    assert len(lines) == 1, lines
    assert "127.0.0.1" in lines[0], "the line should say whose connection it was"


def test_a_client_that_goes_away_in_mid_frame_is_not_an_event(shared_klamm: KlammProcess) -> None:
    before = shared_klamm.log()
    for sent in (b"", b"\x00", b"\x00\x00\x00\x20", b"\x00\x00\x00\x20\x00\x03\x00\x01"):
        with WireConnection(shared_klamm.port) as connection:
            connection.socket.sendall(sent)
    time.sleep(0.2)
    assert shared_klamm.log() == before


@pytest.mark.parametrize("version", [5, 99, 32_767, -1])
def test_an_unknown_version_of_api_versions_is_answered_in_version_0(any_broker: Broker, version: int) -> None:
    with WireConnection(any_broker.port) as connection:
        body = connection.request(wire.API_VERSIONS, version, flexible=True)
        error_code, count = struct.unpack_from(">hi", body)
        rows = [struct.unpack_from(">hhh", body, 6 + 6 * row) for row in range(count)]
        assert error_code == UNSUPPORTED_VERSION
        assert len(body) == 6 + 6 * count
        [(_, least, greatest)] = [row for row in rows if row[0] == wire.API_VERSIONS]
        assert (least, greatest >= 4) == (0, True)
        connection.request(wire.API_VERSIONS, 0)  # the connection lives on


def test_requests_on_one_connection_are_answered_in_order(any_broker: Broker) -> None:
    with WireConnection(any_broker.port) as connection:
        for number in range(200):
            api_key = wire.API_VERSIONS if number % 2 else wire.METADATA
            body = b"" if number % 2 else struct.pack(">i", 0)
            connection.send_frame(wire.request_header(api_key, 0 if number % 2 else 1, number) + body)
        answered = [struct.unpack_from(">i", connection.receive_frame())[0] for _ in range(200)]
        assert answered == list(range(200))


def test_a_frame_may_come_byte_by_byte(any_broker: Broker) -> None:
    frame = wire.request_header(wire.API_VERSIONS, 0, 5)
    with WireConnection(any_broker.port) as connection:
        for byte in struct.pack(">i", len(frame)) + frame:
            connection.socket.sendall(bytes([byte]))
            time.sleep(0.002)
        assert struct.unpack_from(">i", connection.receive_frame())[0] == 5


VALUES = [b"one", b"two", b"three"]
BAD_BATCHES: dict[str, tuple[bytes, set[int]]] = {
    "a wrong checksum": (record_batch(VALUES, crc=1), {CORRUPT_MESSAGE}),
    "message format 1": (record_batch(VALUES, magic=1), {INVALID_RECORD}),
    "message format 0": (record_batch(VALUES, magic=0), {INVALID_RECORD}),
    "message format 3": (record_batch(VALUES, magic=3), {INVALID_RECORD, CORRUPT_MESSAGE}),
    "two batches in one request": (record_batch(VALUES) * 2, {INVALID_RECORD}),
    "a count that is not that of its offsets": (record_batch(VALUES, record_count=7), {INVALID_RECORD}),
    "a last offset that is not that of its count": (record_batch(VALUES, last_offset_delta=9), {INVALID_RECORD}),
    "no records in a batch": (record_batch([]), {INVALID_RECORD}),
    "a control batch": (record_batch(VALUES, attributes=0x20), {INVALID_RECORD}),
    "a length beyond the batch": (record_batch(VALUES, length=5_000), {INVALID_RECORD, CORRUPT_MESSAGE}),
    "a length below a batch header": (record_batch(VALUES, length=10), {INVALID_RECORD, CORRUPT_MESSAGE}),
    "an unknown codec": (record_batch(VALUES, attributes=7), {UNKNOWN_SERVER_ERROR, UNSUPPORTED_CODEC}),
}


NOT_LEADER_YET = 6
"""Apache Kafka answers CreateTopics before its broker leads the partition; clients ask again, and so does the test."""

LEADER_TRIES = 5_000


@pytest.mark.usefixtures("undisturbed")
@pytest.mark.parametrize("what", BAD_BATCHES)
def test_a_bad_batch_is_refused_and_appends_nothing(any_broker: Broker, topic: str, what: str) -> None:
    create_topic(any_broker, topic)
    records, error_codes = BAD_BATCHES[what]
    with WireConnection(any_broker.port) as connection:
        answers = (wire.produce_error(connection, topic, record_batch([b"good"])) for _ in range(LEADER_TRIES))
        assert next(answer for answer in answers if answer != NOT_LEADER_YET) == 0
        assert wire.produce_error(connection, topic, records) in error_codes
        assert wire.produce_error(connection, topic, record_batch([b"good too"])) == 0
    assert [message.value() for message in consume(any_broker, topic, 2)] == [b"good", b"good too"]


def valid_frames(topic: str) -> list[bytes]:
    """Return one request of each kind that says something, in versions before the flexible ones and after."""
    name = wire.string(topic)
    compact = bytes([len(topic) + 1]) + topic.encode()
    bodies: list[tuple[int, int, bool, bytes]] = [
        (wire.PRODUCE, 3, False, wire.produce_request(topic, record_batch(VALUES))),
        (wire.FETCH, 4, False, wire.fetch_request(topic, 0, MIB, wait_max_ms=10)),
        (2, 1, False, struct.pack(">ii", -1, 1) + name + struct.pack(">iiq", 1, 0, -1)),
        (wire.METADATA, 1, False, struct.pack(">i", 1) + name),
        (wire.METADATA, 12, True, b"\x02" + bytes(16) + compact + b"\x00" + b"\x01\x00\x00"),
        (wire.API_VERSIONS, 3, True, b"\x06tests\x021\x00"),
        (22, 0, False, struct.pack(">hi", -1, 60_000)),
        (23, 3, False, struct.pack(">ii", -1, 1) + name + struct.pack(">iiii", 1, 0, -1, 0)),
        (32, 1, False, struct.pack(">ib", 1, 2) + name + struct.pack(">ib", -1, 1)),
        (20, 1, False, struct.pack(">i", 1) + wire.string(f"{topic}-not-there") + struct.pack(">i", 1_000)),
        (60, 0, True, b"\x00\x00"),
        (10, 1, False, wire.string("group") + b"\x00"),
        (11, 1, False, wire.string("group") + struct.pack(">ii", 6_000, 100) + wire.string("") + wire.string("consumer")
         + struct.pack(">i", 1) + wire.string("range") + struct.pack(">i", 4) + b"abcd"),
        (8, 2, False, wire.string("group") + struct.pack(">i", -1) + wire.string("") + struct.pack(">qi", -1, 1) + name
         + struct.pack(">iiqh", 1, 0, 3, -1)),
    ]  # fmt: skip
    return [wire.request_header(key, version, 1, flexible=flexible) + body for key, version, flexible, body in bodies]


def mutated(frame: bytes, chance: random.Random) -> bytes:
    changed = bytearray(frame)
    for _ in range(chance.randint(1, 4)):
        position = chance.randrange(len(changed)) if changed else 0
        kind = chance.randrange(5)
        if kind == 0 and changed:
            changed[position] = chance.randrange(256)
        elif kind == 1 and changed:
            changed[position : position + 4] = chance.choice([b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", b"\x80\0\0\0"])
        elif kind == 2:
            del changed[position:]
        elif kind == 3:
            changed[position:position] = chance.randbytes(chance.randint(1, 40))
        else:
            del changed[position : position + chance.randint(1, 8)]
    return bytes(changed)


@pytest.mark.parametrize("seed", range(4))
def test_mutated_requests_stop_nothing_and_cost_no_memory(klamm_server: KlammProcess, topic: str, seed: int) -> None:
    create_topic(klamm_server, topic)
    chance = random.Random(seed)
    frames = valid_frames(topic)
    for frame in frames:  # each kind once, valid, so that what is loaded on first use is loaded
        send_and_forget(klamm_server.port, frame)
    before = psutil.Process(klamm_server.pid).memory_info().rss
    for _ in range(500):
        send_and_forget(klamm_server.port, mutated(chance.choice(frames), chance))
    grown = psutil.Process(klamm_server.pid).memory_info().rss - before
    assert grown < 50 * MIB, f"seed {seed}: {grown / MIB:.0f} MiB more"
    producer = make_producer(klamm_server)
    produce_values(producer, f"{topic}-after", [b"alive"])
    assert "Traceback" not in klamm_server.log()


def test_random_bodies_for_every_api_and_version_stop_nothing(klamm_server: KlammProcess) -> None:
    chance = random.Random(7)
    for api_key, (least, greatest) in wire.api_versions(klamm_server.port).items():
        for version in range(least, greatest + 1):
            for size, flexible in itertools.product((0, 3, 60), (False, True)):
                header = wire.request_header(api_key, version, 1, flexible=flexible)
                send_and_forget(klamm_server.port, header + chance.randbytes(size))
    assert wire.is_serving(klamm_server.port)
    assert "Traceback" not in klamm_server.log()


def test_announced_frames_take_no_memory_before_they_come(klamm_server: KlammProcess) -> None:
    before = psutil.Process(klamm_server.pid).memory_info().rss
    connections = [WireConnection(klamm_server.port) for _ in range(100)]
    for connection in connections:  # 100 MiB each, Kafka's limit for a request
        connection.socket.sendall(struct.pack(">i", 100 * MIB) + wire.request_header(wire.PRODUCE, 3, 1))
    time.sleep(0.5)  # the broker is to have read them all
    assert wire.is_serving(klamm_server.port)
    grown = psutil.Process(klamm_server.pid).memory_info().rss - before
    for connection in connections:
        connection.socket.close()
    assert grown < 100 * MIB, f"{grown / MIB:.0f} MiB more for 100 frames that never came"


def test_two_thousand_idle_connections_hinder_nobody(klamm_server: KlammProcess, topic: str) -> None:
    before = psutil.Process(klamm_server.pid).memory_info().rss
    connections = [WireConnection(klamm_server.port) for _ in range(2_000)]
    try:
        for connection in connections:
            connection.request(wire.API_VERSIONS, 0)
        produce_values(make_producer(klamm_server), topic, [b"%d" % number for number in range(100)])
        assert len(consume(klamm_server, topic, 100)) == 100
        grown = psutil.Process(klamm_server.pid).memory_info().rss - before
        assert grown < 200 * MIB, f"{grown / MIB:.0f} MiB more for 2,000 connections"
    finally:
        for connection in connections:
            connection.socket.close()


def test_a_reader_that_does_not_read_bounds_itself(klamm_server: KlammProcess, topic: str) -> None:
    create_topic(klamm_server, topic)
    produce_values(make_producer(klamm_server), topic, [b"x" * 500_000] * 40)
    before = psutil.Process(klamm_server.pid).memory_info().rss
    with WireConnection(klamm_server.port) as slow:
        request = wire.request_header(wire.FETCH, 4, 1) + wire.fetch_request(topic, 0, 20 * MIB)
        slow.socket.settimeout(2.0)
        try:
            for _ in range(2_000):  # 40 GB of answers, none of them read
                slow.send_frame(request)
        except TimeoutError:
            pass  # the broker no longer reads what this client sends: that is the bound
        produce_values(make_producer(klamm_server), f"{topic}-other", [b"prompt"])
        grown = psutil.Process(klamm_server.pid).memory_info().rss - before
    assert grown < 300 * MIB, f"{grown / MIB:.0f} MiB more for one slow reader"
