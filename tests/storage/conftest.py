"""Record batches made by hand, and logs of them."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest

from klamm.records.checksum import crc32c
from klamm.storage.disk_filesystem import DiskFilesystem
from klamm.storage.filesystem import Filesystem
from klamm.storage.handles import FileHandles
from klamm.storage.memory_filesystem import MemoryFilesystem
from klamm.storage.partition_log import CleanState, ColdRead, PartitionLog
from klamm.storage.row import LogRow
from klamm.storage.settings import LogSettings

TOPIC_ID = UUID("7d8f3b1e-4c0a-4a53-9f0e-2f6f1f0c9a11")


def varint(number: int) -> bytes:
    """Encode as Kafka does: zigzag, then seven bits a byte."""
    rest = (number << 1) ^ (number >> 63)
    encoded = bytearray()
    while rest & ~0x7F:
        encoded.append(rest & 0x7F | 0x80)
        rest >>= 7
    encoded.append(rest)
    return bytes(encoded)


def build_batch(
    base_offset: int,
    timestamps: tuple[int, ...] = (1_000,),
    *,
    value: bytes = b"value",
    epoch: int = 0,
    attributes: int = 0,
) -> bytes:
    records = b""
    for delta, timestamp in enumerate(timestamps):
        body = b"\0" + varint(timestamp - timestamps[0]) + varint(delta) + varint(-1) + varint(len(value)) + value
        body += varint(0)
        records += varint(len(body)) + body
    covered = (
        struct.pack(
            ">hiqqqhii", attributes, len(timestamps) - 1, timestamps[0], max(timestamps), -1, -1, -1, len(timestamps)
        )
        + records
    )
    head = struct.pack(">qiibI", base_offset, len(covered) + 9, epoch, 2, crc32c(covered))
    return head + covered


def build_row(base_offset: int, timestamps: tuple[int, ...] = (1_000,), **details: object) -> LogRow:
    client_id = details.pop("client_id", b"tests")
    assert client_id is None or isinstance(client_id, bytes)
    append_time_us = details.pop("append_time_us", 5)
    assert append_time_us is None or isinstance(append_time_us, int)
    batch = build_batch(base_offset, timestamps, **details)  # type: ignore[arg-type]  # passed through
    return LogRow.of_batch(batch, append_time_us=append_time_us, client_id=client_id)


@pytest.fixture(scope="session")
def row() -> Callable[..., LogRow]:
    """Return a maker of rows: (base_offset, timestamps, value=, epoch=, attributes=, client_id=, append_time_us=)."""
    return build_row


@pytest.fixture(params=["disk", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Filesystem, str]:
    """Return a filesystem and a directory in it: the tests of the log run on both."""
    if request.param == "disk":
        return DiskFilesystem(), str(tmp_path / "t-0")
    return MemoryFilesystem(), "/data/t-0"


Opener = Callable[..., PartitionLog]


@pytest.fixture(scope="session")
def open_log() -> Opener:
    """Return an opener of logs: (filesystem, directory, settings..., clean=, checkpoint=)."""

    def opener(
        filesystem: Filesystem,
        directory: str,
        *,
        clean: CleanState | None = None,
        checkpoint: CleanState | None = None,
        **settings: int | bool,
    ) -> PartitionLog:
        handles = FileHandles(filesystem, 4)
        chosen = LogSettings(**settings)  # type: ignore[arg-type]  # passed through
        return PartitionLog.open(handles, directory, TOPIC_ID, "t", 0, chosen, clean=clean, checkpoint=checkpoint)

    return opener


@pytest.fixture
def log(place: tuple[Filesystem, str], open_log: Opener) -> PartitionLog:
    """Return an empty log whose segments hold a few kilobytes."""
    return open_log(*place, segment_bytes=6_000)


@pytest.fixture(scope="session")
def read_all() -> Callable[..., bytes]:
    """Return a reader of whole logs: (log, size_max=, start=) -> the bytes a consumer would get."""

    def read(log: PartitionLog, size_max: int = 1_500, start: int | None = None) -> bytes:
        offset = log.log_start_offset if start is None else start
        found = b""
        while offset < log.log_end_offset:
            piece = log.read(offset, log.log_end_offset, size_max)
            if isinstance(piece, ColdRead):
                piece = piece.perform()
            assert piece.buffers, f"nothing at {offset} of {log.log_end_offset}"
            assert piece.size == sum(map(len, piece.buffers))
            found += b"".join(piece.buffers)
            offset = piece.next_offset
        return found

    return read
