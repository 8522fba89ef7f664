"""The rules behind spans, flow and thresholds, on notes made by hand."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from uuid import UUID

import pytest

from klamm.records.compression import Codec
from klamm.records.flow_schema import RESOLUTION_US, FlowRange
from klamm.records.record import Record, build_batch
from klamm.storage.row import LogRow
from klamm.telemetry.flow import FlowRecorder, Names
from klamm.telemetry.journal import (
    NOTES_MAX,
    Advanced,
    Committed,
    Fetched,
    FetchedRange,
    Journal,
    Note,
    Replicated,
    Request,
    TopicKey,
    Write,
    Written,
)
from klamm.telemetry.message_spans import MessageTracer
from klamm.telemetry.request_spans import SLOW_NS_MIN, RequestTracer, SlowThresholds
from klamm.telemetry.requests import NEVER_SLOW, RequestStats
from klamm.telemetry.spans import TokenBucket, TraceContext, parse_traceparent

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def _by_name(key: TopicKey) -> str | None:
    return key if isinstance(key, str) else None


def _no_links(_partition: str, _first: int, _end: int) -> tuple[TraceContext, ...]:
    return ()


NAMES = Names(_by_name, {("c", "h"): frozenset({"g"})})


@pytest.mark.parametrize(
    ("value", "sampled"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"00-{TRACE}-{SPAN}-00", False),
        (f"00-{TRACE}-{SPAN}-03", True),
        (f"01-{TRACE}-{SPAN}-01-more", True),
    ],
)
def test_a_traceparent_is_read(value: str, sampled: bool) -> None:  # noqa: FBT001
    assert parse_traceparent(value.encode()) == TraceContext(int(TRACE, 16), int(SPAN, 16), sampled)


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"\xff\xfe",
        f"00-{TRACE}-{SPAN}-01-more".encode(),
        f"00-{TRACE}-{SPAN}-1".encode(),
        f"ff-{TRACE}-{SPAN}-01".encode(),
        f"00-{TRACE.upper()}-{SPAN}-01".encode(),
        f"00-{'0' * 32}-{SPAN}-01".encode(),
        f"00-{TRACE}-{'0' * 16}-01".encode(),
        f"00-{TRACE}-{SPAN}-01\n".encode(),
    ],
)
def test_a_malformed_traceparent_is_none(value: bytes | None) -> None:
    assert parse_traceparent(value) is None


def test_a_token_bucket_allows_its_rate_and_counts_the_rest() -> None:
    bucket = TokenBucket(2)
    bucket.refill(0.0)
    assert [bucket.take() for _ in range(4)] == [True, True, False, False]
    bucket.refill(0.5)
    assert [bucket.take() for _ in range(2)] == [True, False]
    assert bucket.refused == 3
    bucket.refill(100.0)
    assert bucket.left == 2


def test_a_journal_that_is_full_counts_what_it_loses() -> None:
    journal = Journal()
    note = Advanced("t-0", 1, 0, 1)
    for _ in range(NOTES_MAX + 3):
        journal.add(note)
    assert (len(journal.collect()), journal.lost, journal.notes) == (NOTES_MAX, 3, [])


def test_what_a_client_writes_within_a_short_time_is_one_note() -> None:
    journal = Journal()

    def row(offset: int, client_id: bytes) -> LogRow:
        return LogRow.of_batch(bytes(build_batch([Record(offset, 0, None, b"v")])), client_id=client_id)

    journal.window_ns = 2**62
    first = journal.written(None, "t-0", [row(0, b"a")], 1, 0)
    assert journal.written(first, "t-0", [row(1, b"a"), row(2, b"a")], 3, 0) is first
    other = journal.written(first, "t-0", [row(3, b"a"), row(4, b"b"), row(5, b"a")], 6, 0)
    assert journal.collect()[0] is first
    assert (first.first_offset, first.end_offset, first.batch_count, first.high_watermark) == (0, 3, 3, 3)
    later = journal.written(other, "t-0", [row(6, b"a")], 7, 0)
    assert later is not other
    assert [(one.client_id, one.first_offset) for one in journal.notes if isinstance(one, Written)] == [(b"a", 6)]


def test_a_note_that_grows_keeps_when_each_write_was_done_where_that_is_wanted() -> None:
    def row(offset: int) -> LogRow:
        return LogRow.of_batch(bytes(build_batch([Record(offset, 0, None, b"v")])), client_id=b"a")

    journal = Journal()
    journal.window_ns, journal.is_exact = 2**62, True
    note = journal.written(None, "t-0", [row(0)], 0, 10)
    for offset, high_watermark in ((1, 0), (2, 2), (3, 3)):
        assert journal.written(note, "t-0", [row(offset)], high_watermark, 10 * (offset + 1)) is note
    writes = [note.write_of(offset) for offset in range(4)]
    assert [(one.end_offset, one.high_watermark, one.began_ns) for one in writes] == [
        (1, 0, 10), (2, 0, 20), (3, 2, 30), (4, 3, 40),
    ]  # fmt: skip
    assert [one.written_ns for one in writes] == sorted(one.written_ns for one in writes)
    assert [note.passing(offset) for offset in range(4)] == [writes[2], writes[2], writes[3], None]


def test_the_writes_of_a_note_that_does_not_keep_them_are_one() -> None:
    note = Written("t-0", b"c", (0, 9), 3, 5, (100, 200))
    assert note.write_of(4) == note.passing(4) == Write(9, 5, 100, 200)
    assert note.passing(5) is None


def _written(base: int, end: int, at_ns: int, high_watermark: int | None = None) -> Written:
    return Written("t-0", b"c", (base, end), 1, end if high_watermark is None else high_watermark, (at_ns, at_ns))


def _flow(recorder: FlowRecorder, *notes: Note) -> dict[str, tuple[FlowRange, ...]]:
    records = recorder.records(notes, NAMES, lambda ns: ns // 1000)
    return {one.kind: one.ranges for one in records}


def test_ranges_that_follow_within_the_resolution_are_one() -> None:
    step_ns = RESOLUTION_US * 1000
    flow = _flow(
        FlowRecorder(1), _written(0, 1, 0), _written(1, 2, 1000), _written(2, 3, step_ns), _written(9, 10, step_ns)
    )
    assert flow["append"] == (
        FlowRange(0, 2, 1),
        FlowRange(2, 3, RESOLUTION_US),
        FlowRange(9, 10, RESOLUTION_US),
    )


def test_flow_knows_what_became_visible_was_replicated_and_committed_since_the_last_time() -> None:
    recorder = FlowRecorder(1)
    flow = _flow(
        recorder, _written(0, 5, 1000, 0), Replicated("t-0", 2, 0, 2000), Committed("g", "c", (("t", 0, 2),), 1)
    )
    assert "visible" not in flow
    assert "replicate" not in flow
    assert flow["commit"] == (FlowRange(2, 2, 0),)
    flow = _flow(
        recorder,
        Replicated("t-0", 2, 5, 4000),
        Advanced("t-0", 5, 0, 4000),
        Committed("g", "c", (("t", 0, 5),), 5000),
        Committed("g", "c", (("t", 0, 1),), 6000),
    )
    assert flow["replicate"] == (FlowRange(0, 5, 4),)
    assert flow["visible"] == (FlowRange(0, 5, 4),)
    assert flow["commit"] == (FlowRange(2, 5, 5), FlowRange(1, 1, 6))


def test_a_commit_of_the_same_offset_again_is_not_told() -> None:
    recorder = FlowRecorder(1)
    again = [Committed("g", "c", (("t", 0, 2), ("t", 1, 3 + number)), 1) for number in range(2)]
    assert _flow(recorder, again[0])["commit"] == (FlowRange(3, 3, 0),), "of the last partition"
    records = recorder.records([again[1]], NAMES, lambda ns: ns // 1000)
    assert [(one.partition, one.ranges) for one in records] == [(1, (FlowRange(3, 4, 0),))]
    assert _flow(recorder, again[1]) == {}
    assert _flow(recorder, Committed("g", "c", (("t", 0, 7),), 1))["commit"] == (FlowRange(2, 7, 0),)


def test_a_fetch_of_a_topic_that_is_not_recorded_says_nothing() -> None:
    unknown = UUID(int=7)
    assert _flow(FlowRecorder(1), Fetched("c", "h", 5, ((unknown, 0, 0, 5),), 1)) == {}


def test_responses_that_follow_on_each_other_are_one_note_until_it_is_collected() -> None:
    journal = Journal()
    journal.window_ns = 2**62
    address = "h", 5
    first = journal.fetched(None, "c", address, (("t", 0, 0, 2),))
    began_ns = first.at_ns
    assert journal.fetched(first, "c", address, (("t", 0, 2, 5),)) is first
    assert (first.ranges, first.at_ns > began_ns) == ((("t", 0, 0, 5),), True)
    collected = journal.collect()
    later = journal.fetched(first, "c", address, (("t", 0, 5, 6),))
    assert (collected, first.ranges, journal.notes) == ([first], (("t", 0, 0, 5),), [later])


@pytest.mark.parametrize(
    ("client_id", "ranges"),
    [
        ("c", (("t", 0, 3, 4),)),
        ("c", (("t", 1, 2, 4),)),
        ("c", (("u", 0, 2, 4),)),
        ("c", (("t", 0, 2, 4), ("t", 1, 0, 1))),
        ("d", (("t", 0, 2, 4),)),
    ],
)
def test_a_response_that_does_not_follow_on_the_last_one_is_a_note_of_its_own(
    client_id: str, ranges: tuple[FetchedRange, ...]
) -> None:
    journal = Journal()
    journal.window_ns = 2**62
    first = journal.fetched(None, "c", ("h", 5), (("t", 0, 0, 2),))
    other = journal.fetched(first, client_id, ("h", 5), ranges)
    assert journal.notes == [first, other]
    assert (first.ranges, other.ranges) == ((("t", 0, 0, 2),), ranges)


def test_where_spans_are_wanted_each_response_keeps_its_time() -> None:
    journal = Journal()
    journal.window_ns, journal.is_exact = 2**62, True
    first = journal.fetched(None, "c", ("h", 5), (("t", 0, 0, 2),))
    times = [first.at_ns]
    for offset in (2, 4):
        assert journal.fetched(first, "c", ("h", 5), (("t", 0, offset, offset + 2),)) is first
        times.append(first.at_ns)
    assert journal.notes == [first]
    assert first.ranges == (("t", 0, 0, 6),)
    assert [first.given_ns(offset) for offset in range(6)] == [each for each in times for _ in range(2)]


def _row(base_offset: int, *traceparents: bytes | None) -> LogRow:
    records = [
        Record(base_offset + number, 0, None, b"v", () if one is None else ((b"traceparent", one),))
        for number, one in enumerate(traceparents)
    ]
    return LogRow.of_batch(bytes(build_batch(records)))


class _Log:
    def __init__(self, *rows: LogRow) -> None:
        self.rows = rows
        self.reads = 0

    def read(self, partition: str, offset: int, end_offset: int) -> Iterator[LogRow]:
        assert partition == "t-0"
        for row in self.rows:
            if offset <= row.last_offset < end_offset:
                self.reads += 1
                yield row


SAMPLED = f"00-{TRACE}-{SPAN}-01".encode()


def _tracer(log: _Log, batches: int = 100, messages: int = 20) -> MessageTracer:
    return MessageTracer(log.read, batches, messages)


def test_a_message_dwells_until_a_fetch_and_settles_at_a_commit_each_once_a_group() -> None:
    tracer = _tracer(_Log(_row(0, None, SAMPLED)))
    notes: list[Note] = [
        _written(0, 2, 10, 0),
        Advanced("t-0", 2, 5, 20),
        Fetched("c", "h", 1, (("t", 0, 0, 2),), 30),
        Fetched("c", "h", 1, (("t", 0, 0, 2),), 40),
        Committed("g", "c", (("t", 0, 1),), 50),
        Committed("g", "c", (("t", 0, 2),), 60),
        Committed("g", "c", (("t", 0, 2),), 70),
        Fetched("other", "h", 1, (("t", 0, 0, 2),), 80),
    ]
    spans = tracer.spans(notes, NAMES, 0.0, lambda ns: ns)
    assert [(one.name, one.start_ns, one.end_ns) for one in spans] == [
        ("append t", 10, 10),
        ("replicate t", 10, 20),
        ("dwell t", 20, 30),
        ("settle t", 20, 60),
        ("dwell t", 20, 80),
    ]
    assert spans[-1].attributes["klamm.group.match"] == "none"
    assert {one.context.trace_id for one in spans} == {int(TRACE, 16)}
    assert spans[0].parent == TraceContext(int(TRACE, 16), int(SPAN, 16))


def test_a_message_dwells_until_the_response_that_holds_it_where_several_are_one_note() -> None:
    tracer = _tracer(_Log(_row(0, SAMPLED, SAMPLED)))
    fetched = Fetched("c", "h", 1, (("t", 0, 0, 2),), 40)
    fetched.each += (1, 30)
    spans = tracer.spans([_written(0, 2, 10), fetched], NAMES, 0.0, lambda ns: ns)
    assert [one.end_ns for one in spans if one.name == "dwell t"] == [30, 40]


def test_a_message_that_is_removed_before_a_group_committed_it_is_an_error() -> None:
    tracer = _tracer(_Log(_row(0, SAMPLED)))
    tracer.spans([_written(0, 1, 10), Fetched("c", "h", 1, (("t", 0, 0, 1),), 30)], NAMES, 0.0, lambda ns: ns)
    assert tracer.expired("t-0", 0, 50) == []
    [span] = tracer.expired("t-0", 1, 50)
    assert (span.name, span.error, span.attributes["klamm.groups.unsettled"]) == (
        "expire t",
        "EXPIRED_BEFORE_COMMIT",
        "g",
    )
    assert tracer.expired("t-0", 1, 60) == []


@pytest.mark.parametrize("codec", Codec)
def test_only_records_with_a_sampled_header_are_traced_wherever_they_stand(codec: Codec) -> None:
    unsampled, other = f"00-{TRACE}-{SPAN}-00".encode(), f"00-{TRACE}-{SPAN[::-1]}-01".encode()
    headers = [(b"traceparent", value) for value in (SAMPLED, unsampled, b"00-bad")]
    records = [
        Record(0, 0, None, b"v" * 300, (headers[1],)),
        Record(1, 0, b"k", b"v" * 300, (headers[0],)),
        Record(2, 0, None, b"\x16traceparent\x6e" + SAMPLED),  # a value that looks like a header
        Record(3, 0, None, None, (headers[0], headers[1])),  # the last one counts
        Record(4, 0, None, b"", (headers[2],)),
        Record(5, 0, None, b"v", (headers[1], (b"TraceParent", other), (b"more", None))),
    ]
    tracer = _tracer(_Log(LogRow.of_batch(bytes(build_batch(records, codec=codec)))))
    spans = [one for one in tracer.spans([_written(0, 6, 10)], NAMES, 0.0, lambda ns: ns) if "append" in one.name]
    assert [one.attributes["messaging.kafka.offset"] for one in spans] == [1, 5]
    assert spans[1].parent == TraceContext(int(TRACE, 16), int(SPAN[::-1], 16))
    assert (tracer.counts.inspected, tracer.counts.skipped, tracer.counts.malformed) == (1, 0, 1)


def test_no_more_batches_are_looked_into_than_the_limit_and_the_rest_is_counted() -> None:
    log = _Log(*(_row(number, None) for number in range(100)))
    tracer = _tracer(log, batches=10)
    tracer.spans([_written(number, number + 1, number) for number in range(100)], NAMES, 0.0, lambda ns: ns)
    counts = tracer.counts
    assert counts.inspected == 10
    assert counts.skipped == 90


def test_batches_are_looked_into_in_a_row_so_that_fewer_places_are_read() -> None:
    log = _Log(*(_row(number, None) for number in range(400)))
    reads: list[int] = []

    def read(partition: str, offset: int, end_offset: int) -> Iterator[LogRow]:
        reads.append(offset)
        return islice(log.read(partition, offset, end_offset), 12)

    tracer = MessageTracer(read, 40, 20)
    notes: list[Note] = [
        Written("t-0", b"c", (first, first + 20), 20, first + 20, (1, 1)) for first in range(0, 400, 20)
    ]
    tracer.spans(notes, NAMES, 0.0, lambda ns: ns)
    assert (tracer.counts.inspected, tracer.counts.skipped, len(reads)) == (40, 360, 5)


def test_small_writes_are_read_together() -> None:
    log = _Log(*(_row(number, SAMPLED) for number in range(12)))
    reads: list[int] = []

    def read(partition: str, offset: int, end_offset: int) -> Iterator[LogRow]:
        reads.append(offset)
        return islice(log.read(partition, offset, end_offset), 5)

    tracer = MessageTracer(read, 100, 20)
    spans = tracer.spans([_written(n, n + 1, n) for n in range(12)], NAMES, 0.0, lambda ns: ns)
    traced = [one.attributes["messaging.kafka.offset"] for one in spans if one.name == "append t"]
    assert (traced, reads) == (list(range(12)), [0, 5, 10])


def test_each_message_has_the_times_of_its_own_write() -> None:
    note = Written("t-0", b"c", (0, 3), 3, 3, (10, 35))
    note.each += [1, 0, 10, 15, 2, 2, 20, 25]  # the third is the note's last
    note.last_began_ns = 30
    spans = _tracer(_Log(*(_row(number, SAMPLED) for number in range(3)))).spans([note], NAMES, 0.0, lambda ns: ns)
    times = {
        name: [(one.start_ns, one.end_ns) for one in spans if one.name == name] for name in ("append t", "replicate t")
    }
    assert times == {"append t": [(10, 15), (20, 25), (30, 35)], "replicate t": [(15, 25), (25, 25), (35, 35)]}


def test_no_batch_is_looked_into_where_the_limit_is_zero() -> None:
    log = _Log(_row(0, SAMPLED))
    tracer = _tracer(log, batches=0)
    assert tracer.spans([_written(0, 1, 1)], NAMES, 0.0, lambda ns: ns) == []
    assert (log.reads, tracer.counts.skipped) == (0, 1)


def _request(error_code: int = 0, batches: tuple[tuple[str, int, int], ...] = (), waited_ns: int = 0) -> Request:
    return Request("Produce", 13, 7, "c", "h", 5, error_code, batches, 100, 0, 1000, waited_ns, 9000)


def test_a_slow_request_has_a_span_for_each_hop_and_links_to_what_it_carried() -> None:
    linked = TraceContext(1, 2)

    def links(_partition: str, _first: int, _end: int) -> tuple[TraceContext, ...]:
        return (linked,)

    tracer = RequestTracer(("b", 9092), _by_name, links)
    notes: list[Note] = [
        Written("t-0", b"c", (0, 5), 1, 0, (2000, 3000)),
        Advanced("t-0", 5, 3500, 8000),
        _request(0, (("t", 0, 0),), waited_ns=7500),
    ]
    root, *hops = tracer.spans(notes, 0.0, lambda ns: ns)
    assert (root.name, root.kind, root.start_ns, root.end_ns, root.links) == (
        "produce t",
        "server",
        1000,
        9000,
        (linked,),
    )
    assert [(hop.name, hop.start_ns, hop.end_ns) for hop in hops] == [
        ("mailbox t-0", 1000, 2000),
        ("append t", 2000, 3000),
        ("flush", 3500, 8000),
        ("await.hw", 3000, 8000),
        ("net.write", 8500, 9000),
    ]
    assert all(hop.parent == root.context for hop in hops)


def test_requests_beyond_the_limit_make_no_spans() -> None:
    tracer = RequestTracer(("b", 9092), _by_name, _no_links)
    roots = [one for one in tracer.spans([_request(1)] * 50, 0.0, lambda ns: ns) if one.kind == "server"]
    assert len(roots) == 5
    assert {one.error for one in roots} == {"OFFSET_OUT_OF_RANGE"}


def test_slow_is_what_takes_longer_than_nearly_all() -> None:
    stats = RequestStats()
    assert stats.slow_ns == NEVER_SLOW
    thresholds = SlowThresholds()
    stats.buckets[20] = 995
    stats.buckets[25] = 5
    stats.count = 1000
    thresholds.update([("Produce", stats)])
    assert stats.slow_ns == max(SLOW_NS_MIN, 2**20)
    stats.buckets[25] += 500
    stats.count += 500
    thresholds.update([("Produce", stats)])
    assert stats.slow_ns == 2**25
    thresholds.off([("Produce", stats)])
    assert stats.slow_ns == NEVER_SLOW
