"""Buffers that reads go into."""

from __future__ import annotations

import random
from pathlib import Path

from klamm.storage.filesystem import DiskFile
from klamm.storage.mapping import MAPPED_READ_MIN
from klamm.storage.read_buffers import BUFFERS_MAX, POOLED_SIZE_MIN, read_buffer


def test_a_buffer_that_somebody_looks_at_is_not_given_out_again() -> None:
    first = read_buffer(POOLED_SIZE_MIN)
    first[:4] = b"mine"
    part = first[:4]
    first.release()
    for _ in range(2 * BUFFERS_MAX):
        other = read_buffer(POOLED_SIZE_MIN)
        other[:4] = b"them"
    assert bytes(part) == b"mine"


def test_a_buffer_is_used_again_once_its_last_view_is_gone() -> None:
    view = read_buffer(POOLED_SIZE_MIN)
    memory = view.obj
    view.release()
    assert any(read_buffer(POOLED_SIZE_MIN).obj is memory for _ in range(BUFFERS_MAX))


def test_a_buffer_has_the_size_that_was_asked_for() -> None:
    for size in (0, 1, POOLED_SIZE_MIN - 1, POOLED_SIZE_MIN, POOLED_SIZE_MIN + 1, 5 * 1024 * 1024):
        assert len(read_buffer(size)) == size


def test_a_large_read_is_the_files_bytes_whether_mapped_or_copied(tmp_path: Path) -> None:
    file = DiskFile(str(tmp_path / "file"), create=True)
    content = random.Random(7).randbytes(2 * MAPPED_READ_MIN)
    file.write([content], 0)
    assert bytes(file.read_now(MAPPED_READ_MIN + 5, 7) or b"") == content[7 : MAPPED_READ_MIN + 12]
    file.write([b"behind the mapping"], len(content))
    tail = file.read_now(MAPPED_READ_MIN + 18, len(content) - MAPPED_READ_MIN)
    assert bytes(tail or b"").endswith(b"behind the mapping")


def test_a_mapped_view_outlives_its_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    file = DiskFile(str(path), create=True)
    file.write([b"x" * MAPPED_READ_MIN], 0)
    view = file.read_now(MAPPED_READ_MIN, 0)
    path.unlink()
    del file
    assert view is not None
    assert bytes(view) == b"x" * MAPPED_READ_MIN
