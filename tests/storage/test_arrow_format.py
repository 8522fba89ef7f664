"""A segment is what Arrow's own readers read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.dataset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from klamm.storage.arrow_format import BLOCK, file_head, file_tail
from klamm.storage.disk_filesystem import DiskFilesystem
from klamm.storage.partition_log import PartitionLog
from klamm.storage.row import LogRow, row_crc
from klamm.storage.row_group import METADATA_SIZE, ROWS_MAX, check_group, encode_group, peek_group

SCHEMA = pa.schema(
    [
        pa.field("base_offset", pa.int64(), nullable=False),
        pa.field("last_offset", pa.int64(), nullable=False),
        pa.field("leader_epoch", pa.int32(), nullable=False),
        pa.field("append_time", pa.timestamp("us", tz="UTC")),
        pa.field("max_timestamp", pa.timestamp("ms", tz="UTC"), nullable=False),
        pa.field("attributes", pa.int16(), nullable=False),
        pa.field("producer_id", pa.int64(), nullable=False),
        pa.field("producer_epoch", pa.int16(), nullable=False),
        pa.field("base_sequence", pa.int32(), nullable=False),
        pa.field("record_count", pa.int32(), nullable=False),
        pa.field("client_id", pa.utf8()),
        pa.field("row_crc", pa.uint32(), nullable=False),
        pa.field("payload", pa.large_binary(), nullable=False),
    ]
)

int16, int32, int64 = (st.integers(-(2**bits), 2**bits - 1) for bits in (15, 31, 63))
rows_of_anything = st.lists(
    st.builds(
        LogRow,
        payload=st.binary(max_size=50),
        base_offset=int64,
        last_offset=int64,
        leader_epoch=int32,
        append_time_us=st.none() | int64,
        max_timestamp_ms=int64,
        attributes=int16,
        producer_id=int64,
        producer_epoch=int16,
        base_sequence=int32,
        record_count=int32,
        client_id=st.none() | st.text(max_size=9).map(str.encode),
    ),
    min_size=1,
    max_size=20,
)


def whole(rows: list[LogRow]) -> bytes:
    header, padding, size = encode_group(rows)
    group = header + b"".join(bytes(row.payload) for row in rows) + padding
    assert len(group) == size
    return group


def columns_of(rows: list[LogRow]) -> dict[str, list[object]]:
    return {
        "base_offset": [row.base_offset for row in rows],
        "last_offset": [row.last_offset for row in rows],
        "leader_epoch": [row.leader_epoch for row in rows],
        "append_time": [row.append_time_us for row in rows],
        "max_timestamp": [row.max_timestamp_ms for row in rows],
        "attributes": [row.attributes for row in rows],
        "producer_id": [row.producer_id for row in rows],
        "producer_epoch": [row.producer_epoch for row in rows],
        "base_sequence": [row.base_sequence for row in rows],
        "record_count": [row.record_count for row in rows],
        "client_id": [None if row.client_id is None else row.client_id.decode() for row in rows],
        "row_crc": [row_crc(row, len(row.payload)) for row in rows],
        "payload": [bytes(row.payload) for row in rows],
    }


@given(groups=st.lists(rows_of_anything, min_size=1, max_size=3))
def test_pyarrow_reads_the_rows_that_were_written(groups: list[list[LogRow]]) -> None:
    written = file_head({"a": "b"})
    blocks = b""
    for rows in groups:
        group = whole(rows)
        blocks += BLOCK.pack(len(written), METADATA_SIZE, len(group) - METADATA_SIZE)
        written += group
    stream = pa.ipc.open_stream(pa.py_buffer(written[8:])).read_all()
    closed = written + file_tail(blocks, {"a": "b"}, {"c": "d"})
    file = pa.ipc.open_file(pa.py_buffer(closed))
    expected = pa.concat_tables(
        pa.table(
            [pa.array(values, field.type) for field, values in zip(SCHEMA, columns_of(rows).values(), strict=True)],
            SCHEMA,
        )
        for rows in groups
    )
    for table in (stream, file.read_all()):
        table.validate(full=True)
        assert table.schema == SCHEMA
        assert table.cast(SCHEMA) == expected
        assert table.schema.metadata[b"a"] == b"b"
    assert file.num_record_batches == len(groups)
    assert file.metadata == {b"c": b"d"}


def test_pyarrow_would_have_written_the_same_buffers() -> None:
    """The body of a row group, byte for byte: only validity bitmaps of columns without nulls are ours."""
    rows = [LogRow(b"x" * n, n, n, 1, None if n else 7, 5, 0, -1, -1, -1, 1, None if n else b"me") for n in range(3)]
    ours = whole(rows)[METADATA_SIZE:]
    arrays = [pa.array(values, field.type) for field, values in zip(SCHEMA, columns_of(rows).values(), strict=True)]
    theirs = pa.record_batch(arrays, SCHEMA).serialize().to_pybytes()
    assert ours == theirs[-len(ours) :]


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 64, ROWS_MAX])
def test_what_was_written_is_read_back(row: Callable[..., LogRow], count: int) -> None:
    rows = [
        row(n, (5, 6), value=b"v" * n, client_id=None if n % 3 else b"client", append_time_us=n if n % 2 else None)
        for n in range(count)
    ]
    group = memoryview(b"before" + whole(rows) + b"behind")
    found = peek_group(group, 6)
    assert found is not None
    assert found.row_count == count
    assert found.size == len(group) - 12
    assert check_group(group, 6, found) == rows


def test_every_flipped_byte_is_noticed(row: Callable[..., LogRow]) -> None:
    for rows in ([row(0)], [row(0), row(1, client_id=None), row(2, append_time_us=None)]):
        group = whole(rows)
        for position in range(len(group)):
            damaged = bytearray(group)
            damaged[position] ^= 0x10
            found = peek_group(damaged)
            if found is not None and found.size <= len(group):
                with pytest.raises(ValueError, match=r".+"):
                    check_group(memoryview(damaged), 0, found)


def test_a_sealed_segment_opens_in_pyarrow_dataset_and_polars(
    row: Callable[..., LogRow], open_log: Callable[..., PartitionLog], tmp_path: Path
) -> None:
    log = open_log(DiskFilesystem(), str(tmp_path / "t-0"), segment_bytes=20_000)
    log.assign_epoch(3, 0)
    for offset in range(0, 100, 2):
        log.append([row(offset, epoch=3), row(offset + 1, client_id=None, epoch=3)])
    log.maintain()
    sealed = [segment for segment in log.segments() if segment.sealed]
    assert sealed
    path = sealed[0].path
    count = sealed[0].end_offset
    with pa.memory_map(path) as mapped:
        opened = pa.ipc.open_file(mapped)
        table = opened.read_all()
        assert table.column("base_offset").to_pylist() == list(range(count))
        assert table.column("client_id").to_pylist()[:2] == ["tests", None]
        facts = opened.metadata
        del table, opened
    assert facts[b"klamm.topic"] == b"t"
    assert facts[b"klamm.topic.id"] == b"7d8f3b1e-4c0a-4a53-9f0e-2f6f1f0c9a11"
    assert facts[b"klamm.partition"] == b"0"
    assert facts[b"klamm.format.version"] == b"1"
    assert facts[b"klamm.leader.epochs"] == b"3:0"
    paths = [segment.path for segment in sealed]
    assert pyarrow.dataset.dataset(paths, format="ipc").count_rows() == sealed[-1].end_offset
    assert pl.scan_ipc(path).select(pl.col("record_count").sum()).collect().item() == count
    assert pl.read_ipc(path).height == count
