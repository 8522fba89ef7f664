"""``klamm message resend`` and ``klamm dlq redrive`` against klamm and Apache Kafka."""

from __future__ import annotations

import base64
import itertools
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from klamm.client import redriving
from klamm.client.cluster import Cluster
from klamm.client.messages.jsonl import Draft
from klamm.client.messages.producing import Sender
from klamm.client.redriving import Offsets, content_of
from klamm.client.resending import Changes, as_sent, headers_again
from klamm.client.topics import find_topics
from tests.cli.conftest import Klamm
from tests.clients.confluent import create_topic, make_producer
from tests.support.brokers import Broker

TIMEOUT_S = 60


class KilledError(BaseException):
    """The process ends here."""


PARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def rows_of(klamm: Klamm, broker: Broker, topic: str) -> list[dict[str, Any]]:
    ran = klamm("consume", topic, "-e", "-o", "jsonl", "-b", broker.bootstrap)
    assert ran.code == 0, ran.err
    return [json.loads(line) for line in ran.out.splitlines()]


def headers_of(row: dict[str, Any]) -> dict[str, bytes | None]:
    return {name: None if data is None else base64.b64decode(data) for name, data in row["headers"]}


def dead_letters(broker: Broker, topic: str, count: int = 20) -> None:
    """Write records that failed: every other for a time-out, with the topic they are of in a header."""
    create_topic(broker, topic, 2)
    producer = make_producer(broker)
    for number in range(count):
        error = b"timeout" if number % 2 else b"poison"
        headers: list[tuple[str, str | bytes | None]] = [
            ("error", error),
            ("origin", f"{topic}-{number % 2}".encode()),
            ("id", b"%d" % number),
        ]
        producer.produce(topic, b"%d" % number, b"k", number % 2, headers=headers, timestamp=1_700_000_000_000)
    assert producer.flush(TIMEOUT_S) == 0


def test_a_record_is_sent_again_as_it_was(klamm: Klamm, any_broker: Broker, topic: str) -> None:
    create_topic(any_broker, topic, 2)
    producer = make_producer(any_broker)
    headers: list[tuple[str, str | bytes | None]] = [("traceparent", PARENT), ("a", b"1"), ("null", None)]
    producer.produce(topic, b"\xff\x00", b"key", 1, headers=headers, timestamp=1_700_000_000_000)
    assert producer.flush(TIMEOUT_S) == 0
    at = ("-b", any_broker.bootstrap, "-o", "json")
    assert klamm("message", "resend", f"{topic}:1@0", *at).code == 4
    ran = klamm("message", "resend", f"{topic}:1@0", "-y", *at)
    assert ran.code == 0, ran.err
    first, again = rows_of(klamm, any_broker, topic)
    assert (again["partition"], again["offset"]) == (1, 1)
    assert ran.items == [{"source": f"{topic}:1@0", "target": topic, "partition": 1, "offset": 1, "sent": True}]
    assert (again["key"], again["value"], again["value_encoding"]) == ("key", first["value"], "base64")
    assert again["timestamp"] > first["timestamp"]
    found = headers_of(again)
    assert list(found) == ["traceparent", "a", "null"]
    assert (found["a"], found["null"]) == (b"1", None)
    parent = found["traceparent"] or b""
    assert (parent[:36], parent[52:]) == (PARENT[:36], PARENT[52:])
    assert parent != PARENT


def test_a_partition_without_leader_is_said_before_anything_is_asked(
    klamm: Klamm, shared_klamm: Broker, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_topic(shared_klamm, topic, 2)
    producer = make_producer(shared_klamm)
    producer.produce(topic, b"v", b"key", 1)
    assert producer.flush(TIMEOUT_S) == 0

    async def leaderless(cluster: Cluster, names: Sequence[str]) -> Any:
        metadata, topics, missing = await find_topics(cluster, names)
        parts = [each.partitions[1]._replace(leader=-1) for each in topics]
        return metadata, [each._replace(partitions=[each.partitions[0], parts[0]]) for each in topics], missing

    monkeypatch.setattr("klamm.client.resending.find_topics", leaderless)
    at = ("-b", shared_klamm.bootstrap, "-o", "json")
    ran = klamm("message", "resend", f"{topic}:1@0", *at)
    assert (ran.code, ran.codes) == (1, ["LEADER_NOT_AVAILABLE"]), ran.err
    assert f"{topic}:1 has no leader" in ran.err
    assert klamm("message", "resend", f"{topic}:1@0", "--partition", "0", "--dry-run", *at).code == 0


def test_a_record_is_changed_on_its_way_to_another_topic(klamm: Klamm, any_broker: Broker, topic: str) -> None:
    dead_letters(any_broker, topic, 2)
    create_topic(any_broker, f"{topic}-to", 1)
    words = ("--value", "new", "-k", "other", "--drop-header", "err*", "--set-header", "id=x", "--keep-timestamp")
    ran = klamm("message", "resend", f"{topic}:0@0", "--to", f"{topic}-to", *words, "-y", "-b", any_broker.bootstrap)
    assert ran.code == 0, ran.err
    assert "other key, value, headers" in ran.err
    (row,) = rows_of(klamm, any_broker, f"{topic}-to")
    assert (row["key"], row["value"], row["timestamp"]) == ("other", "new", 1_700_000_000_000)
    assert headers_of(row) == {"origin": f"{topic}-0".encode(), "id": b"x"}
    gone = klamm("message", "resend", f"{topic}:0@0", "--tombstone", "-y", "-b", any_broker.bootstrap)
    assert gone.code == 0, gone.err
    assert [row["value"] for row in rows_of(klamm, any_broker, topic) if row["partition"] == 0] == ["0", None]


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (("{topic}:0@99",), 1, "NO_RECORD"),
        (("{topic}:9@0",), 2, "UNKNOWN_PARTITION"),
        (("{topic}@0",), 2, "USAGE"),
        (("{topic}:0@0", "--to", "{topic}-none"), 2, "UNKNOWN_TOPIC_OR_PARTITION"),
        (("{topic}:0@0", "-p", "7"), 2, "USAGE"),
        (("{topic}:0@0", "--value", "x", "--tombstone"), 2, "USAGE"),
        (("{topic}:0@0", "--edit"), 4, "REFUSED"),
    ],
)
def test_what_cannot_be_sent_again_says_why(
    klamm: Klamm, any_broker: Broker, topic: str, words: tuple[str, ...], code: int, error: str
) -> None:
    dead_letters(any_broker, topic, 2)
    line = [word.format(topic=topic) for word in words]
    ran = klamm("message", "resend", *line, "-y", "-b", any_broker.bootstrap, "-o", "json")
    assert (ran.code, ran.codes) == (code, [error]), ran.err
    assert len(rows_of(klamm, any_broker, topic)) == 2


def test_of_several_records_each_says_whether_it_was_sent_and_where(
    klamm: Klamm, any_broker: Broker, topic: str
) -> None:
    dead_letters(any_broker, topic, 4)
    create_topic(any_broker, f"{topic}-to", 3)
    line = ("message", "resend", f"{topic}:0@0", f"{topic}:1@1", "--to", f"{topic}-to", "-b", any_broker.bootstrap)
    ran = klamm(*line, "-y", "-o", "json")
    (partition,) = {row["partition"] for row in rows_of(klamm, any_broker, f"{topic}-to")}  # by their key
    target = {"target": f"{topic}-to", "partition": partition}
    assert ran.items == [
        {"source": f"{topic}:0@0", **target, "offset": 0, "sent": True},
        {"source": f"{topic}:1@1", **target, "offset": 1, "sent": True},
    ]
    assert klamm(*line, "--dry-run", "-o", "json").items[0]["offset"] is None
    assert klamm("config", "set", "topic", f"{topic}-to", "max.message.bytes=100", "-y", *line[-2:]).code == 0
    refused = klamm(*line, "--value", "x" * 200, "-y", "-o", "json")
    assert (refused.code, refused.codes) == (1, ["MESSAGE_TOO_LARGE"])
    assert [(item["offset"], item["sent"]) for item in refused.items] == [(None, False)] * 2


def test_an_edited_record_is_sent_as_the_editor_left_it(
    klamm: Klamm, any_broker: Broker, topic: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_topic(any_broker, topic, 1)
    producer = make_producer(any_broker)
    producer.produce(topic, b'{"total": 1}', b"k")
    assert producer.flush(TIMEOUT_S) == 0
    script = home / "editor.py"
    script.write_text(
        "import re, sys, pathlib\np = pathlib.Path(sys.argv[1])\n"
        "p.write_text(re.sub(r'(total\\W+)1', r'\\g<1>2', p.read_text()))\n"
    )
    monkeypatch.setenv("EDITOR", f"{sys.executable} {script}")
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setattr("klamm.cli.run.Run.interactive", property(lambda _: True))
    ran = klamm("message", "resend", f"{topic}:0@0", "--edit", "-y", "-b", any_broker.bootstrap)
    assert ran.code == 0, ran.err
    assert [row["value"] for row in rows_of(klamm, any_broker, topic)] == ['{"total": 1}', '{"total":2}']
    script.write_text("")
    unchanged = klamm("message", "resend", f"{topic}:0@0", "--edit", "-y", "-b", any_broker.bootstrap)
    assert (unchanged.code, "was not changed" in unchanged.err) == (4, True)
    script.write_text("import sys, pathlib\npathlib.Path(sys.argv[1]).write_text('{')\n")
    assert klamm("message", "resend", f"{topic}:0@0", "--edit", "-y", "-b", any_broker.bootstrap).code == 2
    assert len(rows_of(klamm, any_broker, topic)) == 2


def test_dead_letters_are_redriven_by_a_plan(klamm: Klamm, any_broker: Broker, topic: str) -> None:
    dead_letters(any_broker, topic)
    create_topic(any_broker, f"{topic}-to", 2)
    at = ("-b", any_broker.bootstrap, "-o", "json")
    line = ("dlq", "redrive", topic, "--to", f"{topic}-to", "--where", 'h.error == "timeout"', "--drop-header", "error")
    dry = klamm(*line, "--dry-run", *at)
    assert (dry.code, dry.items[0]["records"], dry.items[0]["sent"]) == (0, 10, 0)
    assert "10 records → " in dry.err
    assert klamm(*line, *at).code == 4
    ran = klamm(*line, "-y", *at)
    assert ran.code == 0, ran.err
    item = {"source": topic, "target": f"{topic}-to", "records": 10, "sent": 10, "sent_before": 0}
    assert ran.items == [item]
    rows = rows_of(klamm, any_broker, f"{topic}-to")
    assert sorted(int(row["value"]) for row in rows) == list(range(1, 20, 2))
    assert all(set(headers_of(row)) == {"origin", "id"} for row in rows)
    assert len({row["partition"] for row in rows}) == 1  # they share a key
    assert "--from 0=10,1=10" in ran.err
    later = klamm("dlq", "redrive", topic, "--to", f"{topic}-to", "--from", "0=10,1=10", "-y", *at)
    assert (later.code, later.items) == (0, [])


def test_each_dead_letter_may_go_to_the_topic_that_its_header_names(
    klamm: Klamm, any_broker: Broker, topic: str
) -> None:
    dead_letters(any_broker, topic)
    at = ("-b", any_broker.bootstrap, "-o", "json")
    line = ("dlq", "redrive", topic, "--to-header", "origin", "-y", *at)
    missing = klamm(*line)
    assert (missing.code, missing.codes) == (1, ["UNKNOWN_TOPIC_OR_PARTITION"])
    for number in range(2):
        create_topic(any_broker, f"{topic}-{number}", 2)
    ran = klamm(*line)
    assert ran.code == 0, ran.err
    assert {item["target"]: item["sent"] for item in ran.items} == {f"{topic}-0": 10, f"{topic}-1": 10}
    nowhere = klamm("dlq", "redrive", topic, "--to-header", "orign", "-y", *at)
    said = "none has a header 'orign': they have error, id, origin. Did you mean 'origin'?"
    assert (nowhere.code, f"nothing to redrive: of 20 records {said}" in nowhere.err) == (0, True), nowhere


@pytest.mark.parametrize(
    ("words", "code"),
    [((), 2), (("--to", "{topic}"), 2), (("--to", "a", "--to-header", "b"), 2), (("--to", "{topic}-no"), 2)],
)
def test_a_redrive_that_cannot_be_meant_sends_nothing(
    klamm: Klamm, any_broker: Broker, topic: str, words: tuple[str, ...], code: int
) -> None:
    dead_letters(any_broker, topic, 2)
    line = [word.format(topic=topic) for word in words]
    assert klamm("dlq", "redrive", topic, *line, "-y", "-b", any_broker.bootstrap).code == code
    assert len(rows_of(klamm, any_broker, topic)) == 2


def test_a_limit_is_of_records_that_match(klamm: Klamm, any_broker: Broker, topic: str) -> None:
    dead_letters(any_broker, topic)
    create_topic(any_broker, f"{topic}-to", 1)
    line = ("dlq", "redrive", topic, "--to", f"{topic}-to", "--where", 'h.error == "timeout"', "-n", "3", "-y")
    ran = klamm(*line, "-b", any_broker.bootstrap, "-o", "json")
    assert (ran.code, ran.items[0]["sent"]) == (0, 3)
    assert len(rows_of(klamm, any_broker, f"{topic}-to")) == 3


def test_what_was_redriven_is_not_sent_again_unless_asked_for(klamm: Klamm, any_broker: Broker, topic: str) -> None:
    dead_letters(any_broker, topic)
    create_topic(any_broker, f"{topic}-to", 1)
    line = ("dlq", "redrive", topic, "--to", f"{topic}-to", "-y", "-b", any_broker.bootstrap, "-o", "json")
    assert klamm(*line, "--where", 'h.error == "timeout"', "-n", "3").items[0]["sent"] == 3
    rest = klamm(*line)
    assert [(item["records"], item["sent"], item["sent_before"]) for item in rest.items] == [(17, 17, 3)]
    assert "3 that were sent before are left out" in rest.err
    nothing = klamm(*line)
    assert (nothing.code, nothing.items[0]["sent_before"]) == (0, 20)
    assert "--again" in nothing.err
    rows = rows_of(klamm, any_broker, f"{topic}-to")
    assert sorted(int(row["value"]) for row in rows) == list(range(20))
    assert klamm(*line, "--again").items[0]["sent"] == 20
    assert len(rows_of(klamm, any_broker, f"{topic}-to")) == 40


def test_a_redrive_that_was_killed_goes_on_without_a_record_missing_or_twice(
    klamm: Klamm, any_broker: Broker, topic: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead_letters(any_broker, topic)
    create_topic(any_broker, f"{topic}-to", 1)
    monkeypatch.setattr(redriving, "CHUNK", 6)
    real, chunks = Sender.flush, []

    async def killed_in_the_second_chunk(sender: Sender) -> None:
        await real(sender)
        chunks.append(sender.sent)
        if len(chunks) == 2:
            raise KilledError

    line = ("dlq", "redrive", topic, "--to", f"{topic}-to", "-y", "-b", any_broker.bootstrap, "-o", "json")
    with monkeypatch.context() as patched:
        patched.setattr(Sender, "flush", killed_in_the_second_chunk)
        with pytest.raises(KilledError):
            klamm(*line)
    (state,) = (home / "state" / "klamm" / "redrives").iterdir()
    found = json.loads(state.read_text())
    assert len(found["doubt"]["records"]) == 6
    # Of the records in doubt one is made never to have arrived: the broker has none of its content.
    found["doubt"]["records"][0][3] = "0" * 32
    state.write_text(json.dumps(found))
    rest = klamm(*line)
    assert rest.code == 0, rest.err
    assert "of its last 6 records 5 arrived" in rest.err
    assert (rest.items[0]["sent"], rest.items[0]["sent_before"]) == (9, 11)
    assert len(rows_of(klamm, any_broker, f"{topic}-to")) == 21


@given(st.lists(st.integers(0, 40)))
def test_offsets_are_a_set_in_as_few_ranges_as_there_can_be(added: list[int]) -> None:
    offsets = Offsets()
    for offset in added:
        offsets.add(offset)
    assert {offset for offset in range(42) if offset in offsets} == set(added)
    assert len(offsets) == len(set(added))
    assert all(end < start for (_, end), (start, _) in itertools.pairwise(offsets.ranges))
    assert Offsets(offsets.ranges).ranges == offsets.ranges


def test_headers_that_are_set_replace_every_one_of_their_name() -> None:
    headers = (("a", b"1"), ("b", b"2"), ("a", b"3"), ("c", None))
    found = headers_again(headers, Changes(headers={"a": b"new", "d": None}, drop=["b"]))
    assert found == (("a", b"new"), ("c", None), ("d", None))


def test_only_the_last_traceparent_is_kept_and_gets_an_id_of_its_own() -> None:
    other = b"00-" + b"1" * 32 + b"-" + b"2" * 16 + b"-00"
    ((name, value),) = headers_again((("traceparent", PARENT), ("traceparent", other)), Changes())
    assert name == "traceparent"
    assert value is not None
    assert (value[:36], value[52:]) == (other[:36], b"-00")
    assert value != other
    assert headers_again((("traceparent", b"?"),), Changes()) == (("traceparent", b"?"),)
    assert headers_again((("traceparent", PARENT),), Changes(headers={"traceparent": None})) == (("traceparent", None),)


def test_the_case_of_traceparents_name_does_not_matter_and_is_kept() -> None:
    other = b"00-" + b"1" * 32 + b"-" + b"2" * 16 + b"-00"
    headers = (("TraceParent", PARENT), ("a", b"1"), ("A", b"2"), ("TRACEPARENT", other))
    (name, value), *rest = headers_again(headers, Changes())
    assert (name, rest) == ("TRACEPARENT", [("a", b"1"), ("A", b"2")])
    assert value is not None
    assert (value[:36], value == other) == (other[:36], False)
    assert headers_again(headers, Changes(headers={"traceparent": b"x"}))[0] == ("traceparent", b"x")
    for glob in ("traceparent", "TraceParent", "trace*"):
        assert headers_again(headers, Changes(drop=[glob])) == (("a", b"1"), ("A", b"2"))
    assert headers_again(headers, Changes(drop=["a"]))[1:] == (("A", b"2"),)
    assert as_sent(headers) == as_sent(headers_again(headers[:1], Changes()) + headers[1:])


def test_a_record_that_was_sent_again_is_found_by_its_content_whatever_the_case_of_traceparent() -> None:
    draft = Draft("t", None, None, b"k", b"v", (("TraceParent", PARENT), ("a", b"1")))
    assert content_of(draft) == content_of(draft._replace(headers=headers_again(draft.headers, Changes())))
