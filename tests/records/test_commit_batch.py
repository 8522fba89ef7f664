"""The batch of a commit that comes again is the one that a first commit of the same offsets makes."""

from __future__ import annotations

from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from klamm.actors.coordinator_log import encode_batches
from klamm.model.ids import NO_TOPIC_ID, TopicId
from klamm.records.batch import check_batch, patch
from klamm.records.commit_batch import CommitBatch, CommittedKey, Positions
from klamm.records.offsets_schema import GroupRecord, OffsetCommitKey, OffsetCommitValue

int32, int64 = st.integers(-(2**31), 2**31 - 1), st.integers(-(2**63), 2**63 - 1)
topic_ids = st.just(NO_TOPIC_ID) | st.integers(1, 2**128 - 1).map(lambda number: TopicId(UUID(int=number)))
names = st.text(max_size=300) | st.sampled_from(["", "\0\1", "g", "\0" * 9])
keys = st.builds(CommittedKey, st.builds(OffsetCommitKey, st.shared(names, key="group"), names, int32), topic_ids)


@settings(deadline=None)
@given(
    commits=st.lists(st.tuples(keys, st.tuples(int64, int32)), min_size=1, max_size=150),
    base_offset=st.integers(0, 2**62),
    leader_epoch=st.integers(0, 2**31 - 1),
    now_ms=st.integers(0, 2**50),
)
def test_a_commit_that_comes_again_is_encoded_as_any_other(
    commits: list[tuple[CommittedKey, tuple[int, int]]], base_offset: int, leader_epoch: int, now_ms: int
) -> None:
    records = [
        GroupRecord(key, OffsetCommitValue(offset, epoch, "", now_ms, topic_id=topic_id))
        for (key, topic_id), (offset, epoch) in commits
    ]
    (expected,) = encode_batches(records, now_ms)
    patch(expected, base_offset, leader_epoch)
    made = CommitBatch([key for key, _ in commits])
    positions = Positions([offset for _, (offset, _) in commits], [epoch for _, (_, epoch) in commits])
    encoded = made.encode(base_offset, leader_epoch, positions, now_ms)
    assert encoded == expected
    assert made.size == len(encoded)
    assert check_batch(encoded).record_count == len(commits)
