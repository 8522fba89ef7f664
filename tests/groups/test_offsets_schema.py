"""The records of ``__consumer_offsets``: Apache Kafka's bytes, read and written again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from klamm.model.errors import CorruptMessageError
from klamm.model.ids import NO_TOPIC_ID, TopicId
from klamm.records.offsets_schema import (
    KINDS,
    ConsumerGroupMetadataValue,
    GroupMetadataValue,
    OffsetCommitKey,
    OffsetCommitValue,
    decode_record,
    encode_key,
    encode_value,
)
from klamm.records.schema_codec import decode_kind

GOLDEN = json.loads((Path(__file__).parent / "golden" / "consumer_offsets.json").read_text())["records"]


def named(record: dict[str, Any]) -> str:
    return f"{record['kind']}-{record['version']}"


@pytest.mark.parametrize("golden", GOLDEN, ids=named)
def test_a_record_of_apache_kafka_is_written_again_byte_for_byte(golden: dict[str, Any]) -> None:
    key = bytes.fromhex(golden["key"])
    value = None if golden["value"] is None else bytes.fromhex(golden["value"])
    record = decode_record(key, value)
    assert record is not None
    assert encode_key(record.key) == key
    assert value == (None if record.value is None else encode_value(record.value))


@pytest.mark.parametrize("golden", [one for one in GOLDEN if one["value"] is not None], ids=named)
def test_a_record_cut_anywhere_is_corrupt_or_shorter_never_a_crash(golden: dict[str, Any]) -> None:
    key, value = bytes.fromhex(golden["key"]), bytes.fromhex(golden["value"])
    for end in range(len(value)):
        try:
            decode_record(key, value[:end])
        except CorruptMessageError:
            continue
        pytest.fail(f"{value[:end]!r} was read")
    for end in range(len(key)):
        try:
            assert decode_record(key[:end], value) is None
        except CorruptMessageError:
            continue


@given(key=st.binary(max_size=60), value=st.none() | st.binary(max_size=200))
def test_any_bytes_are_a_record_or_corrupt(key: bytes, value: bytes | None) -> None:
    try:
        decode_record(key, value)
    except CorruptMessageError:
        return


@given(
    offset=st.integers(0, 2**63 - 1),
    epoch=st.integers(-1, 2**31 - 1),
    metadata=st.text(max_size=40),
    expiry=st.integers(-1, 2**60),
    topic_id=st.just(NO_TOPIC_ID) | st.uuids().map(TopicId),
)
def test_a_commit_survives_its_bytes(offset: int, epoch: int, metadata: str, expiry: int, topic_id: TopicId) -> None:
    value = OffsetCommitValue(offset, epoch, metadata, 5, expiry, NO_TOPIC_ID if expiry >= 0 else topic_id)
    record = decode_record(encode_key(OffsetCommitKey("gruppe-ü", "t", 3)), encode_value(value))
    assert record is not None
    kept = value if expiry < 0 else value._replace(leader_epoch=-1)  # version 1 has no room for the epoch
    assert record == (OffsetCommitKey("gruppe-ü", "t", 3), kept)


@pytest.mark.parametrize("metadata", ["", "m", "x" * 126, "x" * 127, "x" * 4096])
@pytest.mark.parametrize("topic_id", [NO_TOPIC_ID, TopicId(UUID(int=2**127 + 5))])
def test_the_short_way_of_commits_writes_and_reads_what_the_general_one_does(metadata: str, topic_id: TopicId) -> None:
    key, value = OffsetCommitKey("gruppe-ü", "t", 3), OffsetCommitValue(7, 2, metadata, 9, -1, topic_id)
    encoded = bytearray(b"\0\4")
    KINDS[1].value(4).write(encoded, (7, 2, metadata, 9, topic_id))
    assert encode_value(value) == encoded
    assert decode_record(encode_key(key), bytes(encoded)) == (key, value)
    assert decode_kind(KINDS, encode_key(key), bytes(encoded)) == (key, value)


def test_older_commits_are_read() -> None:
    key = encode_key(OffsetCommitKey("g", "t", 0))
    version_0 = bytes.fromhex("0000000000000000000700016d0000000000000009")
    version_3 = bytes.fromhex("000300000000000000070000000200016d0000000000000009")
    assert decode_record(key, version_0) == (OffsetCommitKey("g", "t", 0), OffsetCommitValue(7, -1, "m", 9))
    assert decode_record(key, version_3) == (OffsetCommitKey("g", "t", 0), OffsetCommitValue(7, 2, "m", 9))


def test_an_older_group_takes_the_session_timeout_for_the_rebalance_timeout() -> None:
    key = bytes.fromhex("0002000167")
    member = "000161000162000163000027100000000000000000"
    value = bytes.fromhex("00000001700000000100017200016100000001" + member)
    record = decode_record(key, value)
    assert record is not None
    assert isinstance(record.value, GroupMetadataValue)
    assert record.value.members[0].rebalance_timeout_ms == 10_000
    assert record.value.members[0].group_instance_id is None


def test_unknown_tagged_fields_are_skipped() -> None:
    key = bytes.fromhex("0003000167")
    record = decode_record(key, bytes.fromhex("000000000005010902ffff"))
    assert record is not None
    assert record.value == ConsumerGroupMetadataValue(5)


def test_kinds_of_others_are_not_ours() -> None:
    assert decode_record(bytes.fromhex("000a000167"), b"\0\0\0") is None


def test_a_value_of_a_version_to_come_is_refused() -> None:
    with pytest.raises(CorruptMessageError, match="version=9"):
        decode_record(encode_key(OffsetCommitKey("g", "t", 0)), b"\0\x09")
