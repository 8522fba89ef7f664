"""A coordinator's commit that is appended between two drains: whole and committed, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from klamm.actors.partition import PartitionActor
from klamm.core.partition import PartitionSettings, PartitionState
from klamm.model.errors import ErrorCode
from klamm.model.ids import NO_TOPIC_ID
from klamm.records.batch import read_header
from klamm.records.commit_batch import CommitBatch, CommittedKey, Positions
from klamm.records.offsets_schema import OffsetCommitKey
from klamm.records.record import decode_records
from tests.actors.partitions import FLUSHED, WRITTEN, Partition, Partitions, batch

BATCH = CommitBatch([CommittedKey(OffsetCommitKey("g", "t", number), NO_TOPIC_ID) for number in range(2)])
POSITIONS = Positions([7, 8], [0, -1])
NOW_MS = 1_000


@pytest.fixture
def partition() -> Iterator[Partitions]:
    made = Partitions()
    yield made
    made.end()


def commit(one: Partition) -> bool:
    actor = one.ref.actor_inbox.actor
    assert isinstance(actor, PartitionActor)
    return actor.commit_between_drains(BATCH, POSITIONS, NOW_MS)


def test_a_commit_is_written_and_visible_at_once(partition: Partitions) -> None:
    one = partition()
    one.append(batch(b"first"))
    reader = one.wait_for_more(1)
    assert commit(one)
    assert (one.state.high_watermark, one.state.log_end_offset, one.log.log_end_offset) == (3, 3, 3)
    assert reader.told == 1
    assert one.append(batch(b"next")).base_offset == 3
    assert commit(one)
    header = read_header(one.payloads()[-1])
    assert (header.base_offset, header.leader_epoch, header.record_count) == (4, 1, 2)
    assert one.log.writes == [1, 1, 1, 1]


def test_what_is_in_the_mailbox_comes_first(partition: Partitions) -> None:
    one = partition()
    one.append(batch(b"zeroth"))
    answer = one.tell(batch(b"first"))
    assert not commit(one)
    one.go()
    assert answer.base_offset == 1
    assert commit(one)
    assert [len(decode_records(payload)) for payload in one.payloads()] == [1, 1, 2]


@pytest.mark.parametrize(
    "settings",
    [
        FLUSHED,
        replace(WRITTEN, flush_messages=1),
        replace(WRITTEN, flush_ms=5),
        replace(WRITTEN, log_append_time=True),
        replace(WRITTEN, max_message_bytes=BATCH.size - 1),
    ],
)
def test_where_a_write_alone_does_not_do_nothing_is_done(partition: Partitions, settings: PartitionSettings) -> None:
    one = partition(settings)
    one.state.producers_loaded = True
    assert not commit(one)
    assert one.payloads() == []


def test_a_replica_that_does_not_lead_or_has_others_in_sync_does_nothing(partition: Partitions) -> None:
    too_few = partition(replace(WRITTEN, min_insync_replicas=2), replicas=(1, 2))
    for one in (partition(leads=False), partition(isr=(1, 2), replicas=(1, 2)), too_few):
        one.state.producers_loaded = True
        assert not commit(one)


def test_a_log_whose_producers_are_not_known_yet_takes_the_common_way_first(partition: Partitions) -> None:
    one = partition()
    assert commit(one) is False, "nothing was appended since the start"
    one.append(batch(b"a"))
    assert commit(one)
    one.start()
    assert not commit(one)
    one.append(batch(b"b"))
    assert commit(one)


def test_a_full_disk_leaves_all_as_it_was(partition: Partitions) -> None:
    one = partition()
    one.append(batch(b"a"))
    one.disk.space_bytes = 100
    assert not commit(one)
    assert (one.state.log_end_offset, one.state.high_watermark, len(one.payloads())) == (1, 1, 1)
    one.disk.space_bytes = None
    assert one.append(batch(b"b")).base_offset == 1
    assert commit(one)


def test_a_bug_on_the_way_takes_the_partition_offline(partition: Partitions, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        msg = "a bug"
        raise AssertionError(msg)

    one = partition()
    one.append(batch(b"a"))
    with monkeypatch.context() as patched:
        patched.setattr(PartitionState, "appended_at_once", fail)
        assert not commit(one)
    answer = one.append(batch(b"b"))
    assert answer.error is ErrorCode.KAFKA_STORAGE_ERROR
    assert not one.ref.is_alive()
