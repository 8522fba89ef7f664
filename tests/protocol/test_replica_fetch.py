"""A leader's answer as a follower reads it: what the broker's half wrote, and what kio makes of the same bytes."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from klamm.protocol.apis import ApiKey
from klamm.protocol.errors import ProtocolError
from klamm.protocol.fetch import FetchedPartition, encode_fetch_response
from klamm.protocol.messages import decode_response
from klamm.protocol.replica_fetch import VERSIONS, ReplicaAnswer, decode_replica_fetch
from klamm.protocol.varint import Buffer

ALL_VERSIONS = range(VERSIONS[0], VERSIONS[1] + 1)
TOPIC_ID = UUID(int=77)

int64 = st.integers(-1, 2**63 - 1)
provenances = st.lists(st.tuples(st.none() | st.integers(0, 2**60), st.none() | st.binary(max_size=300)), max_size=4)


def answer_of(version: int, partition: FetchedPartition, error_code: int = 0) -> memoryview:
    """Return the frame that the broker sends, without its length."""
    pieces = encode_fetch_response(version, 9, error_code, 0, [(None, TOPIC_ID, [partition])])
    return memoryview(b"".join(piece for piece in pieces if isinstance(piece, Buffer)))[4:]


@pytest.mark.parametrize("version", ALL_VERSIONS)
@given(
    offsets=st.tuples(int64, int64, int64),
    records=st.binary(max_size=400),
    provenance=provenances,
    diverging=st.none() | st.tuples(st.integers(0, 2**31 - 1), int64),
    aborted=st.none() | st.lists(st.tuples(int64, int64), max_size=2),
)
def test_an_answer_is_read_as_it_was_written(
    version: int,
    offsets: tuple[int, int, int],
    records: bytes,
    provenance: list[tuple[int | None, bytes | None]],
    diverging: tuple[int, int] | None,
    aborted: list[tuple[int, int]] | None,
) -> None:
    high, stable, start = offsets
    partition = FetchedPartition(
        3, 6, high, stable, start, aborted, -1, diverging, (2, 5), [records], len(records), -1, provenance
    )
    frame = answer_of(version, partition, 70)
    code, found = decode_replica_fetch(version, frame)
    assert code == 70
    assert found is not None
    assert found == ReplicaAnswer(6, high, start, found.records, diverging, found.provenance)
    assert bytes(found.records) == records
    assert list(found.provenance) == provenance
    _, by_kio = decode_response(ApiKey.FETCH, version, bytes(frame))
    (read,) = by_kio.responses[0].partitions
    assert (read.high_watermark, read.log_start_offset, bytes(read.records or b"")) == (high, start, records)


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_an_answer_that_ends_early_is_refused(version: int) -> None:
    partition = FetchedPartition(
        0, 0, 9, 9, 0, [(1, 2)], diverging_epoch=(1, 2), buffers=[b"abc"], size=3, provenance=[(5, b"me"), (None, None)]
    )
    frame = answer_of(version, partition)
    whole = decode_replica_fetch(version, frame)
    for end in range(4, len(frame)):
        try:
            assert decode_replica_fetch(version, frame[:end]) == whole  # what follows the partition is not looked at
        except ProtocolError:
            continue
    with pytest.raises(ProtocolError, match="past"):
        decode_replica_fetch(version, frame[:-5])


@given(st.data())
def test_any_other_byte_is_read_or_refused(data: st.DataObject) -> None:
    partition = FetchedPartition(0, 0, 9, 9, 0, buffers=[b"abc"], size=3, provenance=[(5, b"me"), (None, None)])
    frame = bytearray(answer_of(VERSIONS[1], partition))
    frame[data.draw(st.integers(0, len(frame) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        decode_replica_fetch(VERSIONS[1], memoryview(frame))
    except ProtocolError:
        return


def test_a_leader_that_names_no_topic_has_an_error_alone() -> None:
    pieces = encode_fetch_response(18, 9, 100, 0, [])
    frame = memoryview(b"".join(piece for piece in pieces if isinstance(piece, Buffer)))[4:]
    assert decode_replica_fetch(18, frame) == (100, None)
