"""Fetch sessions, by the rules of KIP-227."""

from __future__ import annotations

import itertools
from uuid import UUID

import pytest

from klamm.model.errors import ErrorCode, KafkaError
from klamm.protocol.fetch import FetchPartition, FetchRequest
from klamm.server.fetch_sessions import EPOCH_MAX, STALE_S, FetchSession, FetchSessions

TOPIC_ID = UUID(int=9)


def request(
    session_id: int = 0,
    epoch: int = 0,
    partitions: dict[int, int] | None = None,
    forgotten: list[int] | None = None,
    topic: str | UUID = "t",
) -> FetchRequest:
    """Return a Fetch of ``{partition: offset}``."""
    name, topic_id = (topic, None) if isinstance(topic, str) else (None, topic)
    wanted = [FetchPartition(index, -1, offset, -1, -1, 1000) for index, offset in (partitions or {}).items()]
    return FetchRequest(
        -1,
        -1,
        500,
        1,
        10_000,
        0,
        session_id,
        epoch,
        [(name, topic_id, wanted)] if wanted else [],
        [(name, topic_id, forgotten)] if forgotten else [],
        "",
    )


def sessions(slots: int = 10) -> FetchSessions:
    numbers = itertools.count(100)
    return FetchSessions(slots, lambda: next(numbers))


def find(cache: FetchSessions, wanted: FetchRequest, *, ids: bool = False, now: float = 0.0) -> FetchSession:
    session = cache.find(wanted, uses_topic_ids=ids, now=now)
    assert session is not None
    return session


def offsets(session: FetchSession) -> dict[int, int]:
    return {index: partition.request.fetch_offset for (_, index), partition in session.partitions.items()}


def test_a_session_that_has_forgotten_its_last_partition_ends() -> None:
    cache = sessions()
    session = find(cache, request(partitions={0: 5, 1: 7}))
    assert find(cache, request(session.session_id, 1, forgotten=[0])) is session
    assert cache.find(request(session.session_id, 2, forgotten=[1]), uses_topic_ids=False, now=0.0) is None
    with pytest.raises(KafkaError) as refused:
        cache.find(request(session.session_id, 3), uses_topic_ids=False, now=0.0)
    assert refused.value.error_code is ErrorCode.FETCH_SESSION_ID_NOT_FOUND


def test_epoch_0_makes_a_session_of_all_partitions_named() -> None:
    session = find(sessions(), request(partitions={0: 5, 1: 7}))
    assert session.session_id == 100
    assert offsets(session) == {0: 5, 1: 7}


def test_an_incremental_fetch_adds_changes_and_forgets_partitions() -> None:
    cache = sessions()
    find(cache, request(partitions={0: 5, 1: 7, 2: 9}))
    session = find(cache, request(100, 1, {1: 8, 3: 1}, forgotten=[2]))
    assert offsets(session) == {0: 5, 1: 8, 3: 1}


def test_an_incremental_fetch_that_names_nothing_reads_what_the_session_knows() -> None:
    cache = sessions()
    find(cache, request(partitions={0: 5}))
    assert offsets(find(cache, request(100, 1))) == {0: 5}


def test_each_fetch_has_the_next_epoch_and_no_other() -> None:
    cache = sessions()
    find(cache, request(partitions={0: 5}))
    find(cache, request(100, 1))
    for epoch in (1, 3):
        with pytest.raises(KafkaError) as refused:
            find(cache, request(100, epoch, {0: 99}))
        assert refused.value.error_code == ErrorCode.INVALID_FETCH_SESSION_EPOCH
    assert offsets(find(cache, request(100, 2))) == {0: 5}, "a refused fetch changed the session"


def test_the_epoch_after_the_largest_is_1() -> None:
    cache = sessions()
    find(cache, request(partitions={0: 5})).epoch = EPOCH_MAX
    find(cache, request(100, EPOCH_MAX))
    find(cache, request(100, 1))


def test_a_session_nobody_knows_is_refused() -> None:
    with pytest.raises(KafkaError) as refused:
        find(sessions(), request(7, 1))
    assert refused.value.error_code == ErrorCode.FETCH_SESSION_ID_NOT_FOUND


def test_a_session_keeps_to_topic_ids_or_to_names() -> None:
    cache = sessions()
    find(cache, request(partitions={0: 5}, topic=TOPIC_ID), ids=True)
    with pytest.raises(KafkaError) as refused:
        find(cache, request(100, 1, {0: 5}))
    assert refused.value.error_code == ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR


@pytest.mark.parametrize(("epoch", "left"), [(-1, 0), (0, 1)])
def test_epoch_minus_1_ends_a_session_and_epoch_0_replaces_it(epoch: int, left: int) -> None:
    cache = sessions()
    find(cache, request(partitions={0: 5}))
    replaced = cache.find(request(100, epoch, {0: 6}), uses_topic_ids=False, now=0.0)
    assert len(cache) == left
    assert (replaced is None) == (epoch == -1)
    with pytest.raises(KafkaError):
        find(cache, request(100, 1))


def test_a_fetch_outside_of_a_session_makes_none() -> None:
    cache = sessions()
    assert cache.find(request(0, -1, {0: 5}), uses_topic_ids=False, now=0.0) is None
    assert len(cache) == 0


def test_a_full_cache_gives_no_session_until_one_is_stale() -> None:
    cache = sessions(slots=2)
    find(cache, request(partitions={0: 0}), now=0.0)
    find(cache, request(partitions={0: 0}), now=10.0)
    assert cache.find(request(partitions={0: 0}), uses_topic_ids=False, now=STALE_S - 1) is None
    find(cache, request(100, 1), now=STALE_S - 1)
    assert cache.find(request(partitions={0: 0}), uses_topic_ids=False, now=STALE_S + 1) is None, "it was used"
    assert find(cache, request(partitions={0: 0}), now=STALE_S + 10).session_id == 102
    with pytest.raises(KafkaError):
        find(cache, request(101, 1), now=STALE_S + 10)


def test_partitions_that_were_served_go_behind_the_others() -> None:
    session = find(sessions(), request(partitions={0: 0, 1: 0, 2: 0}))
    session.served([("t", 0)])
    assert list(offsets(session)) == [1, 2, 0]
