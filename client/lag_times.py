"""The timestamp of one record of each of many partitions: what makes lag a time that is exact.

One Fetch to each broker brings 17 KiB from the wanted offset of every partition, which nearly always hold the record.
Where they do not (the batch is compressed and larger, the record was compacted away, a transaction's marker stands
there) the partition is asked for again, in a few rounds at most. Nothing joins a group, nothing is committed.

Records that are only in tiered storage (KIP-405) are not read: that may be billed, and a board would do it every
second. The oldest record that the broker has itself stands for them: they are at least as old.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from klamm.client import offsets_wire
from klamm.client.cluster import Cluster
from klamm.client.errors import ClientError, ResponseError, UnsupportedApiError, unreadable
from klamm.client.offsets import Partition
from klamm.model.errors import CorruptMessageError, InvalidRecordError
from klamm.protocol.errors import ProtocolError
from klamm.protocol.fetch_client import FetchAnswer, FetchLimits
from klamm.records.batch import HEADER_SIZE, LOG_APPEND_TIME, BatchHeader, read_header
from klamm.records.compression import Codec, decompress

RECORD_SIZE_GUESS: Final = 17 * 1024
"""Bytes of each partition in the first round: a batch as producers make it unless told otherwise (16 KiB)."""
PARTITIONS_MAX: Final = 240
"""Of one request: 4 MiB together, as much as a klamm broker answers at once."""
BATCH_SIZE_MAX: Final = 1024 * 1024
"""A larger compressed batch is not fetched for one timestamp: its own first and last time bracket it closely."""
GROWTH: Final = 16
"""A broker that leaves out a batch it may not cut is asked for this much more."""
FETCH_SIZE_MAX: Final = 64 * 1024 * 1024
"""Of one partition; brokers send the first batch whole however large it is."""
ROUNDS_MAX: Final = 6
_NO_WAIT: Final = FetchLimits(0, 0, 16 * 1024 * 1024, committed_only=False)
_OFFSET_OUT_OF_RANGE: Final = 1

Place = tuple[str, int, int]
"""Topic, partition, offset."""


class RecordTime(NamedTuple):
    """When the first record at or after an offset was written.

    Attributes:
        offset: The record that was found; higher than asked for where that one is gone.
        timestamp_ms: Its timestamp; None where it has none, or where no record is left (``nothing_left``).
        source: "create" (the producer's clock) or "append" (the broker's).
        exact: Whether it is the record's own; otherwise it lies between its batch's first and last.
        nothing_left: Only transaction markers and gaps are left up to the end.
        log_start_offset: Where the log begins now; above the offset asked for, records have been lost.
        last_stable_offset: Where a reader of committed records ends now.
        high_watermark: Where the others end now.
        tiered: The record asked for is only in tiered storage and was not read; it is no younger than this.
    """

    offset: int
    timestamp_ms: int | None
    source: str | None
    exact: bool
    nothing_left: bool = False
    log_start_offset: int = -1
    last_stable_offset: int = -1
    high_watermark: int = -1
    tiered: bool = False


class _Found(NamedTuple):
    offset: int
    timestamp_ms: int
    source: str
    exact: bool


class _Fetched(NamedTuple):
    """What came for one partition: whole batches, and perhaps a piece of the next."""

    answer: FetchAnswer
    records: bytes


class _Wanted:
    """One partition on its way to a record."""

    def __init__(self, place: Place, local_start: int = 0) -> None:
        self.place = place
        self.offset = max(place[2], local_start)
        self.local_start = local_start
        self.size_max = RECORD_SIZE_GUESS
        self.log_start_offset = -1

    @property
    def partition(self) -> Partition:
        return self.place[:2]


async def record_times(
    cluster: Cluster, leaders: Mapping[Partition, int], places: Iterable[Place]
) -> tuple[dict[Place, RecordTime], dict[Place, ClientError]]:
    """Return the time of the record at each place, and errors. Two requests to each broker where all goes well.

    A request names a partition once, so places in one partition go in requests of their own, all sent at once.
    """
    placed = [place for place in dict.fromkeys(places) if leaders.get(place[:2], -1) >= 0]
    starts = await _local_starts(cluster, leaders, {place[:2] for place in placed})
    left = [_Wanted(place, starts.get(place[:2], 0)) for place in placed]
    found: dict[Place, RecordTime] = {}
    errors: dict[Place, ClientError] = {}

    async def send(_: int, request: tuple[int, dict[Partition, _Wanted]]) -> dict[Partition, _Fetched]:
        return await _fetch(cluster, *request)

    for _ in range(ROUNDS_MAX):
        if not left:
            break
        again: list[_Wanted] = []
        requests = _requests(leaders, left)

        keyed = dict(enumerate(requests))
        answers, failures = await cluster.per_broker(keyed, send)
        for number, error in failures.items():
            errors.update({each.place: error for each in keyed[number][1].values()})
        for number, answer in answers.items():
            for where, each in keyed[number][1].items():
                outcome = _outcome(each, answer.get(where))
                if isinstance(outcome, RecordTime):
                    found[each.place] = outcome
                elif isinstance(outcome, ClientError):
                    errors[each.place] = outcome
                else:
                    again.append(each)
        left = again
    return found, errors


async def _local_starts(
    cluster: Cluster, leaders: Mapping[Partition, int], partitions: Iterable[Partition]
) -> dict[Partition, int]:
    """Return where the part of each log begins that its leader keeps itself, where it says so. One request to each.

    A broker that does not know the question has no tiered storage; one that does not answer fails at what follows.
    """
    by_leader: dict[int, dict[str, list[int]]] = {}
    for topic, index in sorted(partitions):
        by_leader.setdefault(leaders[topic, index], {}).setdefault(topic, []).append(index)

    async def send(leader: int, topics: dict[str, list[int]]) -> list[offsets_wire.ListedOffset]:
        try:
            version, frame = await cluster.ask_encoded(
                offsets_wire.LIST_OFFSETS,
                offsets_wire.LOCAL_VERSIONS,
                lambda version, number, client: offsets_wire.encode_local_starts(version, number, client, topics),
                leader,
            )
        except UnsupportedApiError:
            return []
        try:
            return offsets_wire.decode_local_starts(frame, version)
        except ProtocolError as error:
            raise unreadable(leader, error) from error

    answers, _ = await cluster.per_broker(by_leader, send)
    return {
        (each.topic, each.partition): each.offset
        for answer in answers.values()
        for each in answer
        if not each.error_code and each.offset >= 0
    }


def _requests(leaders: Mapping[Partition, int], left: Iterable[_Wanted]) -> list[tuple[int, dict[Partition, _Wanted]]]:
    """Return (broker, partitions) of each request; those that got nothing last time come first and so get it."""
    requests: list[tuple[int, dict[Partition, _Wanted]]] = []
    by_broker: dict[int, list[dict[Partition, _Wanted]]] = {}
    for each in sorted(left, key=lambda wanted: -wanted.size_max):
        broker = leaders[each.partition]
        filled = by_broker.setdefault(broker, [])
        fits = (part for part in filled if each.partition not in part and len(part) < PARTITIONS_MAX)
        target = next(fits, None)
        if target is None:
            target = {}
            filled.append(target)
            requests.append((broker, target))
        target[each.partition] = each
    return requests


async def _fetch(cluster: Cluster, broker: int, wanted: Mapping[Partition, _Wanted]) -> dict[Partition, _Fetched]:
    offsets: dict[str, list[tuple[int, int, int]]] = {}
    for (topic, index), each in wanted.items():
        offsets.setdefault(topic, []).append((index, each.offset, each.size_max))
    error_code, answers, frame = await cluster.fetch(broker, offsets, _NO_WAIT)
    if error_code:
        raise ResponseError(error_code, None, name=f"Fetch from broker {broker}")
    return {
        (answer.topic, answer.partition): _Fetched(answer, bytes(frame[answer.start : answer.end]))
        for answer in answers
    }


def _outcome(wanted: _Wanted, came: _Fetched | None) -> RecordTime | ClientError | None:
    """Return what is known now; None if another round may tell, and ``wanted`` says what to ask for."""
    topic, partition, _ = wanted.place
    if came is None:
        return ResponseError(-1, "the broker's answer leaves it out", name=f"{topic}:{partition}")
    fetched = came.answer
    if fetched.error_code == _OFFSET_OUT_OF_RANGE and 0 <= wanted.offset < fetched.log_start_offset:
        wanted.log_start_offset = wanted.offset = fetched.log_start_offset
        return None
    if fetched.error_code:
        return ResponseError(fetched.error_code, None, name=f"{topic}:{partition}")
    try:
        result = find_time(came.records, wanted.offset)
    except (CorruptMessageError, InvalidRecordError) as error:
        return ClientError("CORRUPT_MESSAGE", f"{topic}:{partition}@{wanted.offset}: {error}")
    limits = (
        max(fetched.log_start_offset, wanted.log_start_offset),
        fetched.last_stable_offset,
        fetched.high_watermark,
    )
    tiered = limits[0] < wanted.local_start > wanted.place[2]
    if isinstance(result, _Found):
        time_ms = None if result.timestamp_ms < 0 else result.timestamp_ms
        exact = result.exact and not tiered
        return RecordTime(result.offset, time_ms, result.source, exact, False, *limits, tiered)  # noqa: FBT003 (a field)
    next_offset, size = result
    if next_offset >= fetched.high_watermark:
        return RecordTime(next_offset, None, None, not tiered, not tiered, *limits, tiered)
    grown = RECORD_SIZE_GUESS if next_offset != wanted.offset else wanted.size_max * GROWTH
    wanted.offset, wanted.size_max = next_offset, min(max(size, grown), FETCH_SIZE_MAX)
    return None


def find_time(data: bytes, offset: int) -> _Found | tuple[int, int]:
    """Return the time of the first record at or after ``offset`` in fetched bytes, whose last batch may be cut off.

    Returns:
        What was found, or (the offset to ask for, bytes to ask for) where it takes more.

    Raises:
        CorruptMessageError: These are no record batches.
        InvalidRecordError: These are messages from before record batches, which carry no time we could trust.
    """
    position = 0
    while position + HEADER_SIZE <= len(data):
        header = read_header(data, position)
        size = header.size
        if size < HEADER_SIZE:
            msg = f"a batch of {size} bytes"
            raise CorruptMessageError(msg)
        if header.last_offset < offset or header.is_control:
            offset = max(offset, header.last_offset + 1)
        elif header.timestamp_type == LOG_APPEND_TIME:
            return _Found(max(offset, header.base_offset), header.max_timestamp, "append", exact=True)
        else:
            result = _record_in(data[position + HEADER_SIZE : position + size], header, offset)
            if result == "incomplete":
                if header.codec is not Codec.NONE and size > BATCH_SIZE_MAX:
                    return _between(header, offset)
                return offset, size
            if result is not None:
                assert not isinstance(result, str), result
                return _Found(*result, "create", exact=True)
            offset = header.last_offset + 1  # compaction took the records at the end of the batch
        position += size
    return offset, 0


def _between(header: BatchHeader, offset: int) -> _Found:
    """Interpolate in a batch of which only the header is there."""
    part = (max(offset, header.base_offset) - header.base_offset) / max(1, header.last_offset_delta)
    time_ms = header.base_timestamp + int(part * (header.max_timestamp - header.base_timestamp))
    return _Found(offset, time_ms, "create", exact=False)


def _record_in(records: bytes, header: BatchHeader, offset: int) -> tuple[int, int] | str | None:
    """Return (offset, timestamp) of the first record at or after ``offset``; None if there is none in the batch.

    "incomplete" means that more bytes are needed.
    """
    complete = len(records) == header.size - HEADER_SIZE
    if header.codec is not Codec.NONE:
        if not complete:
            return "incomplete"
        records = bytes(decompress(header.codec, records))
    position = 0
    try:
        for _ in range(header.record_count):
            length, position = _varint(records, position)
            time_delta, after = _varint(records, position + 1)  # + 1: attributes
            offset_delta, _ = _varint(records, after)
            if header.base_offset + offset_delta >= offset:
                return header.base_offset + offset_delta, header.base_timestamp + time_delta
            position += max(length, 1)
    except IndexError:
        if not complete:
            return "incomplete"
        msg = f"the batch at {header.base_offset} ends inside a record"
        raise InvalidRecordError(msg) from None
    return None


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 (the last byte of a varint)
            return (value >> 1) ^ -(value & 1), position
        shift += 7
        if shift > 63:  # noqa: PLR2004 (a varint of 64 bits has ten bytes)
            msg = "a varint of more than ten bytes"
            raise InvalidRecordError(msg)
