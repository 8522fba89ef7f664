"""Records, compression, and what a topic's config makes of a batch."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import cramjam
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from klamm.model.errors import CorruptMessageError, InvalidRecordError, KafkaError
from klamm.records.batch import HEADER_SIZE, check_batch, check_produced_batch, read_header, write_crc
from klamm.records.compression import Codec, compress, decompress
from klamm.records.record import (
    Record,
    build_batch,
    build_batch_of_pairs,
    decode_pairs,
    decode_record_from,
    decode_records,
    decode_records_at,
    encode_records,
)
from klamm.records.rewrite import check_keys, recompressed

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.batch"))
COMPRESSING = [Codec.GZIP, Codec.SNAPPY, Codec.LZ4, Codec.ZSTD]

nullable_bytes = st.none() | st.binary(max_size=40)
headers = st.lists(st.tuples(st.binary(max_size=8), nullable_bytes), max_size=3).map(tuple)
contents = st.lists(
    st.tuples(st.integers(-(2**62), 2**62), nullable_bytes, nullable_bytes, headers), min_size=1, max_size=20
)


def golden_batch(path: Path) -> bytes:
    return bytes.fromhex("".join(line for line in path.read_text().splitlines() if not line.startswith("#")))


@settings(deadline=None)
@given(contents, st.integers(0, 2**62), st.sampled_from(Codec))
def test_records_come_out_as_they_went_in(
    given_contents: list[tuple[int, bytes | None, bytes | None, tuple[tuple[bytes, bytes | None], ...]]],
    base_offset: int,
    codec: Codec,
) -> None:
    records = [Record(base_offset + at, *content) for at, content in enumerate(given_contents)]
    batch = build_batch(records, codec=codec)
    assert check_batch(batch).codec is codec
    assert decode_records(batch) == records


@settings(deadline=None)
@given(contents, st.sampled_from(Codec), st.data())
def test_the_pairs_of_a_batch_are_those_of_its_records_broken_or_not(
    given_contents: list[tuple[int, bytes | None, bytes | None, tuple[tuple[bytes, bytes | None], ...]]],
    codec: Codec,
    data: st.DataObject,
) -> None:
    batch = build_batch([Record(at, *content) for at, content in enumerate(given_contents)], codec=codec)
    if data.draw(st.booleans()):
        batch[data.draw(st.integers(HEADER_SIZE, len(batch) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        records = decode_records(batch)
    except KafkaError as refused:
        with pytest.raises(type(refused)):
            decode_pairs(batch)
    else:
        assert decode_pairs(batch) == [(one.key, one.value) for one in records]


@given(
    st.lists(st.tuples(st.binary(max_size=300), st.none() | st.binary(max_size=9000)), min_size=1, max_size=20),
    st.integers(0, 2**62),
)
def test_a_batch_of_pairs_is_the_batch_of_records_that_have_nothing_else(
    pairs: list[tuple[bytes, bytes | None]], timestamp_ms: int
) -> None:
    records = [Record(at, timestamp_ms, key, value) for at, (key, value) in enumerate(pairs)]
    assert build_batch_of_pairs(pairs, timestamp_ms) == build_batch(records, base_offset=0)


@settings(deadline=None)
@given(contents, st.data())
def test_the_records_that_hold_some_positions_are_those_of_the_whole_batch(
    given_contents: list[tuple[int, bytes | None, bytes | None, tuple[tuple[bytes, bytes | None], ...]]],
    data: st.DataObject,
) -> None:
    records = [Record(7 + at, *content) for at, content in enumerate(given_contents)]
    batch = build_batch(records)
    plain = memoryview(batch)[HEADER_SIZE:]
    positions = sorted(data.draw(st.lists(st.integers(0, len(plain) - 1), max_size=5)))
    ends = [len(encode_records(records[: at + 1], 7, records[0].timestamp_ms)) for at in range(len(records))]
    expected = sorted({next(at for at, end in enumerate(ends) if position < end) for position in positions})
    assert decode_records_at(read_header(batch), plain, positions) == [records[at] for at in expected]
    with pytest.raises(InvalidRecordError):
        decode_records_at(read_header(batch), plain, [len(plain)])


@settings(deadline=None)
@given(contents, st.sets(st.integers(0, 40)), st.integers(-2, 45), st.sampled_from(Codec))
def test_the_first_record_from_an_offset_on_is_that_of_the_whole_batch(
    given_contents: list[tuple[int, bytes | None, bytes | None, tuple[tuple[bytes, bytes | None], ...]]],
    kept: set[int],
    from_offset: int,
    codec: Codec,
) -> None:
    """Also where compaction took records away, in front, between and behind."""
    records = [Record(7 + at, *content) for at, content in enumerate(given_contents) if at in kept or at == 0]
    batch = build_batch(records, base_offset=7, codec=codec)
    expected = next((record for record in records if record.offset >= from_offset), None)
    assert decode_record_from(batch, 0, from_offset) == expected


@settings(deadline=None)
@given(st.binary(max_size=60), st.integers(0, 70))
def test_no_bytes_do_more_than_be_refused_where_some_records_are_decoded(plain: bytes, position: int) -> None:
    header = read_header(build_batch([Record(0, 0, None, b"v")]))
    with suppress(InvalidRecordError):
        decode_records_at(header, memoryview(plain), [position])


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_batches_of_real_clients_are_read(path: Path) -> None:
    batch = golden_batch(path)
    assert check_produced_batch(batch).codec.name.lower() == path.stem.rsplit("-", 1)[1]
    for at, record in enumerate(decode_records(batch)):
        assert record.offset == at
        assert record.key == (None if at == 3 else b"key-%d" % at)
        assert record.value == (None if at == 4 else b"value %d " % at + b"x" * (50 * at))
        assert record.headers == ((b"number", b"%d" % at),)


def test_there_are_golden_batches_of_four_clients_in_every_codec() -> None:
    assert len(GOLDEN) == 4 * len(Codec)


@pytest.mark.parametrize("path", [path for path in GOLDEN if path.stem.endswith("-none")], ids=lambda path: path.stem)
def test_a_batch_built_of_a_client_s_records_has_the_client_s_bytes(path: Path) -> None:
    batch = golden_batch(path)
    header = check_batch(batch)
    built = build_batch(
        decode_records(batch),
        leader_epoch=header.leader_epoch,
        producer_id=header.producer_id,
        producer_epoch=header.producer_epoch,
        base_sequence=header.base_sequence,
    )
    assert built == batch


@pytest.mark.parametrize("codec", COMPRESSING)
@pytest.mark.parametrize("size", [0, 1, 32_768, 65_536, 65_537, 300_000])
def test_what_is_compressed_comes_back(codec: Codec, size: int) -> None:
    plain = bytes(at * at % 251 for at in range(size))
    assert bytes(decompress(codec, compress(codec, plain))) == plain


@pytest.mark.parametrize("codec", COMPRESSING)
def test_a_few_bytes_that_stand_for_many_are_refused(codec: Codec) -> None:
    bomb = compress(codec, bytes(2_000_000))
    with pytest.raises(CorruptMessageError, match="more than 1000000 bytes"):
        decompress(codec, bomb, size_max=1_000_000)
    assert len(decompress(codec, bomb, size_max=2_000_000)) == 2_000_000


def test_gzip_members_count_together_against_the_limit() -> None:
    member = compress(Codec.GZIP, bytes(600_000))
    assert len(decompress(Codec.GZIP, member + member)) == 1_200_000
    with pytest.raises(CorruptMessageError, match="more than"):
        decompress(Codec.GZIP, member + member, size_max=1_000_000)


def test_snappy_is_read_in_either_framing() -> None:
    plain = b"abc" * 1000
    assert decompress(Codec.SNAPPY, bytes(cramjam.snappy.compress_raw(plain))) == plain
    assert compress(Codec.SNAPPY, plain)[:8] == b"\x82SNAPPY\x00"


def test_lz4_blocks_are_independent_since_java_reads_no_others() -> None:
    assert compress(Codec.LZ4, b"a" * 200_000)[4] & 0x20


@settings(deadline=None)
@given(st.binary(max_size=300), st.sampled_from(COMPRESSING), st.booleans())
def test_any_bytes_decompress_or_are_corrupt(raw: bytes, codec: Codec, mutated: bool) -> None:  # noqa: FBT001
    if mutated:
        valid = bytearray(compress(codec, b"some records " * 20))
        for at, byte in enumerate(raw[:3]):
            valid[(byte * 7 + at) % len(valid)] ^= byte
        raw = bytes(valid)
    with suppress(CorruptMessageError):
        decompress(codec, raw, size_max=1_000_000)


@settings(deadline=None)
@given(st.data())
def test_records_that_are_not_what_the_header_says_are_refused(data: st.DataObject) -> None:
    batch = build_batch([Record(at, 0, b"k", b"v", ((b"h", b"x"),)) for at in range(3)])
    position = data.draw(st.integers(HEADER_SIZE, len(batch) - 1))
    batch[position] ^= data.draw(st.integers(1, 255))
    write_crc(batch, len(batch))
    try:
        records = decode_records(batch)
    except InvalidRecordError:
        return
    assert len(records) == 3


def test_a_record_count_that_the_batch_cannot_hold_is_refused_before_it_is_believed() -> None:
    batch = build_batch([Record(0, 0, None, b"v")])
    batch[57:61] = b"\x7f\xff\xff\xff"
    with pytest.raises(InvalidRecordError, match="record_count=2147483647"):
        decode_records(batch)


def test_a_compacted_topic_refuses_a_record_without_a_key() -> None:
    check_keys(memoryview(build_batch([Record(0, 0, b"", None)])), "t-0")
    batch = build_batch([Record(0, 0, b"k", b"v"), Record(1, 0, None, b"v")])
    with pytest.raises(InvalidRecordError, match="1 record errors in total") as refused:
        check_keys(memoryview(batch), "t-0")
    assert [position for position, _ in refused.value.record_errors] == [1]


@pytest.mark.parametrize("before", Codec)
@pytest.mark.parametrize("after", Codec)
def test_another_codec_changes_the_bytes_and_not_the_records(before: Codec, after: Codec) -> None:
    records = [Record(at, at, b"k", b"v" * 50) for at in range(5)]
    batch = memoryview(build_batch(records, codec=before, producer_id=5, producer_epoch=0, base_sequence=9))
    rewritten = recompressed(batch, after)
    assert check_produced_batch(rewritten).codec is after
    assert decode_records(rewritten) == records
    assert check_batch(rewritten)[7:] == check_batch(batch)[7:]


def test_compressed_records_that_are_garbage_are_refused() -> None:
    batch = build_batch([Record(0, 0, b"k", b"v")], codec=Codec.ZSTD)
    batch[HEADER_SIZE:] = b"\x00" * (len(batch) - HEADER_SIZE)
    with pytest.raises(KafkaError):
        decode_records(batch)


def test_the_config_s_word_for_no_compression_is_known() -> None:
    assert Codec["UNCOMPRESSED"] is Codec.NONE
