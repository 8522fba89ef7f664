"""Idempotent producers: duplicates, gaps, epochs, and what survives as a snapshot."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from klamm.core.producer_state import BATCHES_KEPT, SEQUENCE_MAX, AppendedBatch, ProducerStates
from klamm.model.errors import InvalidProducerEpochError, InvalidRecordError, OutOfOrderSequenceNumberError

PID = 7


def add(
    states: ProducerStates, base_sequence: int, count: int = 1, *, offset: int = 0, epoch: int = 0, at_ms: int = 0
) -> AppendedBatch | None:
    """Admit a batch and keep it."""
    repeated = states.admit(PID, epoch, base_sequence, count, offset, at_ms)
    states.keep()
    return repeated


def filled(batches: int, *, count: int = 2) -> ProducerStates:
    """Return the state after ``batches`` batches of ``count`` records, at offsets from 100 on."""
    states = ProducerStates()
    for number in range(batches):
        assert add(states, number * count, count, offset=100 + number * count, at_ms=number) is None
    return states


@pytest.mark.parametrize("base_sequence", [0, 1, 77, SEQUENCE_MAX])
def test_a_producer_nobody_knows_may_begin_anywhere(base_sequence: int) -> None:
    assert add(ProducerStates(), base_sequence) is None


@pytest.mark.parametrize("epoch", [0, 1])
@pytest.mark.parametrize("states", [ProducerStates(), filled(2)], ids=["unknown", "known"])
def test_a_batch_without_a_sequence_number_is_refused(states: ProducerStates, epoch: int) -> None:
    with pytest.raises(InvalidRecordError):
        states.admit(PID, epoch, -1, 1, 200, 0)


@pytest.mark.parametrize("back", range(1, BATCHES_KEPT + 1))
def test_each_of_the_last_five_batches_is_a_duplicate(back: int) -> None:
    number = 8 - back
    repeated = filled(8).admit(PID, 0, number * 2, 2, 999, 0)
    assert repeated is not None
    assert repeated.base_offset == 100 + number * 2


@pytest.mark.parametrize(
    ("base_sequence", "count"),
    [
        (17, 1),  # a gap
        (15, 1),  # the last record again, in another batch
        (14, 1),  # part of the last batch
        (14, 3),  # more than the last batch
        (4, 2),  # older than the last five
    ],
)
def test_what_neither_follows_nor_repeats_is_out_of_order_and_changes_nothing(base_sequence: int, count: int) -> None:
    states = filled(8)
    before = states.snapshot()
    with pytest.raises(OutOfOrderSequenceNumberError):
        states.admit(PID, 0, base_sequence, count, 999, 0)
    states.keep()
    assert states.snapshot() == before
    assert add(states, 16) is None


def test_sequence_numbers_wrap_to_zero() -> None:
    states = ProducerStates()
    assert add(states, SEQUENCE_MAX - 1, 3, offset=10) is None
    repeated = states.admit(PID, 0, SEQUENCE_MAX - 1, 3, 99, 0)
    assert repeated == AppendedBatch(SEQUENCE_MAX - 1, 0, 10, 0)
    with pytest.raises(OutOfOrderSequenceNumberError):
        states.admit(PID, 0, 0, 1, 99, 0)
    assert add(states, 1, offset=13) is None


def test_a_new_epoch_begins_at_zero_and_fences_the_old_one() -> None:
    states = filled(2)
    with pytest.raises(OutOfOrderSequenceNumberError):
        states.admit(PID, 1, 4, 1, 999, 0)
    assert add(states, 0, 2, offset=200, epoch=1) is None
    with pytest.raises(InvalidProducerEpochError):
        states.admit(PID, 0, 2, 2, 999, 0)
    repeated = states.admit(PID, 1, 0, 2, 999, 0)
    assert repeated is not None
    assert repeated.base_offset == 200


def test_producers_do_not_see_each_other() -> None:
    states = filled(3)
    assert states.admit(PID + 1, 0, 0, 2, 500, 0) is None


def test_batches_of_one_write_follow_each_other() -> None:
    states = ProducerStates()
    assert states.admit(PID, 0, 0, 2, 0, 0) is None
    assert states.admit(PID, 0, 2, 2, 2, 0) is None
    repeated = states.admit(PID, 0, 0, 2, 4, 0)
    assert repeated is not None
    assert repeated.base_offset == 0


def test_what_was_not_written_is_forgotten_whole() -> None:
    states = filled(2)
    states.admit(PID, 0, 4, 2, 104, 0)
    states.admit(PID + 1, 0, 0, 2, 106, 0)
    states.discard()
    states.keep()
    assert list(states.entries()) == [PID]
    assert add(states, 4, 2, offset=104) is None


def test_a_producer_is_forgotten_when_its_last_batch_is_too_old_and_not_before() -> None:
    states = ProducerStates()
    add(states, 0, at_ms=1000)
    assert states.expire(1999, 1000) == 0
    assert states.expire(2000, 1000) == 1
    assert len(states) == 0
    assert add(states, 50) is None


def test_batches_cut_off_the_log_are_no_duplicates_any_more() -> None:
    states = filled(3)
    states.truncate(102)
    assert add(states, 2, 2, offset=102) is None
    states.truncate(100)
    assert len(states) == 0


def test_replaying_the_log_gives_what_appending_gave() -> None:
    appended, replayed = filled(8), ProducerStates()
    for number in range(8):
        replayed.replay(PID, 0, number * 2, 2, 100 + number * 2, number)
    assert replayed.snapshot() == appended.snapshot()


def test_a_replayed_epoch_replaces_the_older_one() -> None:
    states = filled(3)
    states.replay(PID, 1, 0, 2, 300, 9)
    assert [batch.base_offset for batch in states.entries()[PID].batches] == [300]


_BATCH = st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, SEQUENCE_MAX), st.integers(1, 9))


@given(st.lists(_BATCH, max_size=30))
def test_a_snapshot_comes_back_as_it_was(batches: list[tuple[int, int, int, int]]) -> None:
    states = ProducerStates()
    for offset, (producer_id, epoch, base_sequence, count) in enumerate(batches):
        states.replay(producer_id, epoch, base_sequence, count, offset, offset * 10)
    restored = ProducerStates.restore(states.snapshot())
    assert restored.entries() == states.entries()


@given(st.data())
def test_a_snapshot_cut_short_is_refused(data: st.DataObject) -> None:
    snapshot = filled(6).snapshot()
    size = data.draw(st.integers(0, len(snapshot) - 1))
    with pytest.raises(ValueError, match="ends early"):
        ProducerStates.restore(snapshot[:size])


def test_a_snapshot_of_another_version_is_refused() -> None:
    with pytest.raises(ValueError, match="version 2"):
        ProducerStates.restore(b"\0\2" + filled(1).snapshot()[2:])


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 7)), min_size=1, max_size=40))
def test_however_often_a_producer_retries_each_batch_is_appended_once(sends: list[tuple[int, int]]) -> None:
    """A producer sends its batches in order and may send any of its last five again at any time."""
    states, log_end_offset, next_sequence = ProducerStates(), 1000, SEQUENCE_MAX - 20
    sent: list[tuple[int, int, int]] = []
    for count, back in sends:
        if back < BATCHES_KEPT and back < len(sent):
            base_sequence, again, offset = sent[-1 - back]
            repeated = states.admit(PID, 0, base_sequence, again, log_end_offset, 0)
            assert repeated is not None
            assert repeated.base_offset == offset
        else:
            assert states.admit(PID, 0, next_sequence, count, log_end_offset, 0) is None
            states.keep()
            sent.append((next_sequence, count, log_end_offset))
            next_sequence = (next_sequence + count) % (SEQUENCE_MAX + 1)
            log_end_offset += count
