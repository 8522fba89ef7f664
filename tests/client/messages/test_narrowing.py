"""Of a batch with hits only the records that may match are decoded: none that matches is lost, damage is told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from klamm.client.messages.any_case import AnyCase
from klamm.client.messages.narrowing import decode_hits
from klamm.client.messages.needles import Clause
from klamm.client.messages.record import Fields, decode_fields, end_of_record
from klamm.model.errors import CorruptMessageError
from klamm.records.batch import HEADER_SIZE, BatchHeader, read_header
from klamm.records.record import Record, build_batch

NEEDLE = b"needle"


def batch_of(values: list[bytes]) -> tuple[BatchHeader, bytes]:
    records = [Record(number, 7, b"k", value, ((b"h", value[:3]),)) for number, value in enumerate(values)]
    batch = bytes(build_batch(records))
    return read_header(batch), batch[HEADER_SIZE:]


def holding(rows: list[Fields], text: bytes) -> list[Fields]:
    return [fields for fields in rows if text in (fields[3] or b"")]


@given(st.lists(st.sampled_from([b"", b"need", b"needle", b"a needle in it", b"x" * 200, b"NEEDLE"]), min_size=1))
def test_whatever_holds_a_needle_is_decoded_as_it_is_when_all_are(values: list[bytes]) -> None:
    header, plain = batch_of(values)
    everything = decode_fields(header, plain)
    clause: Clause
    for clause in ((NEEDLE,), (b"none", NEEDLE)):
        found = decode_hits(header, plain, clause)
        assert holding(found, NEEDLE) == holding(everything, NEEDLE)
        assert [fields for fields in everything if fields in found] == found
    either = decode_hits(header, plain, (AnyCase(NEEDLE),))
    assert holding(either, b"NEEDLE") == holding(everything, b"NEEDLE")


def test_one_hit_among_many_decodes_one_record() -> None:
    header, plain = batch_of([b"x" * (number % 300) for number in range(500)] + [NEEDLE] + [b"y"] * 500)
    assert [fields[0] for fields in decode_hits(header, plain, (NEEDLE,))] == [500]
    assert decode_hits(header, plain, (b"none",)) == []


def test_where_most_records_hold_one_all_are_decoded() -> None:
    header, plain = batch_of([NEEDLE] * 40 + [b"x"] * 3)
    assert len(decode_hits(header, plain, (NEEDLE,))) == 43


@pytest.mark.parametrize("number", [0, 3])
@pytest.mark.parametrize("bad", [b"\x00", b"\x01", b"\xff" * 11, b"\xfe\x7f"])
def test_sizes_that_lead_nowhere_are_corrupt(number: int, bad: bytes) -> None:
    header, plain = batch_of([b"x" * 20] * 5 + [NEEDLE])
    place = 0
    for _ in range(number):
        place = end_of_record(header, plain, place)
    damaged = plain[:place] + bad + plain[place + len(bad) :]
    with pytest.raises(CorruptMessageError):
        decode_hits(header, damaged, (NEEDLE,))


def test_bytes_behind_the_last_record_that_hold_a_needle_are_corrupt() -> None:
    header, plain = batch_of([b"x" * 20] * 5 + [NEEDLE])
    with pytest.raises(CorruptMessageError):
        decode_hits(header._replace(record_count=2), plain, (NEEDLE,))
