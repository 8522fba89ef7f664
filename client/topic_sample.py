"""What a topic's records are like, told from a sample: sizes, keys, tombstones, batches.

The sample is windows spread evenly over each partition's offsets, so that old and new records count alike. It is
fetched only when somebody asks: on tiered storage old records cost money.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from klamm.client.cluster import Cluster
from klamm.client.errors import ClientError
from klamm.client.messages.record import Fields
from klamm.client.messages.scan import Scan
from klamm.client.offsets import Partition
from klamm.client.positions import Range
from klamm.client.wire import ClusterMetadata
from klamm.records.batch import BatchHeader

WINDOWS: Final = 4
"""Places in each partition that are looked at."""
SAMPLE_DEFAULT: Final = 10_000
_KEYS_SHOWN: Final = 5


class Sizes(NamedTuple):
    """Sizes in bytes of what was there: nulls are not counted."""

    median: int
    p95: int
    most: int


class KeyUse(NamedTuple):
    """A key of the sample: how many records have it, and how many bytes their values take."""

    key: bytes
    records: int
    value_bytes: int


class TopicSample(NamedTuple):
    """What was found. ``offsets`` is the span of the log that the sample stands for.

    ``distinct_keys`` are those in the sample, ``distinct_keys_estimate`` about how many the topic has; None without a
    key.
    """

    topic: str
    records: int
    offsets: int
    without_key: int
    tombstones: int
    distinct_keys: int
    distinct_keys_estimate: int | None
    key_sizes: Sizes | None
    value_sizes: Sizes | None
    biggest_keys: Sequence[KeyUse]
    codecs: Mapping[str, int]
    records_per_batch: float | None


class _Tally:
    """What is counted of one topic."""

    def __init__(self) -> None:
        self.records = 0
        self.without_key = 0
        self.tombstones = 0
        self.batches = 0
        self.batch_records = 0
        self.keys: Counter[bytes] = Counter()
        self.key_bytes: Counter[bytes] = Counter()
        self.key_sizes: list[int] = []
        self.value_sizes: list[int] = []
        self.codecs: Counter[str] = Counter()


async def sample_topics(
    cluster: Cluster,
    metadata: ClusterMetadata,
    logs: Mapping[Partition, tuple[int, int]],
    records_per_topic: int = SAMPLE_DEFAULT,
) -> tuple[dict[str, TopicSample], list[ClientError]]:
    """Return samples by topic, and errors. ``logs`` are the (start, end) of the partitions to look at."""
    partitions = Counter(topic for topic, _ in logs)
    tallies: dict[str, _Tally] = {topic: _Tally() for topic in partitions}
    errors: dict[Partition, ClientError] = {}
    for ranges in _windows(logs, {topic: records_per_topic // count for topic, count in partitions.items()}):
        scan = Scan(cluster, metadata, ranges)
        async for found in scan.rows():
            _count(tallies[found.where[0]], found.rows)
        errors.update(scan.errors)
    spans = Counter(dict.fromkeys(partitions, 0))
    for (topic, _), (start, end) in logs.items():
        spans[topic] += end - start
    return {topic: _sample(topic, tally, spans[topic]) for topic, tally in tallies.items()}, list(errors.values())


def _windows(logs: Mapping[Partition, tuple[int, int]], sizes: Mapping[str, int]) -> list[dict[Partition, Range]]:
    """Return the ranges to read, one after another; a small partition is one whole window."""
    found: list[dict[Partition, Range]] = [{} for _ in range(WINDOWS)]
    for where, (start, end) in logs.items():
        span, size = end - start, max(1, sizes[where[0]])
        if span <= 0:
            continue
        if span <= size:
            found[0][where] = Range(start, end, start, end)
            continue
        width = max(1, size // WINDOWS)
        for number in range(WINDOWS):
            begin = start + (span - width) * number // (WINDOWS - 1)
            found[number][where] = Range(begin, begin + width, start, end)
    return [each for each in found if each]


def _count(tally: _Tally, rows: Iterable[tuple[BatchHeader, list[Fields]]]) -> None:
    for header, fields in rows:
        tally.batches += 1
        tally.batch_records += header.record_count
        tally.codecs[header.codec.name.lower()] += len(fields)
        for _, _, key, value, _ in fields:
            tally.records += 1
            size = 0 if value is None else len(value)
            if value is None:
                tally.tombstones += 1
            else:
                tally.value_sizes.append(size)
            if key is None:
                tally.without_key += 1
            else:
                tally.keys[key] += 1
                tally.key_bytes[key] += size
                tally.key_sizes.append(len(key))


def _sample(topic: str, tally: _Tally, span: int) -> TopicSample:
    biggest = sorted(tally.keys, key=lambda key: (-tally.keys[key], -tally.key_bytes[key], key))[:_KEYS_SHOWN]
    return TopicSample(
        topic,
        tally.records,
        span,
        tally.without_key,
        tally.tombstones,
        len(tally.keys),
        estimate_distinct(tally.keys.values(), span - _scaled(tally.without_key, tally.records, span)),
        _sizes(tally.key_sizes),
        _sizes(tally.value_sizes),
        [KeyUse(key, tally.keys[key], tally.key_bytes[key]) for key in biggest],
        dict(tally.codecs),
        tally.batch_records / tally.batches if tally.batches else None,
    )


def estimate_distinct(counts: Iterable[int], total: int) -> int | None:
    """Return about how many distinct keys ``total`` records have of which a sample has ``counts`` of each key.

    The guaranteed-error estimator: keys seen once stand for the square root of how many times larger the whole is.
    Source: Charikar, Chaudhuri, Motwani, Narasayya, "Towards Estimation Error Guarantees for Distinct Values" (2000).
    """
    found = list(counts)
    if not found:
        return None
    sampled, once = sum(found), sum(1 for each in found if each == 1)
    return round(math.sqrt(max(1.0, total / sampled)) * once) + len(found) - once


def _scaled(part: int, whole: int, span: int) -> int:
    return span * part // whole if whole else 0


def _sizes(sizes: list[int]) -> Sizes | None:
    if not sizes:
        return None
    ordered = sorted(sizes)
    return Sizes(ordered[len(ordered) // 2], ordered[min(len(ordered) - 1, len(ordered) * 95 // 100)], ordered[-1])
