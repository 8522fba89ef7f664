"""The fast decoder against the careful one, and against bytes that are wrong."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from klamm.client.messages.record import decode_batch, decode_columns, decode_fields, decode_values
from klamm.model.errors import CorruptMessageError
from klamm.records.batch import HEADER_SIZE, BatchHeader, read_header
from klamm.records.record import Record, build_batch, decode_records

_BYTES = st.none() | st.binary(max_size=200)
_RECORDS = st.lists(
    st.tuples(
        st.integers(0, 1 << 42),
        _BYTES,
        _BYTES,
        st.lists(st.tuples(st.binary(max_size=20), _BYTES), max_size=4),
        st.integers(1, 200),
    ),
    min_size=1,
    max_size=20,
)


def _batch(rows: list[tuple[int, bytes | None, bytes | None, list[tuple[bytes, bytes | None]], int]]) -> bytes:
    records: list[Record] = []
    offset = 1000
    for timestamp, key, value, headers, step in rows:
        records.append(Record(offset, timestamp, key, value, tuple(headers)))
        offset += step
    return bytes(build_batch(records, leader_epoch=3, producer_id=9))


@settings(deadline=None)  # a loaded machine is not slow code
@given(_RECORDS)
def test_the_fast_decoder_finds_what_the_careful_one_finds(
    rows: list[tuple[int, bytes | None, bytes | None, list[tuple[bytes, bytes | None]], int]],
) -> None:
    batch = _batch(rows)
    header = read_header(batch)
    careful = decode_records(batch)
    fast = decode_batch("t", 7, header, batch[HEADER_SIZE:])

    def raw(name: str) -> bytes:
        return name.encode("utf-8", "surrogateescape")

    shown = [Record(r.offset, r.timestamp_ms, r.key, r.value, tuple((raw(n), v) for n, v in r.headers)) for r in fast]
    assert shown == careful
    assert {(r.topic, r.partition, r.leader_epoch, r.producer_id, r.timestamp_type) for r in fast} == {
        ("t", 7, 3, 9, "create")
    }
    assert decode_values(header, batch[HEADER_SIZE:]) == [record.value or b"" for record in careful]
    columns = decode_columns(header, batch[HEADER_SIZE:])
    assert list(zip(*columns, strict=True)) == [(record.offset, record.key, record.value) for record in careful]


def _column_of_values(header: BatchHeader, plain: bytes) -> list[bytes | None]:
    return decode_columns(header, plain).values


@settings(deadline=None)  # a loaded machine is not slow code
@given(_RECORDS, st.integers(0, 5000), st.integers(0, 255))
def test_a_changed_byte_is_noticed_or_harmless_and_never_anything_else(
    rows: list[tuple[int, bytes | None, bytes | None, list[tuple[bytes, bytes | None]], int]], place: int, byte: int
) -> None:
    batch = bytearray(_batch(rows))
    header = read_header(batch)
    plain = batch[HEADER_SIZE:]
    plain[place % len(plain)] = byte
    for decode in (decode_fields, decode_values, _column_of_values):
        try:
            assert len(decode(header, bytes(plain))) == header.record_count
        except CorruptMessageError:
            continue


def test_a_record_count_that_cannot_be_is_refused_before_anything_is_made_of_it() -> None:
    batch = _batch([(0, b"k", b"v", [], 1)])
    header = read_header(batch)._replace(record_count=1 << 30)
    with pytest.raises(CorruptMessageError):
        decode_fields(header, batch[HEADER_SIZE:])
    with pytest.raises(CorruptMessageError):
        decode_values(header, batch[HEADER_SIZE:])
    with pytest.raises(CorruptMessageError):
        decode_columns(header, batch[HEADER_SIZE:])


def test_with_append_time_every_record_has_the_time_of_the_batch() -> None:
    batch = bytes(build_batch([Record(0, 5, None, b"v"), Record(1, 9, None, b"v")], log_append_time_ms=77))
    found = decode_batch("t", 0, read_header(batch), batch[HEADER_SIZE:])
    assert [(record.timestamp_ms, record.timestamp_type) for record in found] == [(77, "append"), (77, "append")]
