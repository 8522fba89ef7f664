"""What the disk's files are told to write, however large and however cut, stands in them."""

import itertools
import os
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from klamm.records.checksum import Buffer
from klamm.storage.disk_filesystem import DiskFilesystem

KIB = 1024
sizes = st.one_of(st.integers(0, 300), st.integers(30 * KIB, 34 * KIB), st.integers(0, 600 * KIB))


def written(path: Path, head: int, buffers: Sequence[Buffer]) -> bytes:
    """Write ``head`` bytes and then ``buffers`` to a new file; return all of it."""
    file = DiskFilesystem().open(str(path), create=True)
    file.truncate(0)
    file.write([b"h" * head], 0)
    file.write(buffers, head)
    return path.read_bytes()


@settings(deadline=None)
@given(st.integers(0, 70 * KIB), st.lists(sizes, min_size=1, max_size=5), st.integers(0, 255))
def test_a_write_of_any_size_stands_where_it_should(
    tmp_path_factory: pytest.TempPathFactory, head: int, lengths: list[int], seed: int
) -> None:
    random_bytes = random.Random(seed).randbytes
    buffers = [random_bytes(length) for length in lengths]
    assert written(tmp_path_factory.getbasetemp() / "segment", head, buffers) == b"h" * head + b"".join(buffers)


def test_a_write_of_more_buffers_than_one_call_takes(tmp_path: Path) -> None:
    buffers = [bytes([number % 251]) * 70 for number in range(3_000)]
    assert written(tmp_path / "segment", 5, buffers) == b"hhhhh" + b"".join(buffers)


def test_a_write_that_the_disk_cuts_short_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pwritev = os.pwritev

    def short(descriptor: int, buffers: Sequence[Buffer], position: int) -> int:
        return pwritev(descriptor, [memoryview(b"".join(buffers))[:1_000]], position)

    monkeypatch.setattr(os, "pwritev", short)
    content = random.Random(1).randbytes(500 * KIB)
    assert written(tmp_path / "segment", 7, [content[: 200 * KIB], memoryview(content)[200 * KIB :]])[7:] == content


def test_a_large_write_goes_to_the_page_cache_in_small_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folio as large as the write would have to be found first: see docs/performance.md."""
    pwritev, ends = os.pwritev, list[int]()

    def noted(descriptor: int, buffers: Sequence[Buffer], position: int) -> int:
        count = pwritev(descriptor, buffers, position)
        ends.append(position + count)
        return count

    monkeypatch.setattr(os, "pwritev", noted)
    written(tmp_path / "segment", 100, [bytes(248), bytes(1024 * KIB), bytes(44)])
    assert all(end % (32 * KIB) == 0 for end in ends[1:-1])
    assert max(after - before for before, after in itertools.pairwise(ends)) == 32 * KIB
