"""``klamm trace`` against klamm and Apache Kafka: the same path from what any cluster keeps."""

import hashlib
import json
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from klamm.client.tracing.otlp import encode_protobuf
from klamm.client.tracing.spans import make_span
from tests.cli.conftest import Klamm
from tests.clients.confluent import init_transactions, make_producer
from tests.support.brokers import Broker
from tests.support.commits import commit
from tests.support.klamm_process import klamm_command
from tests.support.process import ChildProcess, wait_until

RECORDS = 10


def _trace_of(topic: str) -> str:
    """Return the trace id of all messages in a topic: tests share a broker, and a trace has hops in every topic."""
    return hashlib.md5(topic.encode()).hexdigest()


def _filled(klamm: Klamm, broker: Broker, topic: str, *settings: str) -> None:
    created = klamm("topic", "create", topic, "-p", "2", *settings, "-b", broker.bootstrap)
    assert created.code == 0, created.err
    producer, now_ms = make_producer(broker), int(time.time() * 1000)
    for number in range(RECORDS):
        headers: list[tuple[str, str | bytes | None]] = [("traceparent", f"00-{_trace_of(topic)}-b7ad6b7169203331-01")]
        producer.produce(topic, b"value", str(number).encode(), partition=1, timestamp=now_ms, headers=headers)
    assert producer.flush(60) == 0


def _commit(broker: Broker, group: str, topic: str, offsets: Sequence[int]) -> None:
    commit(broker.bootstrap, group, *({(topic, 1): offset} for offset in offsets))


def _reading(broker: Broker, group: str, topic: str) -> Consumer:
    """Return a member that has every partition and has committed nothing."""
    consumer = Consumer(
        {
            "bootstrap.servers": broker.bootstrap,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "client.id": "reader",
        }
    )
    consumer.subscribe([topic])
    deadline = time.monotonic() + 40
    while not consumer.assignment():
        assert time.monotonic() < deadline, "no assignment"
        consumer.poll(0.1)
    return consumer


def test_a_path_says_who_passed_it_who_did_not_and_from_what_it_is_known(
    klamm: Klamm, any_broker: Broker, topic: str
) -> None:
    _filled(klamm, any_broker, topic)
    before_ms = time.time() * 1000
    _commit(any_broker, f"{topic}-past", topic, [2, 3, 6, 9])
    _commit(any_broker, f"{topic}-stopped", topic, [3])
    reader = _reading(any_broker, f"{topic}-new", topic)
    try:
        found = klamm("trace", "path", f"{topic}:1@5", "-b", any_broker.bootstrap, "-o", "json")
        picture = klamm("trace", f"{topic}:1@5", "-b", any_broker.bootstrap)
    finally:
        reader.close()
    assert found.code == 0, found.err
    hops = {hop["hop"]: hop for hop in found.items if hop["group"] is None}
    assert list(hops)[:2] == ["produce", "append"]
    assert hops["produce"]["evidence"] == "inferred"
    assert hops["produce"]["start_ms"] <= before_ms + 1000
    assert hops["produce"]["trace_id"] == _trace_of(topic)
    assert hops["append"]["broker"] == 1
    if any_broker.name == "apache_kafka":  # a klamm broker may know: it writes down who appended, and when
        assert (hops["append"]["start_ms"], hops["append"]["bound"]) == (None, "unknown")
    groups = {hop["group"].removeprefix(topic): hop for hop in found.items if hop["group"] is not None}
    past = groups["-past"]
    assert (past["hop"], past["evidence"], past["bound"], past["committed_offset"]) == ("commit", "commit", "exact", 6)
    assert past["end_ms"] >= hops["produce"]["start_ms"]
    stopped = groups["-stopped"]
    assert (stopped["hop"], stopped["lag"], stopped["state"], stopped["end_ms"]) == ("pending", 3, "empty", None)
    new = groups["-new"]
    assert (new["hop"], new["lag"], new["state"], new["client_id"]) == ("pending", None, "no_commit", "reader")
    assert picture.code == 0
    assert [line for line in picture.out.splitlines() if line.startswith("commit")]
    assert "not yet" in picture.out


def test_append_time_is_the_brokers_and_the_producers_is_not_known(
    klamm: Klamm, any_broker: Broker, topic: str
) -> None:
    _filled(klamm, any_broker, topic, "--config", "message.timestamp.type=LogAppendTime")
    found = klamm("trace", f"{topic}:1@0", "-b", any_broker.bootstrap, "-o", "json")
    by_hop = {hop["hop"]: hop for hop in found.items}
    assert by_hop["produce"]["start_ms"] is None
    assert by_hop["append"]["start_ms"] > 0


def test_an_offset_without_a_record_says_which_kind_of_nothing_it_is(
    klamm: Klamm, any_broker: Broker, topic: str
) -> None:
    _filled(klamm, any_broker, topic, "--config", "retention.ms=3600000")
    _commit(any_broker, topic, topic, [2])
    at = ("-b", any_broker.bootstrap, "-o", "json")
    for offset in (RECORDS, RECORDS + 5):
        beyond = klamm("trace", f"{topic}:1@{offset}", *at)
        assert (beyond.code, beyond.codes, beyond.items) == (1, ["OFFSET_BEYOND_END"], [])
    assert klamm("topic", "trim", topic, "--before", "5", "--confirm", topic, *at).code == 0
    deleted = klamm("trace", f"{topic}:1@3", *at)
    assert (deleted.code, deleted.codes) == (1, ["OFFSET_DELETED"])
    assert "retention.ms=3600000" in deleted.envelope["errors"][0]["message"]
    lost = [(hop["group"], hop["state"]) for hop in deleted.items if hop["hop"] == "pending"]
    assert lost == [(topic, "lost")], "what a klamm broker told of it may stand there as well"


def test_a_timestamp_from_the_future_is_a_warning(klamm: Klamm, any_broker: Broker, topic: str) -> None:
    _filled(klamm, any_broker, topic)
    producer = make_producer(any_broker)
    producer.produce(topic, b"early", partition=1, timestamp=int(time.time() * 1000) + 600_000)
    assert producer.flush(60) == 0
    _commit(any_broker, topic, topic, [RECORDS + 1])
    found = klamm("trace", f"{topic}:1@{RECORDS}", "-b", any_broker.bootstrap, "-o", "json")
    assert [note["code"] for note in found.envelope["notes"]] == ["clock_skew"]
    assert [hop["evidence"] for hop in found.items if hop["hop"] == "commit"] == ["commit"]


def test_a_line_that_names_no_message_says_how_one_is_named(klamm: Klamm, shared_klamm: Broker, topic: str) -> None:
    at = ("-b", shared_klamm.bootstrap, "-o", "json")
    assert klamm("trace", "orders:3", *at).code == 2
    assert klamm("trace", f"orders:3@{2**63}", *at).codes == ["USAGE"]
    assert "Did you mean 'path'" in klamm("trace", "pth", *at).envelope["errors"][0]["message"]
    assert klamm("trace", f"{topic}:0@0", *at).codes == ["UNKNOWN_TOPIC_OR_PARTITION"]
    assert klamm("topic", "create", topic, "-b", shared_klamm.bootstrap).code == 0
    assert klamm("trace", f"{topic}:7@0", *at).codes == ["UNKNOWN_TOPIC_OR_PARTITION"]
    assert klamm("trace", f"{topic}:0@0", *at).codes == ["OFFSET_BEYOND_END"]


def test_a_trace_is_found_in_all_topics_in_every_dialect_with_proof_of_how_much_was_looked_at(
    klamm: Klamm, any_broker: Broker, topic: str
) -> None:
    trace, span = secrets.token_hex(16), "b7ad6b7169203331"
    dialects: list[list[tuple[str, str | bytes | None]]] = [
        [("traceparent", f"00-{trace}-{span}-01")],
        [("b3", f"{trace}-{span}-1")],
        [("b3", f"{trace.title()}-{span}-1")],  # upper case only behind digits
        [("Uber-Trace-Id", f"{trace[:16].upper()}{trace[16:]}:{span}:0:1")],
        [("X-B3-TraceId", trace), ("X-B3-SpanId", span)],
        [("uber-trace-id", f"{trace.lstrip('0')}:{span}:0:1")],
        [
            ("x-datadog-trace-id", str(int(trace[16:], 16))),
            ("x-datadog-parent-id", "7"),
            ("x-datadog-tags", f"_dd.p.tid={trace[:16]}"),
        ],
    ]
    others: list[list[tuple[str, str | bytes | None]]] = [
        [("traceparent", f"00-{trace}")],
        [("other", trace)],
        [("traceparent", b"\xff")],
        [],
    ]
    producer = make_producer(any_broker, compression_type="zstd")
    for number, name in enumerate((topic, f"{topic}-2")):
        assert klamm("topic", "create", name, "-p", "2", "-b", any_broker.bootstrap).code == 0
        for headers in [*dialects, *others]:
            producer.produce(name, b"value", b"key", partition=number, headers=headers)
    assert producer.flush(60) == 0
    at = ("-b", any_broker.bootstrap, "-o", "json")
    found = klamm("trace", "find", trace.upper(), "--from", "-1h", *at)
    assert found.code == 0, found.err
    assert sorted(item["name"] for item in found.items) == sorted(
        f"{name}:{number}@{offset}" for number, name in enumerate((topic, f"{topic}-2")) for offset in range(7)
    )
    assert {item["found_by"] for item in found.items} == {"traceparent", "b3", "uber-trace-id", "datadog"}
    [coverage] = found.envelope["notes"]
    assert (coverage["code"], coverage["is_complete"]) == ("coverage", True)
    between = klamm("trace", "find", trace, "--topic", topic, "--from", "1..3", *at)
    assert [item["name"] for item in between.items] == [f"{topic}:0@1", f"{topic}:0@2"], between.err
    until_now = klamm("trace", "find", trace, "--topic", topic, "--from", "-1h..now", *at)
    assert len(until_now.items) == 7
    twice = klamm("trace", "find", trace, "--from", "1..3", "--until", "4", *at)
    assert (twice.code, "has an end already" in twice.err) == (2, True)
    some = klamm("trace", "find", "--header", f"other={trace}", "--topic", f"{topic}*", *at)
    assert {item["name"] for item in some.items} == {f"{topic}:0@8", f"{topic}-2:1@8"}  # as partitions answer
    assert len(some.items) == 2
    assert some.envelope["notes"][0]["records"] == 22
    assert klamm("trace", "find", trace[::-1], "--topic", topic, *at).items == []
    short = klamm("trace", "find", trace[:8].upper(), "--topic", topic, *at).items
    assert {item["trace_id"] for item in short} == {trace}
    assert all(item["found_by"] for item in short)
    missing = klamm("trace", "find", trace, "--topic", f"{topic}-none", *at)
    assert (missing.code, missing.codes) == (2, ["UNKNOWN_TOPIC_OR_PARTITION"])
    nowhere = klamm("trace", "find", trace, "--topic", f"{topic}-none*", "-b", any_broker.bootstrap)
    assert nowhere.code == 2
    assert "looked at" not in nowhere.err, "nothing was"


def test_a_correlation_id_and_a_key_are_found_too(klamm: Klamm, shared_klamm: Broker, topic: str) -> None:
    producer = Producer({"bootstrap.servers": shared_klamm.bootstrap})
    assert klamm("topic", "create", topic, "-b", shared_klamm.bootstrap).code == 0
    producer.produce(topic, b"v", b"order-1", headers={"kafka_correlationId": topic})
    producer.produce(topic, b"v", b"order-2")
    assert producer.flush(60) == 0
    at = ("-b", shared_klamm.bootstrap, "-o", "json")
    assert [item["offset"] for item in klamm("trace", "find", topic, *at).items] == [0]
    assert [item["offset"] for item in klamm("trace", "find", "--key", "order-2", "--topic", topic, *at).items] == [1]
    assert klamm("trace", "find", "-b", shared_klamm.bootstrap).code == 2


def test_on_klamm_the_broker_says_who_wrote_it_and_when_each_group_fetched_it(
    klamm: Klamm, klamm_server: Broker, topic: str
) -> None:
    at = ("-b", klamm_server.bootstrap, "-o", "json")
    assert klamm("topic", "create", topic, *at).code == 0
    klamm("trace", f"{topic}:0@0", *at)  # the first who asks for a record of flows makes the broker begin one
    consumer = _reading(klamm_server, topic, topic)
    producer = Producer({"bootstrap.servers": klamm_server.bootstrap, "client.id": "shop"})
    producer.produce(topic, b"order")
    assert producer.flush(60) == 0
    deadline = time.monotonic() + 40
    while (message := consumer.poll(0.5)) is None or message.error():
        assert time.monotonic() < deadline, "nothing came"
    consumer.commit(message=message, asynchronous=False)
    while True:
        hops = {hop["hop"]: hop for hop in klamm("trace", f"{topic}:0@0", *at).items}
        if {"append", "fetch", "commit"} <= hops.keys() and hops["append"]["evidence"] == "span":
            break
        assert time.monotonic() < deadline, hops
        time.sleep(0.2)
    consumer.close()
    assert hops["append"]["client_id"] == hops["produce"]["client_id"] == "shop"
    assert (hops["fetch"]["group"], hops["fetch"]["client_id"]) == (topic, "reader")
    assert hops["append"]["end_ms"] <= hops["fetch"]["end_ms"] <= hops["commit"]["end_ms"] + 20


def test_a_slow_a_stopped_and_a_crashed_consumer_are_told_apart(klamm: Klamm, any_broker: Broker, topic: str) -> None:
    _filled(klamm, any_broker, topic)
    slow = _reading(any_broker, f"{topic}-slow", topic)
    crashed = _reading(any_broker, f"{topic}-crashed", topic)  # it holds its partitions and never commits again
    read = 0

    def looked_at() -> dict[str, dict[str, Any]]:
        """Have the slow one commit on, and look: after five times as long as between two commits it were stalled."""
        nonlocal read
        read += 1
        slow.commit(offsets=[TopicPartition(topic, 1, read)], asynchronous=False)
        found = klamm("trace", f"{topic}:1@8", "-b", any_broker.bootstrap, "-o", "json")
        return {hop["group"].removeprefix(f"{topic}-"): hop for hop in found.items if hop["hop"] == "pending"}

    try:
        crashed.commit(offsets=[TopicPartition(topic, 1, 4)], asynchronous=False)
        _commit(any_broker, f"{topic}-stopped", topic, [5])
        hops = looked_at()
        while hops["slow"]["state"] == "stalled" and read < RECORDS - 2:
            hops = looked_at()
    finally:
        slow.close()
        crashed.close()
    assert {name: (hop["state"], hop["lag"]) for name, hop in hops.items()} == {
        "slow": ("reading", 9 - read),
        "crashed": ("stalled", 5),
        "stopped": ("empty", 4),
    }
    assert hops["slow"]["rate_per_s"] > 0
    assert hops["slow"]["eta_ms"] > time.time() * 1000 - 60_000
    assert hops["crashed"]["eta_ms"] is hops["stopped"]["eta_ms"] is None
    assert hops["slow"]["client_id"] == "reader"


def test_a_path_is_beside_the_median_of_messages_of_its_route(klamm: Klamm, any_broker: Broker, topic: str) -> None:
    _filled(klamm, any_broker, topic)
    _commit(any_broker, topic, topic, range(1, RECORDS))
    time.sleep(1)
    _commit(any_broker, topic, topic, [RECORDS])
    at = ("--diff", "-b", any_broker.bootstrap)
    found = klamm("trace", f"{topic}:1@{RECORDS - 1}", *at, "-o", "json")
    [note] = [note for note in found.envelope["notes"] if note["code"] == "compared"]
    assert (note["looked_at"], note["names"]) == (RECORDS - 1, [f"{topic}:1@{n}" for n in range(RECORDS - 1)]), note
    [passed] = [hop for hop in found.items if hop["hop"] == "commit"]
    assert passed["duration_ms"] > passed["median_ms"] + 900
    assert note["median_total_ms"] < note["total_ms"]
    drawn = klamm("trace", f"{topic}:1@{RECORDS - 1}", *at).out
    assert f"beside the median of 9 of 9 messages before it, which took the same route: {topic}:1@0 to" in drawn
    few = klamm("trace", f"{topic}:1@2", *at).out
    assert "no median: 2 of 2 messages before it took the same route, and 5 are needed" in few
    assert "no median: there is no message before it" in klamm("trace", f"{topic}:1@0", *at).out


def test_messages_are_followed_live_until_every_group_has_passed_them(
    any_broker: Broker, klamm: Klamm, topic: str, tmp_path: Path
) -> None:
    _filled(klamm, any_broker, topic)
    reader = _reading(any_broker, topic, topic)
    reader.commit(offsets=[TopicPartition(topic, 1, RECORDS)], asynchronous=False)
    command = klamm_command(
        "trace", "follow", "--topic", topic, "--count", "3", "-o", "jsonl", "-b", any_broker.bootstrap
    )
    process = ChildProcess(command, tmp_path / "follow.log")
    try:
        wait_until(lambda: "following" in process.log() or process.exit_code is not None, 40, "it follows")
        producer = make_producer(any_broker)
        deadline, offset = time.monotonic() + 40, RECORDS
        while process.exit_code is None:  # the first ones may come before it has found the ends of the logs
            assert time.monotonic() < deadline, process.log()
            trace = secrets.token_hex(16)
            name = "TraceParent" if offset % 4 else "traceparent"  # W3C: the case of a header's name does not matter
            producer.produce(topic, b"v", partition=1, headers={name: f"00-{trace}-b7ad6b7169203331-01"})
            producer.produce(topic, b"untraced", partition=1)
            assert producer.flush(60) == 0
            offset += 2
            reader.commit(offsets=[TopicPartition(topic, 1, offset)], asynchronous=False)
            time.sleep(0.2)
    finally:
        reader.close()
        if process.exit_code is None:
            process.kill()
    assert process.exit_code == 0, process.log()
    items = [json.loads(line) for line in process.log().splitlines() if line.startswith("{")]
    assert len(items) >= 3
    for item in items:
        assert (item["done"], list(item["passed"]), item["waiting"], item["offset"] % 2) == (True, [topic], [], 0)
    assert {item["offset"] % 4 for item in items} == {0, 2}


def test_a_message_that_an_application_failed_on_is_shown_though_its_span_comes_after_the_commit(
    any_broker: Broker, klamm: Klamm, topic: str, tmp_path: Path
) -> None:
    _filled(klamm, any_broker, topic)
    producer = make_producer(any_broker)
    ran = klamm("topic", "create", "otlp_spans", "-b", any_broker.bootstrap, "-o", "json")
    assert ran.code == 0 or ran.codes == ["TOPIC_ALREADY_EXISTS"], ran.err
    at = ("--topic", topic, "--errors", "--count", "1", "-o", "jsonl", "-b", any_broker.bootstrap)
    process = ChildProcess(klamm_command("trace", "follow", *at), tmp_path / "follow.log")
    try:
        wait_until(lambda: "following" in process.log() or process.exit_code is not None, 40, "it follows")
        deadline, bad = time.monotonic() + 40, set[str]()
        while process.exit_code is None:  # the first ones may come before it has found the ends of the logs
            assert time.monotonic() < deadline, process.log()
            traces = secrets.token_hex(16), secrets.token_hex(16)
            for trace in traces:
                producer.produce(topic, b"v", partition=1, headers={"traceparent": f"00-{trace}-b7ad6b7169203331-01"})
            assert producer.flush(60) == 0
            _commit(any_broker, topic, topic, [1_000_000])
            bad.add(traces[0])
            for trace, error in zip(traces, ("card refused", None), strict=True):
                span = make_span(
                    trace, secrets.token_hex(8), "b7ad6b7169203331", f"process {topic}", "consumer",
                    (time.time_ns(), time.time_ns()), "billing", (), error, {},
                )  # fmt: skip
                producer.produce("otlp_spans", encode_protobuf([span]))
            assert producer.flush(60) == 0
            time.sleep(0.5)
    finally:
        if process.exit_code is None:
            process.kill()
    assert process.exit_code == 0, process.log()
    items = [json.loads(line) for line in process.log().splitlines() if line.startswith("{")]
    assert {item["error"] for item in items} == {"billing: card refused"}
    assert {item["trace_id"] for item in items} <= bad


@pytest.mark.apache
def test_a_probe_is_only_checked_where_the_broker_can_and_nothing_is_stored_anywhere(
    klamm: Klamm, any_broker: Broker, topic: str
) -> None:
    at = ("-b", any_broker.bootstrap)
    assert klamm("topic", "create", topic, *at, "-p", "2").code == 0
    _commit(any_broker, f"{topic}-group", topic, [0])
    done = klamm("trace", "send", topic, "--partition", "1", "--no-deliver", *at, "-o", "json")
    if any_broker.name == "klamm":
        assert [(hop["hop"], hop["group"]) for hop in done.items] == [
            ("produce", None),
            ("append", None),
            ("pending", f"{topic}-group"),
        ]
        assert f"it would be {topic}:1@0; nothing was stored" in done.items[1]["note"]
    else:
        assert done.code == 1
        assert "no klamm broker" in done.err
    assert klamm("trace", f"{topic}:1@0", *at, "-o", "json").items == []
    refused = klamm("trace", "send", topic, "--no-deliver", "--follow", *at)
    assert (refused.code, "not both" in refused.err) == (2, True)


def test_transactions_are_told_and_a_marker_is_no_record(klamm: Klamm, apache_kafka: Broker, topic: str) -> None:
    at = ("-b", apache_kafka.bootstrap, "-o", "json")
    assert klamm("topic", "create", topic, *at).code == 0
    producer = Producer({"bootstrap.servers": apache_kafka.bootstrap, "transactional.id": topic})
    init_transactions(producer)
    for number, ends in enumerate((True, False)):
        producer.begin_transaction()
        producer.produce(topic, b"value", partition=0)
        assert producer.flush(60) == 0
        place = f"{topic}:0@{2 * number}"
        assert [note["code"] for note in klamm("trace", place, *at).envelope["notes"]] == ["open_transaction"]
        if ends:
            producer.commit_transaction(30)
        else:
            producer.abort_transaction(30)
    assert "notes" not in klamm("trace", f"{topic}:0@0", *at).envelope
    marker = klamm("trace", f"{topic}:0@1", *at)
    assert (marker.code, marker.codes) == (1, ["CONTROL_RECORD"])

    def notes() -> list[str]:
        return [note["code"] for note in klamm("trace", f"{topic}:0@2", *at).envelope["notes"]]

    wait_until(lambda: notes() != ["open_transaction"], 30, "the coordinator has written the marker")
    assert notes() == ["aborted"]
