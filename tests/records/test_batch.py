"""The header of a record batch: what is read, what is refused, and what a broker may change in place."""

from __future__ import annotations

import struct
import zlib
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from klamm.model.errors import CorruptMessageError, ErrorCode, InvalidRecordError, KafkaError
from klamm.records.batch import (
    CONTROL_FLAG,
    HEADER_SIZE,
    LOG_APPEND_TIME,
    BatchHeader,
    check_batch,
    check_produced_batch,
    iter_batches,
    patch,
    read_header,
    set_log_append_time,
    write_crc,
)
from klamm.records.compaction import emptied
from klamm.records.compression import Codec
from klamm.records.record import Record, build_batch, decode_records


def one_batch(count: int = 3, codec: Codec = Codec.NONE) -> bytearray:
    return build_batch([Record(10 + at, 1000 + at, b"key", b"value" * at) for at in range(count)], codec=codec)


def changed(position: int, replacement: bytes, *, with_crc: bool) -> bytearray:
    batch = one_batch()
    batch[position : position + len(replacement)] = replacement
    if with_crc:
        write_crc(batch, len(batch))
    return batch


def message_set(magic: int) -> bytes:
    timestamp = struct.pack(">q", 1) if magic else b""
    body = bytes([magic, 0]) + timestamp + struct.pack(">i", -1) + struct.pack(">i", 3) + b"abc"
    message = struct.pack(">I", zlib.crc32(body)) + body
    return struct.pack(">qi", 0, len(message)) + message


def refused_with(batch: bytes | bytearray, base_offset: int = 0) -> int:
    try:
        check_produced_batch(memoryview(struct.pack(">q", base_offset)[: len(batch)] + batch[8:]))
    except KafkaError as error:
        return error.error_code
    return 0


def test_the_header_of_a_batch_says_what_it_was_built_of() -> None:
    batch = build_batch(
        [Record(10, 1000, None, b"a"), Record(11, 1500, None, b"b")],
        leader_epoch=4,
        codec=Codec.ZSTD,
        producer_id=77,
        producer_epoch=2,
        base_sequence=5,
        is_transactional=True,
    )
    header = check_batch(batch)
    assert (header.base_offset, header.last_offset, header.leader_epoch) == (10, 11, 4)
    assert (header.base_timestamp, header.max_timestamp) == (1000, 1500)
    assert (header.producer_id, header.producer_epoch, header.base_sequence) == (77, 2, 5)
    assert header.size == len(batch)
    assert header.codec is Codec.ZSTD
    assert header.is_transactional
    assert not header.is_control


@pytest.mark.parametrize("flipped", range(16, 70))
def test_a_flipped_bit_under_the_crc_or_in_it_is_found(flipped: int) -> None:
    batch = one_batch()
    batch[flipped] ^= 0x10
    with pytest.raises(KafkaError):
        check_batch(batch)


# What Apache Kafka 4.3.1 answered to the same bytes in a Produce request of version 9, asked on 2026-11-23.
@pytest.mark.parametrize(
    ("batch", "code"),
    [
        (message_set(0), ErrorCode.INVALID_RECORD),
        (message_set(1), ErrorCode.INVALID_RECORD),
        (b"", ErrorCode.INVALID_RECORD),
        (b"abcde", ErrorCode.INVALID_RECORD),
        (one_batch() + one_batch(), ErrorCode.INVALID_RECORD),
        (one_batch()[:40], ErrorCode.INVALID_RECORD),
        (one_batch()[:-2], ErrorCode.INVALID_RECORD),
        (changed(8, b"\x7f\x00\x00\x00", with_crc=False), ErrorCode.INVALID_RECORD),
        (changed(8, b"\x00\x00\x00\x05", with_crc=False), ErrorCode.CORRUPT_MESSAGE),
        (changed(16, b"\x03", with_crc=False), ErrorCode.CORRUPT_MESSAGE),
        (changed(30, b"\x55", with_crc=False), ErrorCode.CORRUPT_MESSAGE),
        (changed(57, b"\x00\x00\x00\x02", with_crc=True), ErrorCode.INVALID_RECORD),
        (changed(57, b"\x00\x00\x00\x00", with_crc=True), ErrorCode.INVALID_RECORD),
        (changed(23, b"\x00\x00\x00\x05", with_crc=True), ErrorCode.INVALID_RECORD),
        (changed(21, bytes([0, CONTROL_FLAG]), with_crc=True), ErrorCode.INVALID_RECORD),
        (bytes(17), ErrorCode.CORRUPT_MESSAGE),
        (one_batch() + bytes(40), ErrorCode.CORRUPT_MESSAGE),
        (one_batch() + b"abc", ErrorCode.NONE),
        (one_batch() + one_batch()[:30], ErrorCode.NONE),
    ],
)
def test_a_produced_batch_is_refused_with_the_code_that_kafka_gives(batch: bytes, code: ErrorCode) -> None:
    assert refused_with(batch) == code


@pytest.mark.parametrize("codec", Codec)
def test_a_produced_batch_that_does_not_begin_at_offset_0_is_refused(codec: Codec) -> None:
    assert refused_with(one_batch(codec=codec)) == ErrorCode.NONE
    assert refused_with(one_batch(codec=codec), base_offset=10) == ErrorCode.INVALID_RECORD
    assert refused_with(one_batch(codec=codec), base_offset=-1) == ErrorCode.INVALID_RECORD


def test_more_records_than_the_bytes_can_hold_are_refused_when_produced() -> None:
    batch = bytearray(one_batch())
    count = (len(batch) - HEADER_SIZE) // 7 + 1
    struct.pack_into(">i", batch, 23, count - 1)
    struct.pack_into(">i", batch, 57, count)
    write_crc(batch, len(batch))
    assert refused_with(batch) == ErrorCode.INVALID_RECORD


@pytest.mark.parametrize("codec", Codec)
def test_a_header_alone_is_refused_when_produced(codec: Codec) -> None:
    batch = one_batch(codec=codec)[:HEADER_SIZE]
    struct.pack_into(">i", batch, 8, HEADER_SIZE - 12)
    write_crc(batch, len(batch))
    assert refused_with(batch) == ErrorCode.INVALID_RECORD


def test_a_codec_that_does_not_exist_is_refused_when_produced() -> None:
    assert refused_with(changed(21, b"\x00\x05", with_crc=True)) == ErrorCode.UNSUPPORTED_COMPRESSION_TYPE


def test_a_header_needs_only_its_own_bytes() -> None:
    batch = one_batch()
    assert read_header(batch[:HEADER_SIZE]) == read_header(batch)
    with pytest.raises(CorruptMessageError):
        read_header(batch[: HEADER_SIZE - 1])


def test_base_offset_and_leader_epoch_are_patched_outside_the_crc() -> None:
    frame = bytearray(b"....") + one_batch()
    patch(memoryview(frame), 1 << 40, 9, position=4)
    header = check_batch(frame, 4)
    assert (header.base_offset, header.leader_epoch) == (1 << 40, 9)


def test_log_append_time_is_every_record_s_time_and_the_crc_is_right() -> None:
    batch = one_batch(codec=Codec.GZIP)
    set_log_append_time(memoryview(batch), 5_000)
    header = check_batch(batch)
    assert header.timestamp_type == LOG_APPEND_TIME
    assert header.codec is Codec.GZIP
    assert {record.timestamp_ms for record in decode_records(batch)} == {5_000}


def test_batches_are_walked_up_to_the_last_whole_one() -> None:
    first, second = one_batch(1), one_batch(2)
    found = list(iter_batches(first + second + one_batch()[:-1]))
    assert [position for position, _ in found] == [0, len(first)]
    assert [header.record_count for _, header in found] == [1, 2]


def test_a_length_that_cannot_be_stops_the_walk() -> None:
    with pytest.raises(CorruptMessageError):
        list(iter_batches(changed(8, b"\x00\x00\x00\x00", with_crc=False)))


def all_headers(view: memoryview) -> list[tuple[int, BatchHeader]]:
    return list(iter_batches(view))


@settings(deadline=None)
@given(st.binary(max_size=200), st.integers(0, 80))
def test_any_bytes_are_a_batch_or_a_kafka_error(raw: bytes, cut: int) -> None:
    mixed = memoryview(bytes(one_batch()[:cut]) + raw)
    for check in (check_batch, check_produced_batch, read_header, decode_records, all_headers):
        with suppress(KafkaError):
            check(mixed)


def test_a_batch_without_a_key_is_told_from_an_empty_key() -> None:
    batch = build_batch([Record(0, 0, None, None), Record(1, 0, b"", b"")])
    assert [(record.key, record.value) for record in decode_records(batch)] == [(None, None), (b"", b"")]


def test_a_gap_in_the_offsets_is_not_a_produced_batch() -> None:
    with pytest.raises(InvalidRecordError):
        check_batch(build_batch([Record(0, 0, None, b"a"), Record(5, 0, None, b"b")]))


def test_a_leader_may_send_what_it_has_compacted() -> None:
    batch = build_batch([Record(0, 0, None, b"a"), Record(5, 0, None, b"b")])
    assert check_batch(batch, compacted=True).record_count == 2
    with pytest.raises(InvalidRecordError):
        check_batch(emptied(read_header(batch)))
    assert check_batch(emptied(read_header(batch)), compacted=True).last_offset == 5
