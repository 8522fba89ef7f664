"""A follower's log is cut on the disk's threads; what else is said to its partition waits for that, in order."""

from __future__ import annotations

from collections.abc import Callable

from klamm.actors.log_jobs import JobEnded
from klamm.actors.messages import (
    BecomeFollower,
    BecomeLeader,
    DeleteLog,
    Flushed,
    FollowerAppend,
    Following,
    Maintain,
    ReplaceSegments,
    TruncateTo,
)
from klamm.model.errors import ErrorCode
from klamm.storage.cleaned import CleanedSegments
from klamm.storage.errors import StorageFailureError
from klamm.storage.log_state import CleanState
from tests.actors.partitions import FLUSHED, Partition, Partitions, batch, sequenced


class Words:
    """What a fetcher, or a compaction, is told."""

    def __init__(self) -> None:
        self.heard: list[bool] = []

    def __call__(self, *, current: bool = False, done: bool = False) -> None:
        self.heard.append(current or done)


def hold_jobs(one: Partition) -> list[Callable[[], None]]:
    """Keep what the disk is asked to do until the test does it."""
    works: list[Callable[[], None]] = []
    one.run = works.append  # type: ignore[method-assign, assignment]
    return works


def follow(one: Partition, epoch: int) -> None:
    one.ref.tell(BecomeFollower(2, epoch, 0, (1, 2), frozenset({1, 2})))


def test_cutting_a_log_waits_for_nothing_on_the_loop(partition: Partitions) -> None:
    one = partition()
    for number in range(4):
        one.append(sequenced(number))
    works, words = hold_jobs(one), Words()
    follow(one, 2)
    one.ref.tell(TruncateTo(2, 2, words))
    one.go()
    assert (len(works), words.heard, one.log.log_end_offset) == (1, [], 4)
    works[0]()
    one.go()
    assert (words.heard, one.log.log_end_offset, one.state.log_end_offset) == ([True], 2, 2)


def test_what_comes_while_a_log_is_cut_happens_afterwards_and_in_order(partition: Partitions) -> None:
    source, one = partition(), partition()
    for number in range(4):
        source.append(sequenced(number, b"of the leader %d" % number))
        one.append(sequenced(number, b"of ours %d" % number))
    works, words, ready = hold_jobs(one), Words(), Words()
    follow(one, 2)
    one.ref.tell(TruncateTo(1, 2, words))
    records = memoryview(b"".join(source.payloads()[1:3]))
    one.ref.tell(FollowerAppend(records, 3, 0, 2, applied=words))
    follow(one, 3)
    one.ref.tell(Following(3, ready))
    one.ref.tell(TruncateTo(2, 3, words))
    one.ref.tell(BecomeLeader(4, 0, (1, 2), frozenset({1, 2})))
    one.go()
    assert one.state.leader_epoch == 2
    works.pop(0)()
    one.go()
    assert (words.heard, ready.heard) == ([True, True], [True])
    assert (one.state.leader_epoch, one.log.log_end_offset) == (3, 3), "the second cut is under way"
    works.pop(0)()
    one.go()
    assert (words.heard, one.state.leader_epoch, one.state.is_leader) == ([True, True, True], 4, True)
    assert one.payloads() == [one.payloads()[0], source.payloads()[1]]
    assert [tuple(entry) for entry in one.log.epochs] == [(1, 0), (4, 2)]


def test_while_a_log_is_cut_appends_are_refused_readers_wait_and_no_clean_close_is_claimed(
    partition: Partitions,
) -> None:
    one = partition()
    for number in range(3):
        one.append(sequenced(number))
    works = hold_jobs(one)
    follow(one, 2)
    one.ref.tell(TruncateTo(1, 2))
    one.ref.tell(BecomeLeader(3, 0, (1,), frozenset({1})))
    assert one.append(batch()).error is ErrorCode.NOT_LEADER_OR_FOLLOWER
    reader = one.wait_for_more(3)
    assert "being cut" in str(one.close())
    assert reader.told == 0
    works[0]()
    one.go()
    assert one.append(batch()).waits, "the producers are read back first"


def test_a_log_is_closed_on_the_disks_threads_and_takes_nothing_meanwhile(partition: Partitions) -> None:
    one = partition()
    one.append(sequenced(0))
    works = hold_jobs(one)
    outcome, again = one.close(), one.close()
    assert not outcome
    assert "being cut or closed" in str(again)
    one.ref.tell(BecomeLeader(3, 0, (1,), frozenset({1})))
    assert one.append(sequenced(1)).error is ErrorCode.NOT_LEADER_OR_FOLLOWER
    works[0]()
    one.go()
    assert [state.log_end_offset for state in outcome if isinstance(state, CleanState)] == [1]
    assert one.append(sequenced(1)).error is ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert len(outcome) == len(again) == 1


def test_a_close_that_fails_or_never_comes_to_its_end_says_so(partition: Partitions) -> None:
    one = partition()
    one.append(batch())
    one.disk.sync_error = 5
    assert isinstance(one.close()[0], StorageFailureError)
    two = partition()
    hold_jobs(two)
    outcome = two.close()
    two.ref.tell(JobEnded(AssertionError("a mistake of ours")))
    two.go()
    assert not two.ref.is_alive()
    assert "offline" in str(outcome)


def test_what_waits_when_a_cut_fails_is_answered(partition: Partitions) -> None:
    one = partition()
    for number in range(3):
        one.append(sequenced(number))
    works, words, swap = hold_jobs(one), Words(), Words()
    follow(one, 2)
    one.ref.tell(TruncateTo(1, 2, words))
    one.ref.tell(ReplaceSegments(CleanedSegments(None, (), 0), swap))  # type: ignore[arg-type]  # never looked at
    one.ref.tell(Maintain())
    one.go()
    one.disk.sync_error = 5
    works[0]()
    one.go()
    assert not one.ref.is_alive()
    assert (words.heard, swap.heard) == ([], [False])
    assert isinstance(one.simulation.failures[0].exception, StorageFailureError)


def test_a_partition_that_is_deleted_while_its_log_is_cut_goes_afterwards(partition: Partitions) -> None:
    one = partition()
    one.append(batch())
    works = hold_jobs(one)
    follow(one, 2)
    one.ref.tell(TruncateTo(0, 2))
    one.ref.tell(DeleteLog())
    one.go()
    assert one.ref.is_alive()
    works.pop(0)()
    one.go()
    assert not one.ref.is_alive()
    works.pop(0)()
    assert not one.disk.exists(one.log.directory)


def test_a_flush_from_before_a_cut_proves_nothing_about_what_came_after(partition: Partitions) -> None:
    one = partition(FLUSHED)
    one.hold_flushes()
    for number in range(3):
        one.tell(sequenced(number))
    one.go()
    assert one.flushes_held is not None
    ((_, answer),) = one.flushes_held
    one.flushes_held.clear()
    one.log.flush()
    follow(one, 2)
    one.ref.tell(TruncateTo(1, 2))
    one.go()
    one.ref.tell(BecomeLeader(3, 0, (1,), frozenset({1})))
    one.go()
    late = one.append(batch(b"a"))
    later = one.append(batch(b"b"))
    answer(Flushed(3))
    one.go()
    assert (late.waits, later.waits, one.state.flushed_end_offset) == (True, True, 1)
    one.let_flushes_go()
    assert (late.base_offset, later.base_offset) == (1, 2)
