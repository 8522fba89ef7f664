"""Scripts of Produce: what is refused and with which code, idempotent producers, and topic configs that change live.

Where klamm differs on purpose, the request is left out, or what differs is, and the reason stands here:

- the log start offset beside an error: klamm says it always, Apache Kafka after some errors only;
- the time beside a duplicate: Apache Kafka says the producer's own where it should say none;
- a partition that is named twice in one request: klamm appends and answers both batches, Apache Kafka the last one;
- what is inside a sound checksum: a batch is passed on as it came unless the topic asks for its keys, ages or another
  codec, so records that contradict their batch's header are the consumer's to refuse;
- transactional batches: INVALID_TXN_STATE for want of transactions, whoever sends them;
- unknown codecs and lengths over 2 GB: klamm says what is wrong, Apache Kafka UNKNOWN_SERVER_ERROR;
- null records: Apache Kafka never answers.
"""

from __future__ import annotations

import struct
import time
from datetime import timedelta
from typing import Any
from uuid import UUID

from klamm.protocol.apis import API_VERSIONS, ApiKey
from klamm.records.batch import iter_batches, write_crc
from klamm.records.compression import Codec
from klamm.records.record import Record, build_batch, decode_records
from tests.differential.admin_scripts import SET, TOPIC, alter, named, say
from tests.differential.conversation import METADATA_DELAY_S, Conversation, Script
from tests.differential.group_scripts import find

TIMEOUT = timedelta(seconds=20)
EARLY_MS = 1_700_000_000_000
HOUR_MS = 3_600_000
BATCH_SIZE_MAX = 1_048_588
ONE_RECORD_SIZE = 74
"""Bytes of a batch of one record without key, but for its value, which takes three to say its size."""
BY_NAME, BY_ID = 12, 13
SEQUENCE_MAX = 2**31 - 1
NOT_SAID = frozenset({"batch_index_error_message"})


def batch(count: int = 1, *, key: bytes | None = None, value: bytes = b"x", at: int = EARLY_MS, **says: Any) -> bytes:
    """Return a batch of records that are alike."""
    return bytes(build_batch([Record(offset, at, key, value) for offset in range(count)], base_offset=0, **says))


def changed(original: bytes, *changes: tuple[int, str, int]) -> bytes:
    """Return a batch with other numbers (position, format, value) in its header, and a right checksum."""
    other = bytearray(original)
    for position, form, value in changes:
        struct.pack_into(f">{form}", other, position, value)
    write_crc(other, len(other))
    return bytes(other)


def make(c: Conversation, **topics: dict[str, str]) -> None:
    """Make topics of one partition with configs."""
    asked = tuple(
        {
            "name": named(c, name),
            "num_partitions": 1,
            "replication_factor": 1,
            "assignments": (),
            "configs": tuple({"name": key, "value": value} for key, value in configs.items()),
        }
        for name, configs in topics.items()
    )
    c.quietly(ApiKey.CREATE_TOPICS, topics=asked, timeout=TIMEOUT, validate_only=False)
    c.settle()
    time.sleep(METADATA_DELAY_S)


def produce(c: Conversation, label: str, records: bytes, topic: str = "p", index: int = 0, **values: Any) -> Any:
    """A Produce of one batch; ``topic_id`` is for the versions that go by it."""
    topic_id = values.pop("topic_id", None)
    partitions = ({"index": index, "records": records},)
    return produce_all(
        c, label, {"topic_id": topic_id, "name": named(c, topic), "partition_data": partitions}, **values
    )


def produce_all(c: Conversation, label: str, *topics: dict[str, Any], version: int = BY_NAME, acks: int = -1) -> Any:
    """A Produce with everything but what is not compared (see above)."""
    values = {"transactional_id": None, "acks": acks, "timeout": TIMEOUT, "topic_data": topics}
    response = c.ask(ApiKey.PRODUCE, version, label=label, **values)
    entry, plain = c.transcript.pop()
    c.transcript.append((entry, _compared(plain)))
    return response


def _compared(plain: object) -> object:
    if isinstance(plain, list):
        return [_compared(one) for one in plain]
    if not isinstance(plain, dict):
        return plain
    kept = {name: _compared(one) for name, one in plain.items() if name not in NOT_SAID}
    if kept.get("error_code", "none") != "none":
        kept.pop("log_start_offset", None)
    if kept.get("log_append_time") is not None:
        kept["log_append_time"] = "a time"
    return kept


def delete_records(c: Conversation, topic: str, index: int, offset: int) -> None:
    partitions = ({"partition_index": index, "offset": offset},)
    asked = ({"name": named(c, topic), "partitions": partitions},)
    say(c, ApiKey.DELETE_RECORDS, label=f"below {offset}", topics=asked, timeout=TIMEOUT)


def producers(c: Conversation, topic: str, *indexes: int) -> None:
    c.ask(ApiKey.DESCRIBE_PRODUCERS, topics=({"name": named(c, topic), "partition_indexes": indexes},))


def refused_requests(c: Conversation) -> None:
    """Acks, topics and partitions, in every version."""
    topic_id = c.topic("p", 2)
    find(c, c.group("any"))  # it makes the internal topic
    for version in range(3, API_VERSIONS[ApiKey.PRODUCE].max + 1):
        produce(c, "good", batch(3), version=version, topic_id=topic_id)
        produce(c, "no such topic", batch(), "nosuch", version=version, topic_id=UUID(int=77))
        for index in (9, -1):
            produce(c, f"partition {index}", batch(), index=index, version=version, topic_id=topic_id)
        for label, records in {"nothing": b"", "short": bytes(10), "a length of none": bytes(17)}.items():
            produce(c, label, records, version=version, topic_id=topic_id)
        for codec in Codec:
            produce(c, codec.name, batch(3, codec=codec), version=version, topic_id=topic_id)
    for acks in (2, -2, 127):
        produce(c, f"acks {acks}", batch(), acks=acks)
    produce(c, "no id", batch(), version=BY_ID, topic_id=UUID(int=0))
    for name in ("a b", "", ".", "__consumer_offsets", "__cluster_metadata"):
        partitions = ({"index": 0, "records": batch()},)
        produce_all(c, name, {"topic_id": None, "name": name, "partition_data": partitions})
    some = tuple({"index": index, "records": records} for index, records in ((0, batch()), (7, batch()), (1, b"x")))
    known = {"topic_id": topic_id, "name": named(c, "p"), "partition_data": some}
    unknown = {"topic_id": UUID(int=5), "name": "nosuch", "partition_data": some[:1]}
    for version in (BY_NAME, BY_ID):
        produce_all(c, "no topics", version=version)
        produce_all(c, "some", known, unknown, version=version)


def refused_batches(c: Conversation) -> None:
    """Batches whose bytes or header say what cannot be."""
    c.topic("p", 1)
    good = batch(3)
    flipped = bytearray(good)
    flipped[-1] ^= 1
    for label, records in {
        "two": good + good,
        "bytes behind": good + b"12345",
        "zeros behind": good + bytes(40),
        "cut off": good[:-1],
        "checksum": bytes(flipped),
        "more records than bytes": changed(good, (23, "i", 2**30 - 1), (57, "i", 2**30)),
    }.items():
        produce(c, label, records)
    for position, form, what, numbers in (
        (0, "q", "base offset", (1, 55, -55)),
        (12, "i", "leader epoch", (55, -7)),
        (16, "b", "magic", (0, 1, 3, -1)),
        (21, "h", "attributes", (0x08, 0x20, 0x40, 0x80, 0x100, 0x7F00 - 0x20)),
        (23, "i", "last offset delta", (0, 1, 3, -1)),
        (57, "i", "record count", (0, 1, 2, 4, -1, SEQUENCE_MAX)),
    ):
        for number in numbers:
            produce(c, f"{what} {number}", changed(good, (position, form, number)))
    for length in (-1, 0, 1, 13, 14, 48, 49, 60):
        produce(c, f"length {length}", good[:8] + struct.pack(">i", length) + good[12:])
    for producer in ((5, -1, 0), (5, 0, -1), (-1, 0, 0), (-2, 0, 0), (-1, 5, 7), (2**62, 0, 0), (7, 32_767, 0)):
        ids: dict[str, Any] = dict(zip(("producer_id", "producer_epoch", "base_sequence"), producer, strict=True))
        produce(c, f"producer {producer}", batch(**ids))
        produce(c, f"control of producer {producer}", batch(**ids, is_control=True))
    for codec in Codec:
        for offset in (1, -1):
            produce(c, f"{codec.name} at {offset}", changed(batch(2, codec=codec), (0, "q", offset)))
    for size in range(BATCH_SIZE_MAX - 1, BATCH_SIZE_MAX + 2):
        produce(c, f"size {size}", batch(value=bytes(size - ONE_RECORD_SIZE)))


def without_acks(c: Conversation) -> None:
    """With acks=0 nothing is answered, and a failure ends the connection."""
    c.topic("p", 1)
    flipped = bytearray(batch())
    flipped[-1] ^= 1
    nothing: dict[str, Any] = {"allow_auto_topic_creation": False, "include_topic_authorized_operations": False}
    for label, name, records in (
        ("good", named(c, "p"), batch()),
        ("no such topic", "nosuch", batch()),
        ("checksum", named(c, "p"), bytes(flipped)),
        ("too large", named(c, "p"), batch(value=bytes(2_000_000))),
        ("good again", named(c, "p"), batch()),
    ):
        topics = ({"topic_id": None, "name": name, "partition_data": ({"index": 0, "records": records},)},)
        values = {"transactional_id": None, "acks": 0, "timeout": TIMEOUT, "topic_data": topics}
        sent, _ = c.frame(ApiKey.PRODUCE, BY_NAME, **values)
        behind, _ = c.frame(ApiKey.METADATA, 9, topics=({"name": "nosuch", "topic_id": None},), **nothing)
        c.ask_bytes(ApiKey.METADATA, 9, sent + behind, label)
        entry, answer = c.transcript.pop()
        c.transcript.append((entry, "closed" if answer == "closed" else "the next request is answered"))
    produce(c, "what was appended", batch())


def sequences(c: Conversation) -> None:
    """Duplicates, gaps, epochs, the end of the numbers, and producers whose records were deleted."""
    topic_id = c.topic("p", 7)

    def codes(label: str, response: Any) -> None:
        partitions = sorted(response.responses[0].partition_responses, key=lambda one: one.index)
        c.transcript.pop()  # it has the time beside duplicates
        c.transcript.append((label, [(one.index, one.error_code.name, one.base_offset) for one in partitions]))

    def send(label: str, index: int, producer_id: int, *numbers: tuple[int, int, int], acks: int = -1) -> None:
        for epoch, sequence, count in numbers:
            ids: dict[str, Any] = {"producer_id": producer_id, "producer_epoch": epoch, "base_sequence": sequence}
            codes(
                f"{label}: {sequence} of epoch {epoch}", produce(c, label, batch(count, **ids), index=index, acks=acks)
            )

    send("in order", 0, 1, *((0, 2 * number, 2) for number in range(8)))
    send("again", 0, 1, *((0, 2 * number, 2) for number in range(8)))
    send("astray", 0, 1, (0, 20, 2), (0, 15, 2), (0, 14, 1), (0, 14, 3), (0, 12, 4), (0, -1, 1))
    for acks in (1, -1):
        send(f"again with acks={acks}", 0, 1, (0, 14, 2), (0, 0, 2), acks=acks)
    send("epochs", 0, 1, (1, 5, 2), (1, 0, 2), (0, 16, 2), (0, 14, 2), (1, 0, 2), (5, 0, 2), (3, 0, 2), (5, -1, 2))
    send("the last epoch", 0, 1, (32_767, 0, 2), (32_767, 2, 2), (-1, 0, 1))
    most = SEQUENCE_MAX
    send("over the end", 1, 2, (0, most - 3, 2), (0, most - 1, 4), (0, 0, 2), (0, 2, 2), (0, most - 1, 4))
    send("up to the end", 1, 3, (0, most, 1), (0, 0, 1), (0, 1, 1), (0, most, 1))
    send("with the end", 1, 4, (0, most - 1, 2), (0, 1, 1), (0, 0, 1))
    send("never seen", 2, 5, (0, 7, 1), (0, 8, 1))
    send("never seen with an epoch", 2, 6, (9, 7, 1), (-1, 0, 1))
    send("before", 3, 7, *((0, 2 * number, 2) for number in range(4)))
    delete_records(c, "p", 3, -1)
    send("records deleted", 3, 7, (0, 6, 2), (0, 0, 2), (0, 30, 2), (0, 8, 2))
    ids: dict[str, Any] = {"producer_id": 8, "producer_epoch": 0}
    parts = tuple({"index": index, "records": batch(**ids, base_sequence=index)} for index in (4, 5))
    for _ in range(2):
        both = {"topic_id": topic_id, "name": named(c, "p"), "partition_data": parts}
        codes("two partitions", produce_all(c, "two partitions", both))
        parts = (parts[0], {"index": 5, "records": batch(**ids, base_sequence=9)})
    producers(c, "p", 0, 1, 2, 3, 4, 5, 6)
    c.ask(
        ApiKey.DESCRIBE_PRODUCERS,
        topics=(
            {"name": "nosuch", "partition_indexes": (0,)},
            {"name": named(c, "p"), "partition_indexes": (-1, 9)},
            {"name": "a b", "partition_indexes": (0,)},
        ),
    )


def new_producers(c: Conversation) -> None:
    """InitProducerId: whoever has an id already may say so, with its epoch."""
    of = API_VERSIONS[ApiKey.INIT_PRODUCER_ID]
    for version in range(of.min, of.max + 1):
        ids = [(-1, -1), (5, 3), (5, -1), (-1, 3), (-5, -3)] if version >= 3 else [(-1, -1)]
        for producer_id, epoch in ids:
            for timeout_ms in (-1, 0, 60_000, 2**31 - 1):
                values: dict[str, Any] = {
                    "transactional_id": None,
                    "transaction_timeout": timedelta(milliseconds=timeout_ms),
                }
                values |= {"producer_id": producer_id, "producer_epoch": epoch}
                while True:  # Apache Kafka's broker has to ask for its first ids
                    response = c.quietly(ApiKey.INIT_PRODUCER_ID, version, **values)
                    if response.error_code.name != "coordinator_load_in_progress":
                        break
                    time.sleep(0.05)
                answer = (response.error_code.name, response.producer_id >= 0, response.producer_epoch)
                c.transcript.append((f"v{version} {producer_id} {epoch} {timeout_ms}", answer))
        values = {"transactional_id": "", "transaction_timeout": TIMEOUT, "producer_id": -1, "producer_epoch": -1}
        c.ask(ApiKey.INIT_PRODUCER_ID, version, label="an empty transactional id", **values)


def ages(c: Conversation) -> None:
    """Records that are too old, or of a time to come."""
    now = int(time.time() * 1000)
    make(
        c,
        create={},
        append={"message.timestamp.type": "LogAppendTime"},
        before={"message.timestamp.before.max.ms": str(HOUR_MS)},
        after={"message.timestamp.after.max.ms": "60000"},
    )
    old, later = now - HOUR_MS - 600_000, now + HOUR_MS + 600_000
    for topic in ("create", "append", "before", "after"):
        for at in (-1, 0, -2, -600_000, 600_000, 10_000, 2**63 - 1, -(2**63)):
            time_ms = at + now if 10 < abs(at) < HOUR_MS else at
            produce(c, f"{topic} {at}", batch(at=time_ms), topic)
        for label, times in {"old": (now, old, now, old), "later": (now, later), "both": (old, now, later)}.items():
            for codec in (Codec.NONE, Codec.GZIP, Codec.ZSTD):
                records = [Record(offset, at, None, b"v") for offset, at in enumerate(times)]
                produce(
                    c, f"{topic}: {label} among others", bytes(build_batch(records, base_offset=0, codec=codec)), topic
                )
        produce(
            c,
            f"{topic}: none among others",
            bytes(build_batch([Record(0, now, None, b""), Record(1, -1, None, b"")])),
            topic,
        )
        produce(c, f"{topic}: says it has the broker's time", changed(batch(3, at=now), (21, "h", 8)), topic)


def keys(c: Conversation) -> None:
    """A compacted topic takes records with keys, and its records are not deleted by anybody."""
    find(c, c.group("any"))  # it makes the internal topic
    make(
        c,
        compacted={"cleanup.policy": "compact"},
        both={"cleanup.policy": "compact,delete", "retention.ms": "-1"},  # or the cleaner deletes what is that old
        neither={"cleanup.policy": ""},
    )
    some = bytes(build_batch([Record(0, 0, b"k", b"v"), Record(1, 0, None, b"v"), Record(2, 0, None, b"v")]))
    for topic in ("compacted", "both", "neither"):
        for codec in (Codec.NONE, Codec.GZIP):
            produce(c, f"{topic}, no key", batch(2, codec=codec), topic)
            produce(c, f"{topic}, empty key", batch(2, key=b"", codec=codec), topic)
        produce(c, f"{topic}, some keys", some, topic)
        delete_records(c, topic, 0, 1)
    for topic in ("__cluster_metadata", "__consumer_offsets"):
        asked = ({"name": topic, "partitions": ({"partition_index": 0, "offset": 0},)},)
        say(c, ApiKey.DELETE_RECORDS, label=topic, topics=asked, timeout=TIMEOUT)


def live_configs(c: Conversation) -> None:
    """Sizes, codecs and times that a topic's config changes between two batches; then what is in the log."""
    make(c, live={})

    def change(**values: str) -> None:
        operations = ((key.replace("_", "."), SET, value) for key, value in values.items())
        alter(c, str(values), TOPIC, named(c, "live"), *operations)
        c.settle()

    produce(c, "large", batch(value=bytes(5_000)), "live")
    change(max_message_bytes="1000")
    produce(c, "too large", batch(value=bytes(5_000)), "live")
    for size in (999, 1_000, 1_001):
        produce(c, f"size {size}", batch(value=bytes(size - ONE_RECORD_SIZE + 2)), "live")
    change(max_message_bytes="1048588", message_timestamp_type="LogAppendTime")
    for codec in Codec:
        produce(c, f"append time, {codec.name}", batch(2, at=5, codec=codec), "live")
    change(message_timestamp_type="CreateTime")
    for wanted in ("gzip", "snappy", "lz4", "zstd", "uncompressed", "producer"):
        change(compression_type=wanted)
        for sent in Codec:
            produce(c, f"{sent.name} to {wanted}", batch(2, at=7, codec=sent), "live")
    change(compression_type="gzip", message_timestamp_type="LogAppendTime", max_message_bytes="300")
    produce(c, "small enough once compressed", batch(value=bytes(5_000)), "live")
    produce(c, "small enough", batch(value=bytes(150)), "live")
    change(min_insync_replicas="2")
    for acks in (-1, 1):
        produce(c, f"acks {acks}", batch(), "live", acks=acks)
    c.transcript.extend(_log(c, "live"))


def _log(c: Conversation, topic: str) -> list[tuple[str, object]]:
    partitions = ({"partition": 0, "fetch_offset": 0, "partition_max_bytes": 1 << 20},)
    asked = ({"topic": named(c, topic), "topic_id": None, "partitions": partitions},)
    response = c.quietly(
        ApiKey.FETCH, BY_NAME, max_wait=timedelta(0), min_bytes=1, topics=asked, forgotten_topics_data=()
    )
    fetched = response.responses[0].partitions[0].records
    told: list[tuple[str, object]] = []
    for position, header in iter_batches(fetched):
        records = [
            (one.offset, _told(one.timestamp_ms), len(one.value or b"")) for one in decode_records(fetched, position)
        ]
        same = header.record_count, header.attributes, header.base_timestamp, header.leader_epoch, header.base_sequence
        told.append((f"batch {header.base_offset}", (*same, _told(header.max_timestamp), records)))
    return told


def _told(time_ms: int) -> object:
    """Return a time that a script chose, and one word for the brokers' own."""
    return time_ms if time_ms <= EARLY_MS else "a time"


SCRIPTS: tuple[Script, ...] = (
    refused_requests,
    refused_batches,
    without_acks,
    sequences,
    new_producers,
    ages,
    keys,
    live_configs,
)
