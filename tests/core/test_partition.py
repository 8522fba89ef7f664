"""The rules of one partition: admission, the high watermark, leadership."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from klamm.core.partition import PartitionState
from klamm.core.producer_state import AppendedBatch
from klamm.model.errors import (
    ErrorCode,
    FencedLeaderEpochError,
    KafkaError,
    NotEnoughReplicasError,
    NotLeaderOrFollowerError,
    OffsetOutOfRangeError,
    UnknownLeaderEpochError,
)
from klamm.records.batch import TRANSACTIONAL_FLAG, BatchHeader
from tests.core.partitions import NOW_MS, append, header, leader, sequenced

HOUR_MS = 3_600_000


# --- admission ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("batch", "code"),
    [
        (header(size=1_048_589), ErrorCode.MESSAGE_TOO_LARGE),
        (header(attributes=TRANSACTIONAL_FLAG, producer_id=7), ErrorCode.INVALID_TXN_STATE),
        (header(max_timestamp=NOW_MS + HOUR_MS + 1), ErrorCode.INVALID_TIMESTAMP),
        (sequenced(5, epoch=1), ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER),
        (sequenced(2), ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER),
    ],
)
def test_a_refused_batch_has_its_error_and_takes_no_offset(batch: BatchHeader, code: ErrorCode) -> None:
    state = leader()
    assert state.admit(sequenced(0), 1, NOW_MS) == 0
    with pytest.raises(KafkaError) as refused:
        state.admit(batch, 1, NOW_MS)
    assert refused.value.error_code == code
    assert state.admit(header(), 1, NOW_MS) == 1


@pytest.mark.parametrize(
    "batch", [header(size=1_048_588), header(max_timestamp=NOW_MS + HOUR_MS), header(max_timestamp=-1)]
)
def test_a_batch_at_a_limit_is_admitted(batch: BatchHeader) -> None:
    assert leader().admit(batch, -1, NOW_MS) == 0


def test_with_log_append_time_the_producers_timestamp_is_not_looked_at() -> None:
    assert leader(log_append_time=True).admit(header(max_timestamp=NOW_MS * 2), 1, NOW_MS) == 0


def test_the_brokers_own_coordinators_may_write_transactional_records() -> None:
    batch = header(attributes=TRANSACTIONAL_FLAG)
    assert leader().admit(batch, -1, NOW_MS, from_broker=True) == 0


def test_too_few_in_sync_replicas_refuse_acks_all_and_nothing_else() -> None:
    state = leader(isr=(1,), replicas=(1, 2), min_insync_replicas=2)
    with pytest.raises(NotEnoughReplicasError):
        state.admit(header(), -1, NOW_MS)
    assert state.admit(header(), 1, NOW_MS) == 0
    assert state.admit(header(), 0, NOW_MS) == 1


def test_of_fewer_replicas_than_must_be_in_sync_all_must() -> None:
    assert leader(isr=(1,), min_insync_replicas=2).admit(header(), -1, NOW_MS) == 0
    assert leader(isr=(1, 2), min_insync_replicas=3).admit(header(), -1, NOW_MS) == 0
    with pytest.raises(NotEnoughReplicasError):
        leader(isr=(1,), replicas=(1, 2), min_insync_replicas=3).admit(header(), -1, NOW_MS)


def test_a_follower_admits_nothing() -> None:
    state = leader()
    state.become_follower(2, 2, (1, 2), frozenset({1, 2}), 0)
    with pytest.raises(NotLeaderOrFollowerError):
        state.admit(header(), 1, NOW_MS)


def test_batches_admitted_together_get_consecutive_offsets() -> None:
    state = leader(log_end_offset=40)
    assert [state.admit(header(count), 1, NOW_MS) for count in (3, 1, 5)] == [40, 43, 44]
    assert state.log_end_offset == 40
    state.appended()
    assert state.log_end_offset == 49


def test_a_write_that_failed_leaves_no_trace() -> None:
    state = leader()
    append(state, 4)
    state.admit(sequenced(0, 3), 1, NOW_MS)
    state.not_appended()
    assert state.admit(sequenced(0, 3), 1, NOW_MS) == 4, "a batch that was not written is no duplicate"
    state.appended()
    assert (state.log_end_offset, state.high_watermark) == (7, 7)


def test_a_repeated_batch_is_answered_with_what_was_appended() -> None:
    state = leader()
    append(state, 2)
    state.admit(sequenced(0, 3), 1, NOW_MS)
    state.appended()
    repeated = state.admit(sequenced(0, 3), 1, NOW_MS)
    assert isinstance(repeated, AppendedBatch)
    assert repeated.base_offset == 2
    assert state.admit(header(), 1, NOW_MS) == 5


# --- the high watermark -------------------------------------------------------------------------------------------


def test_written_records_are_visible_when_nothing_waits_for_a_flush() -> None:
    state = leader(single_flushed=False)
    append(state, 3)
    assert state.high_watermark == 3


def test_alone_in_flushed_mode_nothing_unflushed_is_visible() -> None:
    state = leader(single_flushed=True)
    append(state, 3)
    assert state.high_watermark == 0
    assert state.flushed(2)
    assert state.high_watermark == 2
    assert not state.flushed(1)
    assert (state.high_watermark, state.flushed_end_offset) == (2, 2)


def test_with_other_replicas_in_sync_their_copies_count_and_not_the_flush() -> None:
    state = leader(isr=(1, 2), single_flushed=True)
    append(state, 3)
    assert not state.flushed(3)
    assert state.high_watermark == 0
    assert state.follower_fetched(2, 3, NOW_MS)
    assert state.high_watermark == 3


def test_the_slowest_in_sync_replica_holds_the_high_watermark() -> None:
    state = leader(isr=(1, 2, 3))
    append(state, 10)
    assert not state.follower_fetched(2, 10, NOW_MS)
    assert state.follower_fetched(3, 4, NOW_MS)
    assert state.high_watermark == 4


def test_a_replica_out_of_sync_does_not_hold_the_high_watermark() -> None:
    state = leader(isr=(1, 2), replicas=(1, 2, 3))
    append(state, 10)
    state.follower_fetched(2, 10, NOW_MS)
    assert state.high_watermark == 10


def test_a_replica_that_is_about_to_join_holds_the_high_watermark() -> None:
    state = leader(isr=(1,), replicas=(1, 2))
    append(state, 5)
    state.follower_fetched(2, 5, NOW_MS)
    assert state.may_join(2)
    state.propose_join(2)
    append(state, 5)
    assert state.high_watermark == 5
    assert not state.may_join(2), "it is joining already"
    state.become_leader(1, (1, 2), frozenset({1, 2}), 1, NOW_MS)
    assert not state.advance_high_watermark()
    assert state.follower_fetched(2, 10, NOW_MS)
    assert state.high_watermark == 10


def test_a_join_that_the_controller_refused_holds_nothing_any_more() -> None:
    state = leader(isr=(1,), replicas=(1, 2))
    state.propose_join(2)
    state.become_leader(1, (1, 2), frozenset({1}), 1, NOW_MS)
    append(state, 5)
    assert state.high_watermark == 5


def test_under_min_insync_replicas_the_high_watermark_holds_still() -> None:
    state = leader(isr=(1, 2), min_insync_replicas=2)
    append(state, 5)
    state.follower_fetched(2, 5, NOW_MS)
    state.become_leader(1, (1, 2), frozenset({1}), 1, NOW_MS)
    append(state, 5)
    assert not state.advance_high_watermark()
    assert state.high_watermark == 5


def test_loosened_settings_let_the_high_watermark_go_on() -> None:
    state = leader(single_flushed=True)
    append(state, 5)
    assert state.change_settings(replace(state.settings, single_flushed=False))
    assert state.high_watermark == 5


def test_a_follower_may_join_only_once_it_has_reached_this_leader_epoch() -> None:
    state = leader(replicas=(1, 2), log_end_offset=10, single_flushed=True)
    state.flushed(6)
    state.follower_fetched(2, 8, NOW_MS)
    assert not state.may_join(2), "it holds the high watermark, but nothing of this leader epoch"
    state.follower_fetched(2, 10, NOW_MS)
    assert state.may_join(2)


@pytest.mark.parametrize(
    ("broker", "offset", "error"), [(3, 0, NotLeaderOrFollowerError), (2, 6, OffsetOutOfRangeError)]
)
def test_a_fetch_that_cannot_be_right_changes_nothing(broker: int, offset: int, error: type[KafkaError]) -> None:
    state = leader(isr=(1, 2))
    append(state, 5)
    before = dict(state.followers)
    with pytest.raises(error):
        state.follower_fetched(broker, offset, NOW_MS)
    assert (state.followers, state.high_watermark) == (before, 0)


def test_a_follower_lags_only_when_it_is_behind_for_too_long() -> None:
    state = leader(isr=(1, 2, 3))
    append(state, 5)
    state.follower_fetched(2, 5, NOW_MS + 1000)
    append(state, 1)
    state.follower_fetched(2, 5, NOW_MS + 2000)
    assert state.lagging(NOW_MS + 900, 900) == frozenset()
    assert state.lagging(NOW_MS + 901, 900) == {3}
    assert state.lagging(NOW_MS + 2000, 900) == {2, 3}
    state.follower_fetched(2, 6, NOW_MS + 2100)
    assert state.lagging(NOW_MS + 9000, 900) == {3}, "nothing was appended that it lacks"


@settings(max_examples=200, deadline=None)
@given(
    min_insync_replicas=st.integers(1, 3),
    single_flushed=st.booleans(),
    events=st.lists(
        st.one_of(
            st.tuples(st.just("append"), st.integers(1, 5)),
            st.tuples(st.just("fetched 2"), st.integers(0, 30)),
            st.tuples(st.just("fetched 3"), st.integers(0, 30)),
            st.tuples(st.just("flushed"), st.integers(0, 30)),
            st.tuples(st.just("isr"), st.integers(0, 3)),
            st.tuples(st.just("join"), st.integers(2, 3)),
        ),
        max_size=40,
    ),
)
def test_the_high_watermark_never_goes_back_nor_shows_what_an_in_sync_replica_lacks(
    *, min_insync_replicas: int, single_flushed: bool, events: list[tuple[str, int]]
) -> None:
    state = leader(isr=(1, 2, 3), min_insync_replicas=min_insync_replicas, single_flushed=single_flushed)
    for kind, number in events:
        before = state.high_watermark
        moved = _happen(state, kind, number)
        assert state.high_watermark >= before
        assert state.high_watermark <= state.log_end_offset
        assert moved == (state.high_watermark > before)
        if not moved:
            continue
        assert len(state.isr) >= min_insync_replicas
        for broker in (state.isr | state.joining) - {1}:
            assert state.high_watermark <= state.followers[broker].log_end_offset
        if single_flushed and len(state.isr) == 1:
            assert state.high_watermark <= state.flushed_end_offset


def _happen(state: PartitionState, kind: str, number: int) -> bool:
    before = state.high_watermark
    match kind:
        case "append":
            append(state, number)
        case "fetched 2" | "fetched 3":
            state.follower_fetched(int(kind[-1]), min(number, state.log_end_offset), NOW_MS)
        case "flushed":
            state.flushed(min(number, state.log_end_offset))
        case "isr":
            isr = frozenset({1} | {broker for broker in (2, 3) if number & (broker - 1)})
            state.become_leader(1, (1, 2, 3), isr, state.partition_epoch + 1, NOW_MS)
            state.advance_high_watermark()
        case _:
            state.propose_join(number)
    return state.high_watermark > before


# --- leadership ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("epoch", "error"), [(4, FencedLeaderEpochError), (6, UnknownLeaderEpochError), (5, None), (-1, None)]
)
def test_a_request_of_another_leader_epoch_is_refused(epoch: int, error: type[KafkaError] | None) -> None:
    state = leader(epoch=5)
    if error is None:
        state.check_leader(epoch)
    else:
        with pytest.raises(error):
            state.check_leader(epoch)


def test_an_older_leader_epoch_neither_leads_nor_follows() -> None:
    state = leader(epoch=5)
    with pytest.raises(FencedLeaderEpochError):
        state.become_leader(4, (1,), frozenset({1}), 9, NOW_MS)
    with pytest.raises(FencedLeaderEpochError):
        state.become_follower(2, 4, (1, 2), frozenset({2}), 9)
    assert (state.is_leader, state.leader_epoch, state.partition_epoch) == (True, 5, 0)


def test_only_a_new_leader_epoch_begins_one_and_forgets_the_followers() -> None:
    state = leader(isr=(1, 2))
    append(state, 3)
    state.follower_fetched(2, 3, NOW_MS)
    assert not state.become_leader(1, (1, 2), frozenset({1}), 1, NOW_MS)
    assert state.followers[2].log_end_offset == 3
    assert state.become_leader(2, (1, 2), frozenset({1, 2}), 2, NOW_MS)
    assert state.followers[2].log_end_offset == 0


def test_a_replica_added_in_the_same_leader_epoch_is_followed_from_then_on() -> None:
    state = leader(isr=(1, 2))
    append(state, 3)
    state.follower_fetched(2, 3, NOW_MS)
    state.become_leader(1, (1, 2, 3), frozenset({1, 2, 3}), 1, NOW_MS)
    append(state, 1)
    state.follower_fetched(2, 4, NOW_MS)
    assert state.high_watermark == 3
    assert state.follower_fetched(3, 4, NOW_MS)


def test_the_high_watermark_survives_a_change_of_leader() -> None:
    state = leader()
    append(state, 5)
    state.become_follower(2, 2, (1, 2), frozenset({1, 2}), 0)
    state.become_leader(3, (1, 2), frozenset({1, 2}), 1, NOW_MS)
    assert not state.advance_high_watermark()
    assert state.high_watermark == 5


def test_what_a_follower_cuts_off_is_neither_visible_nor_flushed_any_more() -> None:
    state = leader(single_flushed=True)
    append(state, 5)
    state.flushed(5)
    state.become_follower(2, 2, (1, 2), frozenset({2}), 0)
    state.followed(3)
    assert (state.log_end_offset, state.high_watermark, state.flushed_end_offset) == (3, 3, 3)
