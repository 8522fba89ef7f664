"""Buffers that reads go into."""

from __future__ import annotations

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
