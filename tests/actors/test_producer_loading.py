"""The producers of a partition are read back by a thread of the disk, before the first append after a start."""

from __future__ import annotations

from collections.abc import Callable

from klamm.actors.messages import BecomeFollower
from klamm.model.errors import ErrorCode
from tests.actors.partitions import Partition, Partitions, batch, sequenced


def restarted(partition: Partitions) -> tuple[Partition, list[Callable[[], None]]]:
    """Return a partition that holds one batch, as after a start, and what it asks the disk to do."""
    first = partition()
    first.append(sequenced(0))
    first.simulation.end()
    one = partition(disk=first.disk)
    works: list[Callable[[], None]] = []
    one.run = works.append  # type: ignore[method-assign, assignment]
    return one, works


def test_appends_wait_for_the_producers_and_keep_their_order(partition: Partitions) -> None:
    one, works = restarted(partition)
    answers = [one.append(sequenced(number)) for number in (1, 2)] + [one.append(sequenced(0))]
    assert (len(works), [answer.waits for answer in answers]) == (1, [True, True, True])
    works[0]()
    one.go()
    assert [answer.base_offset for answer in answers] == [1, 2, 0]


def test_a_leader_that_follows_by_then_refuses_what_waited(partition: Partitions) -> None:
    one, works = restarted(partition)
    answer = one.append(sequenced(1))
    one.ref.tell(BecomeFollower(2, 2, 0, (1, 2), frozenset({1, 2})))
    one.go()
    works[0]()
    one.go()
    assert answer.error is ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert not one.state.producers_loaded, "a follower's log may have grown while it was read"


def test_a_close_and_a_failure_answer_what_waits(partition: Partitions) -> None:
    one, works = restarted(partition)
    answer = one.append(sequenced(1))
    one.close()
    assert answer.error is ErrorCode.NOT_LEADER_OR_FOLLOWER
    two, works = restarted(partition)
    answer = two.append(sequenced(1))
    two.disk.read_error = 5
    works[0]()
    two.go()
    assert answer.error is ErrorCode.KAFKA_STORAGE_ERROR
    assert not two.ref.is_alive()


def test_damage_in_the_log_does_not_keep_anybody_from_appending(partition: Partitions) -> None:
    one, works = restarted(partition)
    (segment,) = one.log.segments()
    one.disk.flip(segment.path, segment.size_bytes - 10)
    answer = one.append(batch())
    works[0]()
    one.go()
    assert answer.base_offset == 1
