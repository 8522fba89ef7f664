"""Sending what librdkafka cannot carry: record batches that are made here, by Produce requests of our own.

That is a timestamp of 0 (librdkafka takes it for "now") or none at all (-1), and a header's name that is not UTF-8 or
holds a zero byte. They are rare, so each batch is sent and acknowledged before the next.

Sending is idempotent (KIP-98): a producer id, and a sequence number for each partition. A batch whose answer was lost
is sent again and not written twice.
"""

from __future__ import annotations

import asyncio
import random
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from klamm.client.cluster import Cluster
from klamm.client.errors import ClientError, ResponseError
from klamm.client.messages.jsonl import Draft
from klamm.client.offsets import Partition
from klamm.client.requests import TIMEOUT, check, code_of, failure, integers, shapes
from klamm.client.wire import TopicMetadata
from klamm.records.compression import Codec
from klamm.records.record import Record, build_batch

BATCH_SIZE_BYTES: Final = 900_000
"""Below the default of max.message.bytes (1,048,588), so that only a record that is larger alone may be refused."""
RETRIES_MAX: Final = 20
RETRY_BACKOFF_S: Final = 0.1
RETRY_BACKOFF_S_MAX: Final = 3.0
"""Twenty attempts take about a minute, as long as librdkafka tries (``MESSAGE_TIMEOUT_MS``)."""
PRODUCE: Final = 0
INIT_PRODUCER_ID: Final = 22
_LEADER_NOT_AVAILABLE: Final = 5
_DUPLICATE_SEQUENCE_NUMBER: Final = 46
_RETRIED: Final = frozenset(
    {
        "UNKNOWN_TOPIC_OR_PARTITION",
        "LEADER_NOT_AVAILABLE",
        "NOT_LEADER_OR_FOLLOWER",
        "REQUEST_TIMED_OUT",
        "NETWORK_EXCEPTION",
        "NOT_ENOUGH_REPLICAS",
        "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
        "KAFKA_STORAGE_ERROR",
        "UNKNOWN_TOPIC_ID",
        "TIMEOUT",
        "UNREACHABLE_TCP",
    }
)
"""After these the same batch may be written by another attempt: leaders that move, replicas that lag, lost answers."""
_SEQUENCES: Final = 1 << 31
_RECORD_OVERHEAD: Final = 32
_CRC32: Final = frozenset({"consistent", "consistent_random"})
PARTITIONER: Final = "murmur2_random"
"""Where Kafka's own clients put a key; librdkafka's own default, CRC-32, would put a key's records into two places."""
_MURMUR2: Final = frozenset({"murmur2", "murmur2_random"})


class Place(NamedTuple):
    """Where a record was written; ``offset`` is None where the broker no longer knew it."""

    partition: int
    offset: int | None


def needs_raw(draft: Draft) -> bool:
    """Return whether librdkafka would refuse or change a record."""
    timestamp_ms = draft.timestamp_ms
    if timestamp_ms is not None and timestamp_ms <= 0:
        return True
    return bool(draft.headers) and any("\x00" in name or not _is_utf8(name) for name, _ in draft.headers)


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


class RawProducer:
    """Sends batches made here to one cluster."""

    def __init__(
        self, cluster: Cluster, properties: Mapping[str, Any], on_trouble: Callable[[str], None] = lambda _: None
    ) -> None:
        """Prepare; of librdkafka's properties the compression and the partitioner, where keys go, are followed.

        ``on_trouble`` is told once for each batch what is waited for.
        """
        self._on_trouble = on_trouble
        named = str(properties.get("compression.type", properties.get("compression.codec", "none")))
        self._cluster = cluster
        self._codec = Codec.__members__.get(named.upper(), Codec.NONE)
        self._partitioner = str(properties.get("partitioner", PARTITIONER))
        self._producer: tuple[int, int] | None = None
        self._sequences: dict[Partition, int] = {}
        self._topics: dict[str, TopicMetadata] = {}
        self.written = 0

    async def send(self, drafts: Sequence[tuple[str, Draft]]) -> None:
        """Send records, each with its topic; ``written`` counts those that are acknowledged by every in-sync replica.

        Raises:
            ClientError: A partition does not take them. Those before are written, or counted nowhere.
        """
        by_partition: dict[Partition, list[Draft]] = {}
        for topic, draft in drafts:
            where = (topic, await self._partition(topic, draft))
            by_partition.setdefault(where, []).append(draft)
        for where, some in by_partition.items():
            for batch in _batches(some):
                await self._send_batch(where, batch)
                self.written += len(batch)

    async def send_one(self, topic: str, draft: Draft) -> Place:
        """Send one record and return where it stands, once every in-sync replica has acknowledged it.

        Raises:
            ClientError: The partition does not take it.
        """
        partition = await self._partition(topic, draft)
        offset = await self._send_batch((topic, partition), [draft])
        self.written += 1
        return Place(partition, offset)

    async def _partition(self, topic: str, draft: Draft) -> int:
        count = len((await self._topic(topic)).partitions)
        if draft.partition is not None:
            return draft.partition
        if draft.key is None or (self._partitioner == "consistent_random" and not draft.key):
            return random.randrange(count)  # noqa: S311 (any partition will do)
        if self._partitioner in _CRC32:
            return zlib.crc32(draft.key) % count
        if self._partitioner in _MURMUR2:
            return default_partition(draft.key, count)
        if self._partitioner == "random":
            return random.randrange(count)  # noqa: S311 (as above)
        msg = f"a record of {topic} has a timestamp or header that is sent without librdkafka, and so without"
        code = "INVALID_RECORD"
        raise ClientError(code, f"{msg} its partitioner {self._partitioner}", "name the partition, or murmur2_random")

    async def _topic(self, name: str) -> TopicMetadata:
        found = self._topics.get(name)
        if found is None:
            found = (await self._cluster.metadata([name])).topics[0]
            if found.error_code:
                raise ResponseError(found.error_code, None, name=name)
            self._topics[name] = found
        return found

    async def _send_batch(self, where: Partition, drafts: Sequence[Draft]) -> int | None:
        """Have one batch written, whoever leads by then, and return its base offset, as far as the broker knows it.

        The same sequence keeps it from being written twice.
        """
        producer_id, producer_epoch = await self._identity()
        sequence = self._sequences.get(where, 0)
        records = [_record(number, draft) for number, draft in enumerate(drafts)]
        batch = build_batch(
            records,
            codec=self._codec,
            producer_id=producer_id,
            producer_epoch=producer_epoch,
            base_sequence=sequence,
        )
        attempt = 0
        while True:
            try:
                base_offset = await self._produce(where, bytes(batch))
            except ClientError as error:
                if attempt + 1 == RETRIES_MAX or error.code not in _RETRIED:
                    raise
                if not attempt:
                    self._on_trouble(error.message)
            else:
                self._sequences[where] = (sequence + len(drafts)) % _SEQUENCES
                return base_offset
            self._topics.pop(where[0], None)
            await asyncio.sleep(min(RETRY_BACKOFF_S * 2**attempt, RETRY_BACKOFF_S_MAX))
            attempt += 1

    async def _produce(self, where: Partition, batch: bytes) -> int | None:
        topic, index = where
        metadata = await self._topic(topic)
        leader = next((each.leader for each in metadata.partitions if each.partition == index), None)
        if leader is None:
            code = "UNKNOWN_PARTITION"
            raise ClientError(code, f"{topic} has no partition {index}", f"klamm topic describe {topic}")
        if leader < 0:
            raise ResponseError(_LEADER_NOT_AVAILABLE, None, name=f"{topic}:{index}")
        messages = shapes(PRODUCE)
        part = messages.PartitionProduceData(index=index, records=batch)
        of_topic = messages.TopicProduceData(topic_id=UUID(bytes=metadata.topic_id), name=topic, partition_data=(part,))
        request = messages.ProduceRequest(transactional_id=None, acks=-1, timeout=TIMEOUT, topic_data=(of_topic,))
        answer: Any = await self._cluster.ask(PRODUCE, request, leader)
        (found,) = answer.responses[0].partition_responses
        if code_of(found.error_code) == _DUPLICATE_SEQUENCE_NUMBER:
            return None  # an earlier attempt was written, and only its answer was lost
        refused = failure(found.error_code, found.error_message, f"{topic}:{index}")
        if refused is not None:
            raise refused
        (base_offset,) = integers((found.base_offset,))
        return base_offset if base_offset >= 0 else None

    async def _identity(self) -> tuple[int, int]:
        if self._producer is None:
            request = shapes(INIT_PRODUCER_ID).InitProducerIdRequest(
                transactional_id=None, transaction_timeout=timedelta(0)
            )

            async def attempt() -> tuple[int, int]:
                answer: Any = await self._cluster.ask(INIT_PRODUCER_ID, request)
                check(answer.error_code)
                producer_id, producer_epoch = integers((answer.producer_id, answer.producer_epoch))
                return producer_id, producer_epoch

            self._producer = await self._cluster.retry(attempt)
        return self._producer


def default_partition(key: bytes, count: int) -> int:
    """Return the partition of ``count`` where Kafka's own clients, and klamm, put a key."""
    return (murmur2(key) & 0x7FFFFFFF) % count


def murmur2(key: bytes) -> int:
    """Return the hash by which Kafka's own clients place keys: murmur2 with Kafka's seed, in 32 bits.

    Source: ``org.apache.kafka.common.utils.Utils.murmur2``; ``rd_murmur2`` of librdkafka.
    """
    factor, mask = 0x5BD1E995, 0xFFFFFFFF
    found = (0x9747B28C ^ len(key)) & mask
    whole = len(key) & ~3
    for place in range(0, whole, 4):
        word = int.from_bytes(key[place : place + 4], "little") * factor & mask
        word = (word ^ word >> 24) * factor & mask
        found = (found * factor & mask) ^ word
    if whole < len(key):
        found = (found ^ int.from_bytes(key[whole:], "little")) * factor & mask
    found = (found ^ found >> 13) * factor & mask
    return found ^ found >> 15


def _record(number: int, draft: Draft) -> Record:
    """Return a record as a batch holds it; one without a time has the time of sending."""
    timestamp = int(time.time() * 1000) if draft.timestamp_ms is None else draft.timestamp_ms
    headers = tuple((name.encode("utf-8", "surrogateescape"), value) for name, value in draft.headers)
    return Record(number, timestamp, draft.key, draft.value, headers)


def _batches(drafts: Sequence[Draft]) -> Iterator[list[Draft]]:
    """Yield what goes into one batch each: records up to a size, and at least one."""
    batch: list[Draft] = []
    size = 0
    for draft in drafts:
        own = _RECORD_OVERHEAD + len(draft.key or b"") + len(draft.value or b"")
        own += sum(len(name) + len(value or b"") + _RECORD_OVERHEAD for name, value in draft.headers)
        if batch and size + own > BATCH_SIZE_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(draft)
        size += own
    if batch:
        yield batch
