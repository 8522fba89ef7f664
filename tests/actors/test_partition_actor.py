"""The partition actor: what is answered when, whatever the disk does."""

from __future__ import annotations

import errno
from dataclasses import replace
from random import Random

import pykka
import pytest

from klamm.actors.messages import (
    BecomeFollower,
    CloseLog,
    DeleteLog,
    DeleteRecords,
    FollowerAppend,
    FollowerFetched,
    Maintain,
    SettingsChanged,
    TruncateTo,
)
from klamm.core.partition import PartitionState
from klamm.model.errors import ErrorCode, KafkaError
from klamm.records.batch import HEADER_SIZE, read_header
from klamm.records.compression import Codec
from klamm.records.record import decode_records
from klamm.storage.errors import StorageFailureError
from klamm.storage.faulty_filesystem import FaultyFilesystem
from klamm.storage.settings import LogSettings
from tests.actors.partitions import FLUSHED, WRITTEN, Partitions, batch, sequenced

BASE_OFFSET_AND_EPOCH = 16  # bytes at the front of a batch that the broker may write


# --- group commit, durability -------------------------------------------------------------------------------------


def test_all_appends_of_a_drain_are_one_write_and_keep_their_order(partition: Partitions) -> None:
    one = partition()
    answers = [one.tell(batch(b"a", b"b")) for _ in range(20)]
    one.go()
    assert one.log.writes == [20]
    assert [answer.base_offset for answer in answers] == list(range(0, 40, 2))


def test_a_write_has_no_more_than_64_batches(partition: Partitions) -> None:
    one = partition()
    answers = [one.tell(batch()) for _ in range(150)]
    one.go()
    assert sum(one.log.writes) == 150
    assert max(one.log.writes) == 64
    assert [answer.base_offset for answer in answers] == list(range(150))


def test_a_drain_with_more_than_a_segment_holds_fills_several(partition: Partitions) -> None:
    one = partition()
    one.ref.tell(SettingsChanged(WRITTEN, LogSettings(segment_bytes=2_500)))
    answers = [one.tell(batch(b"x" * 1000)) for _ in range(6)]
    one.go()
    assert [answer.base_offset for answer in answers] == list(range(6))
    assert one.log.writes == [2, 2, 2]
    assert [segment.base_offset for segment in one.log.segments()] == [0, 2, 4]


def test_what_is_stored_is_what_the_client_sent_but_for_offset_and_epoch(partition: Partitions) -> None:
    one = partition()
    sent = batch(b"x" * 1000, b"y", codec=Codec.ZSTD)
    one.append(batch())
    one.append(sent)
    stored = one.payloads()[1]
    assert stored[BASE_OFFSET_AND_EPOCH:] == sent[BASE_OFFSET_AND_EPOCH:]
    header = read_header(stored)
    assert (header.base_offset, header.leader_epoch) == (1, 1)


def test_bytes_behind_a_batch_are_not_stored(partition: Partitions) -> None:
    one = partition()
    sent = batch()
    assert one.append(sent + b"\0" * 7).base_offset == 0
    assert len(one.payloads()[0]) == len(sent)


def test_in_flushed_mode_acks_1_waits_for_the_flush_as_acks_all_does(partition: Partitions) -> None:
    one = partition(FLUSHED)
    one.hold_flushes()
    answers = one.append(batch()), one.append(batch(), acks=1)
    assert all(answer.waits for answer in answers)
    one.let_flushes_go()
    assert [answer.base_offset for answer in answers] == [0, 1]


def test_in_flushed_mode_nothing_unflushed_is_visible_whatever_the_acks(partition: Partitions) -> None:
    one = partition(FLUSHED)
    one.hold_flushes()
    one.append(batch(), acks=1)
    reader = one.wait_for_more(0)
    assert (one.state.high_watermark, reader.told) == (0, 0)
    one.let_flushes_go()
    assert (one.state.high_watermark, reader.told) == (1, 1)


def test_what_is_appended_during_a_flush_goes_with_the_next_one(partition: Partitions) -> None:
    one = partition(FLUSHED)
    one.hold_flushes()
    first = one.append(batch())
    later = [one.append(batch()) for _ in range(5)]
    assert one.flushes_held is not None
    assert len(one.flushes_held) == 1
    one.let_flushes_go()
    assert [answer.base_offset for answer in (first, *later)] == [0, 1, 2, 3, 4, 5]
    assert one.log.flushed_end_offset == 6


def test_everything_acknowledged_in_flushed_mode_survives_a_power_cut(partition: Partitions) -> None:
    for seed in range(20):
        one = partition(FLUSHED, disk=FaultyFilesystem(Random(seed)))
        answers = [one.append(batch(b"%d" % number)) for number in range(3)]
        one.hold_flushes()
        one.append(batch(b"lost"), acks=1)
        one.simulation.end()
        one.disk.crash()
        again = partition(FLUSHED, disk=one.disk)
        assert [answer.base_offset for answer in answers] == [0, 1, 2]
        values = [decode_records(payload)[0].value for payload in again.payloads()]
        assert values[:3] == [b"0", b"1", b"2"]


@pytest.mark.parametrize("acks", [0, 1, -1])
def test_in_written_mode_every_append_is_answered_once_written(partition: Partitions, acks: int) -> None:
    one = partition()
    one.hold_flushes()
    assert one.append(batch(), acks=acks).base_offset == 0
    assert one.state.high_watermark == 1


def test_flush_messages_flushes_without_anybody_waiting_for_it(partition: Partitions) -> None:
    one = partition(replace(WRITTEN, flush_messages=3))
    one.append(batch(b"a", b"b"))
    assert one.log.flushed_end_offset == 0
    one.append(batch())
    assert one.log.flushed_end_offset == 3


def test_flush_ms_flushes_after_that_time(partition: Partitions) -> None:
    one = partition(replace(WRITTEN, flush_ms=1000))
    one.append(batch())
    assert one.log.flushed_end_offset == 0
    one.go(1.5)
    assert one.log.flushed_end_offset == 1


def test_an_append_that_is_not_durable_in_time_is_answered_with_a_timeout(partition: Partitions) -> None:
    one = partition(FLUSHED)
    one.hold_flushes()
    slow, patient = one.tell(batch(), timeout_ms=500), one.tell(batch(), timeout_ms=60_000)
    one.go(2.0)
    assert slow.error == ErrorCode.REQUEST_TIMED_OUT
    one.let_flushes_go()
    assert patient.base_offset == 1
    assert len(slow.given) == 1


# --- duplicates ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("same_drain", [True, False])
def test_a_duplicate_is_answered_with_the_old_offset_and_not_written(
    partition: Partitions, *, same_drain: bool
) -> None:
    one = partition()
    one.append(batch())
    original = one.tell(sequenced(0, b"a", b"b"))
    if not same_drain:
        one.go()
    repeated = one.tell(sequenced(0, b"a", b"b"))
    one.go()
    assert (original.base_offset, repeated.base_offset) == (1, 1)
    assert one.log.log_end_offset == 3


def test_a_duplicate_waits_as_its_original_does(partition: Partitions) -> None:
    one = partition(FLUSHED)
    one.hold_flushes()
    original, repeated = one.append(sequenced(0)), one.append(sequenced(0))
    assert original.waits
    assert repeated.waits
    one.let_flushes_go()
    assert (original.base_offset, repeated.base_offset) == (0, 0)


def test_a_duplicate_of_a_batch_whose_write_failed_is_no_duplicate(partition: Partitions) -> None:
    one = partition()
    one.disk.space_bytes = 0
    original, repeated = one.tell(sequenced(0)), one.tell(sequenced(0))
    one.go()
    assert (original.error, repeated.error) == (ErrorCode.KAFKA_STORAGE_ERROR, ErrorCode.KAFKA_STORAGE_ERROR)
    one.disk.space_bytes = None
    assert one.append(sequenced(0)).base_offset == 0
    assert one.log.log_end_offset == 1


def test_duplicates_are_known_after_a_clean_stop_and_after_a_crash(partition: Partitions) -> None:
    one = partition()
    one.append(sequenced(0))
    one.close()
    one.simulation.end()
    two = partition(disk=one.disk)
    two.append(sequenced(1))
    two.simulation.end()
    three = partition(disk=one.disk)
    assert [three.append(sequenced(number)).base_offset for number in (0, 1, 2)] == [0, 1, 2]
    assert three.append(sequenced(4)).error == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER


def test_a_producer_whose_newest_batches_were_cut_off_is_still_known(partition: Partitions) -> None:
    one = partition()
    for number in range(8):
        one.append(sequenced(number))
    one.ref.tell(BecomeFollower(2, 2, 0, (1, 2), frozenset({1, 2})))
    one.ref.tell(TruncateTo(2, 2))
    one.go()
    one.epoch = 3
    one.lead()
    assert one.append(sequenced(1)).base_offset == 1, "still a duplicate"
    assert one.append(sequenced(2)).base_offset == 2, "no duplicate any more"
    assert one.log.log_end_offset == 3


def test_a_batch_that_is_only_checked_gets_the_answer_of_an_append_and_leaves_nothing(partition: Partitions) -> None:
    one = partition()
    one.append(batch())
    assert one.check(batch(b"1", b"2")).base_offset == 1
    assert one.check(batch()).base_offset == 1, "the first check kept nothing"
    assert one.check(sequenced(0)).error is ErrorCode.INVALID_REQUEST
    assert one.check(batch()[:-1] + b"?").error is ErrorCode.CORRUPT_MESSAGE
    one.ref.tell(SettingsChanged(replace(WRITTEN, compacted=True), LogSettings()))
    assert one.check(batch(key=None)).error is ErrorCode.INVALID_RECORD
    assert one.append(batch()).base_offset == 1
    assert len(one.log.writes) == 2


def test_a_check_by_a_replica_that_does_not_lead_or_is_gone_is_refused(partition: Partitions) -> None:
    one = partition()
    one.ref.tell(BecomeFollower(2, 2, 0, (1, 2), frozenset({1, 2})))
    assert one.check(batch()).error is ErrorCode.NOT_LEADER_OR_FOLLOWER
    one.ref.tell("nonsense")
    assert one.check(batch()).error is ErrorCode.KAFKA_STORAGE_ERROR


# --- a disk that fails --------------------------------------------------------------------------------------------


def test_a_full_disk_refuses_appends_and_takes_them_again_when_there_is_room(partition: Partitions) -> None:
    one = partition()
    one.append(batch(b"kept"))
    one.disk.space_bytes = 100
    refused = [one.tell(batch(b"refused")) for _ in range(3)]
    one.go()
    assert {answer.error for answer in refused} == {ErrorCode.KAFKA_STORAGE_ERROR}
    assert one.ref.is_alive()
    one.disk.space_bytes = None
    assert one.append(batch(b"after")).base_offset == 1
    assert [decode_records(payload)[0].value for payload in one.payloads()] == [b"kept", b"after"]


def test_a_full_disk_is_said_once_and_so_is_its_end(partition: Partitions, caplog: pytest.LogCaptureFixture) -> None:
    one = partition(WRITTEN)
    one.disk.space_bytes = 100
    for _ in range(5):
        one.append(batch(b"refused"))
    [line] = caplog.records
    assert (line.levelname, line.getMessage()) == ("ERROR", "the disk refuses appends")
    assert "No space left" in line.__dict__["reason"]
    one.disk.space_bytes = None
    for _ in range(5):
        one.append(batch(b"taken"))
    assert [line.getMessage() for line in caplog.records[1:]] == ["the disk takes appends again"]


def test_a_disk_that_fails_to_write_refuses_appends_and_costs_nothing_acknowledged(partition: Partitions) -> None:
    one = partition(FLUSHED)
    one.append(batch(b"kept"))
    one.disk.write_error = errno.EIO
    refused = [one.append(batch(b"refused" * 20)) for _ in range(10)]
    assert {answer.error for answer in refused} == {ErrorCode.KAFKA_STORAGE_ERROR}
    assert one.ref.is_alive()
    one.disk.write_error = None
    assert one.append(batch(b"after")).base_offset == 1
    one.disk.crash()
    one.start()
    assert [decode_records(payload)[0].value for payload in one.payloads()] == [b"kept", b"after"]


def test_an_append_to_a_removed_file_is_refused_and_what_it_held_is_read_on(
    partition: Partitions, caplog: pytest.LogCaptureFixture
) -> None:
    one = partition(FLUSHED)
    one.append(batch(b"kept"))
    one.hold_flushes()
    waiting = one.append(batch(b"in the file that goes"))
    one.disk.unlink(one.log.segments()[-1].path)
    one.let_flushes_go()
    assert waiting.error is ErrorCode.KAFKA_STORAGE_ERROR
    assert one.append(batch(b"refused")).error is ErrorCode.KAFKA_STORAGE_ERROR
    assert one.ref.is_alive(), "opened anew, the log would be empty"
    assert one.state.high_watermark == 1
    assert decode_records(one.payloads()[0])[0].value == b"kept"
    messages = [line.getMessage() for line in caplog.records]
    assert messages == ["a segment's file was removed or replaced by somebody else", "the disk refuses appends"]


def test_upkeep_finds_a_file_that_is_gone(partition: Partitions, caplog: pytest.LogCaptureFixture) -> None:
    one = partition()
    one.append(batch(b"kept", at_ms=one.node.clock.now_ms()))
    one.disk.unlink(one.log.segments()[-1].path)
    one.ref.tell(Maintain())
    one.go()
    assert [line.getMessage() for line in caplog.records] == [
        "a segment's file was removed or replaced by somebody else"
    ]
    assert one.log.fault is not None


def test_after_a_failed_flush_everybody_is_answered_once_and_nothing_is_promised(partition: Partitions) -> None:
    one = partition(FLUSHED)
    one.append(batch(b"safe"))
    one.hold_flushes()
    waiting = [one.append(batch()) for _ in range(3)]
    reader = one.wait_for_more(1)
    one.disk.sync_error = errno.EIO
    unhandled = one.tell(batch())
    one.let_flushes_go()
    one.go(1.0)
    assert not one.ref.is_alive()
    assert {answer.error for answer in (*waiting, unhandled)} == {ErrorCode.KAFKA_STORAGE_ERROR}
    assert one.state.high_watermark == 1
    assert reader.told == 1


@pytest.mark.parametrize("what", ["the log", "the producers"])
def test_an_actor_that_fails_answers_everybody_exactly_once(
    partition: Partitions, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    one = partition(FLUSHED)
    one.hold_flushes()
    waiting = one.append(sequenced(0))

    def fail(*_: object) -> None:
        msg = "a bug"
        raise AssertionError(msg)

    if what == "the log":
        monkeypatch.setattr(one.log, "append", fail)
    else:
        monkeypatch.setattr(PartitionState, "admit", fail)
    answers = [one.tell(sequenced(number)) for number in (0, 1, 2)] + [one.tell(batch())]
    one.go(1.0)
    assert not one.ref.is_alive()
    assert {answer.error for answer in (waiting, *answers)} == {ErrorCode.KAFKA_STORAGE_ERROR}


def test_a_write_that_fails_for_good_before_a_duplicate_answers_the_duplicate_too(
    partition: Partitions, monkeypatch: pytest.MonkeyPatch
) -> None:

    one = partition()

    def refuse(_: object) -> None:
        msg = "gone"
        raise StorageFailureError(msg, fatal=True)

    monkeypatch.setattr(one.log, "append", refuse)
    answers = [one.tell(sequenced(0)), one.tell(sequenced(0))]
    one.go(1.0)
    assert [answer.error for answer in answers] == [ErrorCode.KAFKA_STORAGE_ERROR] * 2


def test_appends_to_an_actor_that_has_failed_raise(partition: Partitions) -> None:
    one = partition()
    one.ref.tell("nonsense")
    one.go()
    with pytest.raises(pykka.ActorDeadError):
        one.tell(batch())


# --- refusals -----------------------------------------------------------------------------------------------------


def _flipped(payload: bytes, position: int) -> bytes:
    damaged = bytearray(payload)
    damaged[position] ^= 1
    return bytes(damaged)


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (_flipped(batch(b"value"), HEADER_SIZE + 2), ErrorCode.CORRUPT_MESSAGE),
        (batch()[:-1], ErrorCode.INVALID_RECORD),
        (batch() + batch(), ErrorCode.INVALID_RECORD),
        (b"", ErrorCode.INVALID_RECORD),
    ],
)
def test_a_batch_that_is_not_sound_is_refused_alone(partition: Partitions, payload: bytes, code: ErrorCode) -> None:
    one = partition()
    before, refused, after = one.tell(batch()), one.tell(payload), one.tell(batch())
    one.go()
    assert (before.base_offset, refused.error, after.base_offset) == (0, code, 1)


def test_a_compacted_topic_refuses_records_without_a_key(partition: Partitions) -> None:
    one = partition(replace(WRITTEN, compacted=True))
    assert one.append(batch(key=None)).error == ErrorCode.INVALID_RECORD
    assert one.append(batch(key=None, codec=Codec.LZ4)).error == ErrorCode.INVALID_RECORD
    assert one.append(batch(key=b"k")).base_offset == 0


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_a_topics_own_compression_type_replaces_the_producers(partition: Partitions, codec: str) -> None:
    one = partition(replace(WRITTEN, compression_type=codec))
    sent = batch(b"a" * 500, b"b" * 500, codec=Codec.NONE if codec != "none" else Codec.GZIP)
    one.append(sent)
    (stored,) = one.payloads()
    assert read_header(stored).codec == Codec[codec.upper()]
    assert [record.value for record in decode_records(stored)] == [b"a" * 500, b"b" * 500]


def test_log_append_time_replaces_the_producers_time_and_is_answered(partition: Partitions) -> None:
    one = partition(replace(WRITTEN, log_append_time=True))
    answer = one.append(batch(b"a", b"b", at_ms=5))
    (stored,) = one.payloads()
    assert answer.append_time_ms > 5
    assert {record.timestamp_ms for record in decode_records(stored)} == {answer.append_time_ms}


def test_create_time_is_kept_and_no_append_time_is_answered(partition: Partitions) -> None:
    one = partition()
    assert one.append(batch(at_ms=5)).append_time_ms == -1
    assert decode_records(one.payloads()[0])[0].timestamp_ms == 5


# --- readers ------------------------------------------------------------------------------------------------------


def test_a_reader_that_is_behind_is_told_at_once(partition: Partitions) -> None:
    one = partition()
    one.append(batch())
    assert one.wait_for_more(0).told == 1


def test_a_reader_is_told_until_it_has_had_enough(partition: Partitions) -> None:
    one = partition()
    once, twice = one.wait_for_more(0), one.wait_for_more(0, times=2)
    for _ in range(3):
        one.append(batch())
    assert (once.told, twice.told) == (1, 2)


def test_a_replica_is_told_of_what_is_written_and_a_consumer_of_what_is_visible(partition: Partitions) -> None:
    one = partition(isr=(1, 2), replicas=(1, 2))
    replica, consumer = one.wait_for_more(0, follower=True), one.wait_for_more(0)
    one.append(batch())
    assert (replica.told, consumer.told) == (1, 0)
    one.ref.tell(FollowerFetched(2, 1))
    one.go()
    assert consumer.told == 1


# --- replication --------------------------------------------------------------------------------------------------


def test_acks_all_waits_for_every_in_sync_replica(partition: Partitions) -> None:
    one = partition(isr=(1, 2), replicas=(1, 2))
    first, second = one.append(batch()), one.append(batch())
    one.ref.tell(FollowerFetched(2, 1))
    one.go()
    assert first.base_offset == 0
    assert second.waits
    one.lead(isr=(1,))
    one.go()
    assert second.base_offset == 1


def test_a_fetch_of_somebody_who_is_no_replica_stops_nothing(partition: Partitions) -> None:
    one = partition(isr=(1, 2), replicas=(1, 2))
    waiting = one.append(batch())
    for broker, offset in ((5, 1), (2, 99), (1, 1)):
        one.ref.tell(FollowerFetched(broker, offset))
    one.go()
    assert one.ref.is_alive()
    assert waiting.waits


def test_when_the_leader_moves_those_who_wait_are_told_to_look_again(partition: Partitions) -> None:
    one = partition(isr=(1, 2), replicas=(1, 2))
    waiting, reader = one.append(batch()), one.wait_for_more(1)
    one.ref.tell(BecomeFollower(2, 2, 0, (1, 2), frozenset({1, 2})))
    one.go()
    assert (waiting.error, reader.told) == (ErrorCode.NOT_LEADER_OR_FOLLOWER, 1)
    assert one.append(batch()).error == ErrorCode.NOT_LEADER_OR_FOLLOWER


class Followed:
    """A follower's fetcher, in the tests' hands."""

    def __init__(self) -> None:
        self.words: list[bool] = []

    def __call__(self, *, current: bool) -> None:
        self.words.append(current)


def test_a_follower_appends_only_what_it_lacks_and_what_is_of_its_leader_epoch(partition: Partitions) -> None:
    source, copy = partition(), partition(leads=False)
    for number in range(4):
        source.append(sequenced(number, b"%d" % number))
    payloads = source.payloads()
    copy.ref.tell(BecomeFollower(2, 1, 0, (1, 2), frozenset({1, 2})))
    followed = Followed()
    for first, last, epoch in ((0, 2, 1), (1, 4, 1), (0, 4, 0)):
        records = memoryview(b"".join(payloads[first:last]))
        copy.ref.tell(FollowerAppend(records, 3, 1, epoch, applied=followed))
    copy.go()
    assert followed.words == [True, True, False]
    assert (copy.log.log_start_offset, copy.log.log_end_offset, copy.state.high_watermark) == (1, 4, 3)
    assert copy.payloads() == payloads[1:]


def test_a_damaged_batch_from_a_leader_is_never_appended(partition: Partitions) -> None:
    source, copy = partition(), partition(leads=False)
    source.append(batch(b"value"))
    copy.ref.tell(BecomeFollower(2, 1, 0, (1, 2), frozenset({1, 2})))
    damaged = _flipped(source.payloads()[0], HEADER_SIZE + 2)
    copy.ref.tell(FollowerAppend(memoryview(damaged), 1, 0, 1))
    copy.go()
    assert copy.log.log_end_offset == 0


def test_a_truncation_of_another_leader_epoch_cuts_nothing(partition: Partitions) -> None:
    one = partition()
    one.append(batch())
    followed = Followed()
    one.ref.tell(TruncateTo(0, 1, followed))
    one.ref.tell(BecomeFollower(2, 2, 0, (1, 2), frozenset({1, 2})))
    one.ref.tell(TruncateTo(0, 1, followed))
    one.go()
    assert (followed.words, one.log.log_end_offset) == ([False, False], 1)


# --- the rest -----------------------------------------------------------------------------------------------------


def test_delete_records_moves_the_start_up_to_the_high_watermark_and_never_back(partition: Partitions) -> None:
    one = partition()
    for _ in range(5):
        one.append(batch())
    assert one.ask(DeleteRecords(3)) == 3
    assert one.ask(DeleteRecords(2)) == 3
    with pytest.raises(KafkaError, match="offset 6"):
        one.ask(DeleteRecords(6))
    assert one.ask(DeleteRecords(-1)) == 5
    assert one.log.log_start_offset == 5


def test_records_that_are_not_visible_cannot_be_deleted(partition: Partitions) -> None:
    one = partition(FLUSHED)
    one.append(batch())
    one.hold_flushes()
    one.append(batch())
    with pytest.raises(KafkaError, match="offset 2"):
        one.ask(DeleteRecords(2))
    assert one.ask(DeleteRecords(-1)) == 1


def test_new_settings_hold_from_the_next_append_on(partition: Partitions) -> None:
    one = partition()
    one.append(batch(b"x" * 200))
    one.ref.tell(SettingsChanged(replace(WRITTEN, max_message_bytes=150), LogSettings()))
    assert one.append(batch(b"x" * 200)).error == ErrorCode.MESSAGE_TOO_LARGE
    assert one.append(batch(b"x")).base_offset == 1


def test_when_flushing_is_no_longer_asked_for_those_who_wait_for_it_are_answered(partition: Partitions) -> None:
    one = partition(FLUSHED)
    one.hold_flushes()
    waiting = one.append(batch())
    one.ref.tell(SettingsChanged(WRITTEN, LogSettings()))
    one.go()
    assert waiting.base_offset == 0


@pytest.mark.parametrize(
    ("message", "code"),
    [(DeleteLog(), ErrorCode.UNKNOWN_TOPIC_OR_PARTITION), (CloseLog(lambda _: None), ErrorCode.NOT_LEADER_OR_FOLLOWER)],
)
def test_at_the_end_everybody_who_waits_is_answered_once(
    partition: Partitions, message: object, code: ErrorCode
) -> None:
    one = partition(isr=(1, 2), replicas=(1, 2))
    waiting, reader = one.append(batch()), one.wait_for_more(1)
    one.ref.tell(message)
    one.go(40.0)
    assert (waiting.error, reader.told) == (code, 1)
