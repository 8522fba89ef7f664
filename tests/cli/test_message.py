"""``klamm consume``, ``produce`` and ``message`` against klamm and Apache Kafka, as a user runs them."""

import base64
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest

from klamm.cli.docs import envelope_schema
from klamm.cli.message_destination import waiting_text
from klamm.client.messages.raw_producing import default_partition
from klamm.client.wire import PartitionMetadata, TopicMetadata
from tests.cli.conftest import Klamm
from tests.clients.confluent import create_topic, make_producer
from tests.support.brokers import Broker

TIMEOUT_S = 60


class Piped:
    """Lines in processes of their own: what standard input and output are bytes for."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker

    def __call__(self, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "klamm", *words, "-b", self.broker.bootstrap]
        return subprocess.run(command, input=stdin, capture_output=True, check=False, timeout=TIMEOUT_S)

    def ok(self, *words: str, stdin: bytes = b"") -> bytes:
        ran = self(*words, stdin=stdin)
        assert ran.returncode == 0, ran.stderr.decode()
        return ran.stdout


@pytest.fixture
def piped(any_broker: Broker) -> Piped:
    return Piped(any_broker)


ODD: list[tuple[bytes | None, bytes | None, list[tuple[str, str | bytes | None]]]] = [
    (None, None, []),
    (b"", b"", [("empty", b""), ("null", None)]),
    (b"k\xff\x00", b"\x00\x01\xfe\xff", [("same", b"1"), ("same", b"2"), ("bin", b"\xff\x00")]),
    ("schlüssel".encode(), 'zeile\n"zwei"\t\\ \u2028'.encode(), [("trace-id", b"a12c")]),
    (b"big", b"x" * 900_000, []),
]


def _fill(broker: Broker, topic: str, partitions: int = 2) -> None:
    create_topic(broker, topic, partitions)
    producer = make_producer(broker, message_max_bytes=6_000_000)
    for number, (key, value, headers) in enumerate(ODD):
        producer.produce(
            topic, value, key, partition=number % partitions, headers=headers, timestamp=1_700_000_000_000 + number
        )
    assert producer.flush(TIMEOUT_S) == 0


def _content(jsonl: bytes) -> list[dict[str, object]]:
    """Return what must survive a copy: everything but topic and offset."""
    rows = [json.loads(line) for line in jsonl.splitlines()]
    rows.sort(key=lambda row: (row["partition"], row["offset"]))
    return [{name: value for name, value in row.items() if name not in {"topic", "offset"}} for row in rows]


def test_consume_to_produce_loses_nothing(piped: Piped, topic: str) -> None:
    _fill(piped.broker, topic)
    create_topic(piped.broker, f"{topic}-copy", 2)
    first = piped.ok("consume", topic, "-e", "-o", "jsonl")
    rows = [json.loads(line) for line in first.splitlines()]
    assert len(rows) == len(ODD)
    odd = next(row for row in rows if row["key_encoding"] == "base64")
    assert base64.b64decode(odd["key"]) == b"k\xff\x00"
    assert [name for name, _ in odd["headers"]] == ["same", "same", "bin"]
    piped.ok("produce", f"{topic}-copy", "--input", "jsonl", stdin=first)
    assert _content(piped.ok("consume", f"{topic}-copy", "-e", "-o", "jsonl")) == _content(first)


@pytest.mark.parametrize("suffix", ["jsonl", "arrow", "parquet"])
def test_export_and_import_give_the_same_hash(klamm: Klamm, any_broker: Broker, topic: str, suffix: str) -> None:
    _fill(any_broker, topic)
    at = ("-b", any_broker.bootstrap, "-o", "json")
    out = klamm("message", "export", topic, "--to", f"all.{suffix}", *at)
    assert out.code == 0, out.err
    back = klamm("message", "import", f"all.{suffix}", f"{topic}-copy", "--create", "--yes", *at)
    assert back.code == 0, back.err
    again = klamm("message", "export", f"{topic}-copy", "--to", f"again.{suffix}", *at)
    assert out.items[0]["records"] == back.items[0]["records"] == again.items[0]["records"] == len(ODD)
    assert out.items[0]["hash"] == back.items[0]["hash"] == again.items[0]["hash"]
    assert klamm("message", "export", topic, "--to", f"all.{suffix}", *at).code == 2, "a file is never replaced unasked"


@pytest.mark.parametrize(("suffix", "count"), [("jsonl", 3), ("arrow", 5), ("parquet", 5)])
def test_an_imported_topic_has_the_partitions_that_the_file_knows_of(
    klamm: Klamm, any_broker: Broker, topic: str, suffix: str, count: int
) -> None:
    create_topic(any_broker, topic, 5)
    at = ("-b", any_broker.bootstrap, "-o", "json")
    assert klamm("produce", topic, "--value", "x", "-p", "2", "--yes", *at).code == 0
    assert klamm("message", "export", topic, "-p", "1,2", "--to", f"some.{suffix}", *at).code == 0
    for name, words, expected in (("as-it-was", (), count), ("wider", ("--partitions", "7"), 7)):
        line = ("message", "import", f"some.{suffix}", f"{topic}-{name}", "--create", *words, "--yes", *at)
        ran = klamm(*line)
        assert (ran.code, f"with {expected} partitions" in ran.err) == (0, True), ran.err
        rows = klamm("consume", f"{topic}-{name}", "-e", "-f", "%p %s\n", *at[:2]).out
        assert rows == "2 x\n"
    unmeant = klamm("message", "import", f"some.{suffix}", topic, "--partitions", "7", "--yes", *at)
    assert (unmeant.code, unmeant.codes) == (2, ["USAGE"])


def test_produce_takes_keys_headers_tombstones_and_partitions(piped: Piped, topic: str) -> None:
    create_topic(piped.broker, topic, 2)
    piped.ok("produce", topic, "-K", ":", "-p", "1", "-H", "a=1", "-H", "b", "-Z", stdin=b"k:v\nk:\nplain\nlast:one")
    piped.ok("produce", topic, "--key", "k", "--tombstone", "-p", "0", "--yes")
    piped.ok("produce", topic, "--value", "x", "-p", "0", "--timestamp", "1700000000000")
    out = piped.ok("consume", topic, "-e", "-p", "1", "-f", r"%p@%o %k=%s %h %S\n", "--null", "NULL")
    headers = "a=1,b=NULL"
    assert out.decode().splitlines() == [
        f"1@0 k=v {headers} 1",
        f"1@1 k=NULL {headers} -1",
        f"1@2 NULL=plain {headers} 5",
        f"1@3 last=one {headers} 3",
    ]
    out = piped.ok("consume", topic, "-e", "-p", "0", "-f", r"%K %S %T\t%%\x41")
    assert out.decode().endswith("1700000000000\t%A")
    assert out.startswith(b"1 -1 ")


def test_a_template_makes_as_many_as_asked_for(piped: Piped, topic: str) -> None:
    create_topic(piped.broker, topic, 1)
    piped.ok("produce", topic, "--template", "n{{i}} {{pick a}}", "--count", "2500", "--rate", "100000/s")
    out = piped.ok("consume", topic, "-e").decode().splitlines()
    assert out == [f"n{number} a" for number in range(2500)]
    ran = piped("produce", topic, "--template", "{{nothing}}")
    assert ran.returncode == 2
    assert b"{{i}}" in ran.stderr
    ran = piped("produce", topic, "--value", "v", "--rate", "3")
    assert (ran.returncode, ran.stderr) == (2, b"klamm: --rate and --count are of --template\n")


def test_a_value_that_cannot_be_decoded_is_shown_and_each_reason_is_told_once(piped: Piped, topic: str) -> None:
    create_topic(piped.broker, topic, 1)
    framed = b"\x00\x00\x00\x00\x4dvalue"
    for value in (framed, b"plain", framed):
        piped.ok("produce", topic, "--input", "whole", stdin=value)
    ran = piped("consume", topic, "-e", "--value-as", "avro", "-q")
    assert (ran.returncode, ran.stdout) == (0, b"00 00 00 00 4d 76 61 6c 75 65\nplain\n00 00 00 00 4d 76 61 6c 75 65\n")
    told = list(piped("consume", topic, "-e", "--value-as", "avro").stderr.decode().splitlines())
    assert [line for line in told if " is shown as " in line] == [
        f"{topic}:0@0 is shown as hex: names schema id 77, and no schema registry is configured",
        f"{topic}:0@1 is shown as text: names no schema for avro",
    ]


def test_a_line_that_is_no_jsonl_ends_it_and_says_what_was_sent(piped: Piped, topic: str) -> None:
    create_topic(piped.broker, topic, 1)
    lines = b'{"value":"a"}\n{"value":"b","headers":{"x":"y"}}\n{"vlaue":"c"}\n{"value":"d"}\n'
    ran = piped("produce", topic, "--input", "jsonl", stdin=lines)
    assert ran.returncode == 1
    told = ran.stderr.decode()
    assert "line 3" in told
    assert "did you mean 'value'" in told
    assert "2 records sent" in told
    assert piped.ok("consume", topic, "-e") == b"a\nb\n"


def test_a_partition_that_is_not_there_is_named_before_its_record_is_sent(piped: Piped, topic: str) -> None:
    lines = b'{"value":"a","partition":0}\n{"value":"b","partition":3}\n{"value":"c","partition":0}\n'
    ran = piped("produce", topic, "--create", "--partitions", "2", "--input", "jsonl", stdin=lines)
    assert ran.returncode == 1
    told = ran.stderr.decode()
    assert f"UNKNOWN_PARTITION: record 2 names partition 3, and {topic} has 2" in told
    assert "1 record sent" in told
    piped.ok("produce", topic, "--input", "jsonl", "--repartition", stdin=lines)
    assert sorted(piped.ok("consume", topic, "-e").split()) == [b"a", b"a", b"b", b"c"]
    assert piped("produce", topic, "--partitions", "2", "--value", "x").returncode == 2


def test_a_mistyped_topic_is_refused_with_the_near_one_and_never_created(
    klamm: Klamm, any_broker: Broker, topic: str
) -> None:
    create_topic(any_broker, topic, 1)
    at = ("-b", any_broker.bootstrap)
    for words in (
        ("consume", f"{topic}x", "-e"),
        ("produce", f"{topic}x", "--value", "v", "--yes"),
        ("message", "find", f"{topic}x", "text"),
        ("message", "get", f"{topic}x:0@0"),
    ):
        ran = klamm(*words, *at)
        assert ran.code == 2, words
        assert f"'{topic}'" in ran.err, words
    names = [item["name"] for item in klamm("topics", *at, "-o", "json").items]
    assert f"{topic}x" not in names


def test_find_proves_what_it_searched_and_the_cursor_goes_on(klamm: Klamm, any_broker: Broker, topic: str) -> None:
    create_topic(any_broker, topic, 3)
    producer = make_producer(any_broker)
    for number in range(3000):
        producer.produce(topic, f'{{"n": {number}}}', f"key-{number % 100}", headers=[("m", str(number % 7))])
    assert producer.flush(TIMEOUT_S) == 0
    at = ("-b", any_broker.bootstrap, "-o", "json")
    whole = klamm("message", "find", topic, "--key", "key-42", *at)
    assert whole.code == 0, whole.err
    jsonschema.validate(whole.envelope, envelope_schema())
    assert len(whole.items) == 30
    coverage = whole.envelope["coverage"]
    assert sum(each["scanned"] for each in coverage) == 3000
    assert all(each["complete"] and each["remaining"] == 0 for each in coverage)
    for where, count in (
        ('value.n >= 2990 and h.m == "1"', 2),
        ("key=key-4*", 330),
        ("value ~ '\"n\": 29\\d\\d}'", 100),
    ):
        found = klamm("message", "find", topic, "--where", where, *at)
        assert len(found.items) == count, where
    ran = klamm("message", "find", topic, "key-4", "-n", "100", *at)
    seen = [(item["partition"], item["offset"]) for item in ran.items]
    words = ran.err.split("Go on with: klamm ")[1].splitlines()[0].split()
    rest = klamm(*[word for word in words if word not in {"-n", "100"}])
    seen += [(item["partition"], item["offset"]) for item in rest.items]
    everything = klamm("message", "find", topic, "key-4", *at).items
    assert len(seen) == len(set(seen)) == len(everything) == 330
    assert set(seen) == {(item["partition"], item["offset"]) for item in everything}


def test_a_filter_that_cannot_be_parsed_has_a_caret(klamm: Klamm, shared_klamm: Broker, topic: str) -> None:
    create_topic(shared_klamm, topic, 1)
    ran = klamm("consume", topic, "-e", "--where", "value.total >", "-b", shared_klamm.bootstrap)
    assert ran.code == 2
    assert "  value.total >\n               ^\n" in ran.err


def test_positions_say_what_they_were_taken_for(klamm: Klamm, any_broker: Broker, topic: str) -> None:
    create_topic(any_broker, topic, 1)
    producer = make_producer(any_broker)
    for number in range(10):
        producer.produce(topic, str(number), partition=0, timestamp=1_700_000_000_000 + number * 1000)
    assert producer.flush(TIMEOUT_S) == 0

    def values(*words: str) -> tuple[list[str], str]:
        ran = klamm("consume", topic, *words, "-o", "jsonl", "-b", any_broker.bootstrap)
        assert ran.code == 0, ran.err
        return [json.loads(line)["value"] for line in ran.out.splitlines()], ran.err

    assert values("--from", "-3", "-e")[0] == ["7", "8", "9"]
    assert values("--from", "+2..5")[0] == ["2", "3", "4"]
    assert values("--from", "@1700000004000..@1700000007000")[0] == ["4", "5", "6"]
    assert "= 2023-11-14T22:13:24.000Z" in values("--from", "@1700000004000..end")[1]
    found, told = values("--from", "99999", "-e")
    assert found == []
    assert "99999 in " in told
    assert "beyond the log's end 10: taken as 10" in told
    assert values("--from", "0=8", "-e")[0] == ["8", "9"]
    assert values("--from", "now", "-e")[0] == []
    assert "(in the future)" in values("--from", "@2100-01-01..end")[1]
    assert klamm("consume", topic, "--from", "soon", "-e", "-b", any_broker.bootstrap).code == 2


def test_a_range_has_both_ends_whatever_the_command(klamm: Klamm, shared_klamm: Broker, topic: str) -> None:
    create_topic(shared_klamm, topic, 1)
    producer = make_producer(shared_klamm)
    for number in range(9):
        producer.produce(topic, b"x", b"%d" % (number % 3), 0)
    assert producer.flush(TIMEOUT_S) == 0
    at = ("--from", "2..5", "--count", "-b", shared_klamm.bootstrap)
    for words in (("consume", topic), ("consume", topic, "-e"), ("message", "find", topic, "x")):
        ran = klamm(*words, *at)
        assert (ran.code, ran.out) == (0, "3\n"), ran.err
        assert "3 records; complete" in ran.err
    assert klamm("message", "latest", topic, "--until", "2", "--count", "-b", shared_klamm.bootstrap).out == "2\n"
    assert (
        klamm("message", "export", topic, "--from", "2..5", "--to", "a.jsonl", "-b", shared_klamm.bootstrap).code == 0
    )


@pytest.mark.parametrize(
    "words", [("--from", "5..3"), ("--from", "end..start"), ("--from", ""), ("--until", "")], ids=str
)
def test_a_range_that_cannot_be_meant_is_refused(
    klamm: Klamm, shared_klamm: Broker, topic: str, words: tuple[str, ...]
) -> None:
    create_topic(shared_klamm, topic, 2)  # the second is empty
    producer = make_producer(shared_klamm)
    for _ in range(9):
        producer.produce(topic, b"x", partition=0)
    assert producer.flush(TIMEOUT_S) == 0
    ran = klamm("consume", topic, *words, "-n", "1", "-b", shared_klamm.bootstrap)
    assert (ran.code, ran.out) == (2, "")


def test_n_counts_after_the_filter_and_count_prints_a_number(klamm: Klamm, shared_klamm: Broker, topic: str) -> None:
    create_topic(shared_klamm, topic, 1)
    producer = make_producer(shared_klamm)
    for number in range(100):
        producer.produce(topic, f"v{number}", partition=0)
    assert producer.flush(TIMEOUT_S) == 0
    at = ("-b", shared_klamm.bootstrap)
    ran = klamm("consume", topic, "--where", "value ~ 'v.5'", "-n", "3", "-o", "name", *at)
    assert ran.out.split() == [f"{topic}:0@15", f"{topic}:0@25", f"{topic}:0@35"]
    few = klamm("consume", topic, "-n", "2", *at)
    assert (few.out.split(), few.err) == (["v0", "v1"], "2 records\n"), "not those of the whole batch"
    assert klamm("consume", topic, "-e", "--count", *at).out == "100\n"
    assert klamm("consume", topic, "-e", "--count", "--where", "offset < 7", *at).out == "7\n"


def test_latest_is_the_last_value_of_each_key(klamm: Klamm, any_broker: Broker, topic: str) -> None:
    create_topic(any_broker, topic, 2)
    producer = make_producer(any_broker)
    for number in range(30):
        producer.produce(topic, str(number), f"k{number % 3}")
    producer.produce(topic, None, "k2")
    assert producer.flush(TIMEOUT_S) == 0
    at = ("-b", any_broker.bootstrap, "-o", "json")
    found = {item["key"]: item["value"] for item in klamm("message", "latest", topic, *at).items}
    assert found == {"k0": "27", "k1": "28"}
    assert len(klamm("message", "latest", topic, "--tombstones", *at).items) == 3
    assert [item["value"] for item in klamm("message", "latest", topic, "--key", "k1", *at).items] == ["28"]
    gone = klamm("message", "latest", topic, "--key", "k2", *at)
    assert (gone.items[0]["value"], gone.code) == (None, 0)
    assert "tombstone" in gone.err
    assert klamm("message", "latest", topic, "--key", "none", *at).code == 1


def test_the_latest_of_a_key_is_read_backwards_from_the_partition_it_belongs_in(
    klamm: Klamm, any_broker: Broker, topic: str
) -> None:
    create_topic(any_broker, topic, 4)
    producer = make_producer(any_broker, partitioner="murmur2_random")
    home = default_partition(b"k1", 4)
    producer.produce(topic, "old", "k1")
    assert producer.flush(TIMEOUT_S) == 0  # librdkafka keeps no order before it knows the partitions
    for number in range(20_000):
        producer.produce(topic, str(number), f"other{number}", partition=home)
    producer.produce(topic, "new", "k1")
    assert producer.flush(TIMEOUT_S) == 0
    at = ("-b", any_broker.bootstrap, "-o", "json")
    ran = klamm("message", "latest", topic, "--key", "k1", *at)
    assert [(item["partition"], item["value"]) for item in ran.items] == [(home, "new")]
    (coverage,) = ran.envelope["coverage"]
    assert (coverage["partition"], coverage["matched"], coverage["scanned"]) == (home, 1, 10_000)
    assert coverage["remaining"] == coverage["position"] > 0
    assert "Not looked at: the other 3 partitions" in ran.err
    assert "--all-partitions" in ran.err
    before = klamm("message", "latest", topic, "--key", "k1", "--until", f"{home}={coverage['end'] - 1}", *at)
    assert [item["value"] for item in before.items] == ["old"]
    assert before.envelope["coverage"][0]["scanned"] == coverage["end"] - 1


def test_the_latest_of_a_key_that_another_partitioner_placed_is_found(
    klamm: Klamm, any_broker: Broker, topic: str
) -> None:
    create_topic(any_broker, topic, 3)
    producer = make_producer(any_broker)
    home = default_partition(b"k1", 3)
    ago = int(time.time() * 1000) - 60_000
    elsewhere = (home + 1) % 3
    producer.produce(topic, "a", "k1", partition=elsewhere, timestamp=ago + 2_000)
    for number in range(20):
        producer.produce(topic, str(number), "x", partition=elsewhere, timestamp=ago + 1_000)
    assert producer.flush(TIMEOUT_S) == 0
    at = ("-b", any_broker.bootstrap, "-o", "json")
    ran = klamm("message", "latest", topic, "--key", "k1", *at)
    assert [item["value"] for item in ran.items] == ["a"]
    assert f"is not in {topic}:{home}, where the default partitioner (murmur2) puts it" in ran.err
    assert "by another partitioner" in ran.err
    producer.produce(topic, "b", "k1", partition=home, timestamp=ago + 1_500)
    producer.produce(topic, "later", "x", partition=elsewhere, timestamp=ago + 3_000)
    assert producer.flush(TIMEOUT_S) == 0
    assert [item["value"] for item in klamm("message", "latest", topic, "--key", "k1", *at).items] == ["b"]
    whole = klamm("message", "latest", topic, "--key", "k1", "--all-partitions", *at)
    assert [item["value"] for item in whole.items] == ["a"]
    assert "several partitions; the latest is by timestamp" in whole.err
    producer.produce(topic, "c", "k1", partition=home, timestamp=ago + 2_500)
    assert producer.flush(TIMEOUT_S) == 0
    whole = klamm("message", "latest", topic, "--key", "k1", "--all-partitions", *at)
    assert [item["value"] for item in whole.items] == ["c"]
    assert "have no later record with key 'k1'" in whole.err
    looked = {each["partition"]: each["scanned"] for each in whole.envelope["coverage"]}
    assert looked[elsewhere] == 1, "only what can be later is looked at"


def test_latest_of_every_key_goes_by_the_offset_in_a_partition_and_by_time_between_them(
    klamm: Klamm, any_broker: Broker, topic: str
) -> None:
    create_topic(any_broker, topic, 2)
    ago = int(time.time() * 1000) - 60_000
    producer = make_producer(any_broker)
    for value, partition, timestamp in (("late", 0, 9_000), ("then", 0, 2_000), ("other", 1, 5_000)):
        producer.produce(topic, value, "k", partition=partition, timestamp=ago + timestamp)
    assert producer.flush(TIMEOUT_S) == 0
    ran = klamm("message", "latest", topic, "-b", any_broker.bootstrap, "-o", "json")
    assert [item["value"] for item in ran.items] == ["other"]
    assert "1 of 1 key in several partitions" in ran.err


def test_get_shows_a_record_whole_and_says_why_there_is_none(klamm: Klamm, any_broker: Broker, topic: str) -> None:
    _fill(any_broker, topic)
    at = ("-b", any_broker.bootstrap)
    ran = klamm("message", "get", f"{topic}:1@1", *at)
    assert ran.code == 0, ran.err
    assert "trace-id = a12c" in ran.out
    assert "schlüssel" in ran.out
    missing = klamm("message", "get", f"{topic}:1@9", f"{topic}:7@0", "nonsense:0@0", *at, "-o", "json")
    assert missing.code == 1
    assert missing.codes == ["NO_RECORD", "UNKNOWN_PARTITION", "UNKNOWN_TOPIC_OR_PARTITION"]
    assert klamm("message", "get", "orders", *at).code == 2


@pytest.mark.parametrize("every_s", [0.0, 5.0])
def test_a_group_member_commits_what_it_printed_and_says_so(
    klamm: Klamm, any_broker: Broker, topic: str, monkeypatch: pytest.MonkeyPatch, every_s: float
) -> None:
    monkeypatch.setattr("klamm.cli.message_group.COMMIT_EVERY_S", every_s)
    create_topic(any_broker, topic, 1)
    producer = make_producer(any_broker)
    for number in range(10):
        producer.produce(topic, str(number), partition=0)
    assert producer.flush(TIMEOUT_S) == 0
    at = ("-b", any_broker.bootstrap)
    ran = klamm("consume", topic, "--group", f"{topic}-g", "-n", "4", *at)
    assert (ran.code, ran.out.split()) == (0, ["0", "1", "2", "3"]), ran.err
    assert f"joined group {topic}-g" in ran.err
    assert f"committed {topic} 0@4" in ran.err
    ran = klamm("consume", topic, "--group", f"{topic}-g", "-e", *at)
    assert ran.out.split() == ["4", "5", "6", "7", "8", "9"]
    assert f"committed {topic} 0@10" in ran.err, "also what was committed on the way"


@pytest.mark.parametrize(
    "words", [("consume", "-e"), ("message", "export"), ("message", "find", "--where", "size > 0")]
)
def test_a_reader_that_goes_away_ends_it_silently(shared_klamm: Broker, topic: str, words: tuple[str, ...]) -> None:
    create_topic(shared_klamm, topic, 1)
    producer = make_producer(shared_klamm)
    for number in range(20_000):
        producer.produce(topic, f"{number:0200}", partition=0)
    assert producer.flush(TIMEOUT_S) == 0
    command = [sys.executable, "-m", "klamm", *words, topic, "-b", shared_klamm.bootstrap]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().strip()
        process.stdout.close()
        told = process.stderr.read()
        assert process.wait(TIMEOUT_S) == 141
    assert b"Traceback" not in told
    assert b"Broken" not in told


def test_forms_that_would_hold_records_back_are_refused(klamm: Klamm, shared_klamm: Broker, topic: str) -> None:
    create_topic(shared_klamm, topic, 1)
    at = ("-b", shared_klamm.bootstrap)
    assert klamm("consume", topic, "-e", "-o", "yaml", *at).code == 2
    assert klamm("consume", topic, "-e", "--sort", "offset", *at).code == 2
    assert klamm("consume", topic, "-e", "-o", "json", "-f", "%s", *at).code == 2
    assert klamm("consume", topic, "-e", "-f", "%z", *at).code == 2
    whole = klamm("consume", topic, "-e", "-o", "json", *at)
    assert whole.items == []
    assert klamm("consume", topic, "-e", "-o", "csv", *at).out.startswith("topic,partition,offset")


def test_a_read_only_context_refuses_to_produce_and_lets_read(
    klamm: Klamm, any_broker: Broker, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_topic(any_broker, topic, 1)
    monkeypatch.setenv("KLAMM_READ_ONLY", "1")
    at = ("-b", any_broker.bootstrap)
    assert klamm("produce", topic, "--value", "v", *at).code == 4
    assert klamm("consume", topic, "--group", "g", "-n", "1", *at).code == 4
    assert klamm("consume", topic, "-e", *at).code == 0


@pytest.mark.parametrize(
    ("leaders", "said"),
    [
        ([1, 2], ""),
        ([1, -1, 2], "no leader now: 1 of 3 partitions of t (1); records that go there wait for one"),
        ([-1] * 6, "no leader now: 6 of 6 partitions of t (0, 1, 2, 3, 4 …); records that go there wait for one"),
    ],
)
def test_who_sends_is_told_which_partitions_cannot_take_it_now(leaders: list[int], said: str) -> None:
    parts = [PartitionMetadata(0, number, leader, 0, (1,), (), ()) for number, leader in enumerate(leaders)]
    assert waiting_text(TopicMetadata(0, "t", b"", internal=False, partitions=parts)) == said


def test_an_import_needs_a_file_of_records(klamm: Klamm, shared_klamm: Broker, topic: str, tmp_path: Path) -> None:
    create_topic(shared_klamm, topic, 1)
    at = ("-b", shared_klamm.bootstrap, "--yes")
    (tmp_path / "no.parquet").write_bytes(b"PAR1 no")
    (tmp_path / "no.arrow").write_bytes(b"")
    for name in ("no.parquet", "no.arrow", "absent.parquet", "absent.jsonl"):
        ran = klamm("message", "import", name, topic, *at)
        assert ran.code == (2 if name.startswith("absent") else 1), name
        assert not name.startswith("absent") or (ran.out == "" and ran.err.count("\n") == 1), ran
        assert (f"{name}: No such file or directory" if name.startswith("absent") else name) in ran.err
    assert klamm("message", "import", "no.bin", topic, *at).code == 2


def test_an_import_reads_a_pipe(klamm: Klamm, shared_klamm: Broker, topic: str) -> None:
    create_topic(shared_klamm, topic, 1)
    readable, writable = os.pipe()
    os.write(writable, b'{"value":"a"}\n{"value":"b"}\n')
    os.close(writable)
    try:
        path = f"/dev/fd/{readable}"
        ran = klamm("message", "import", path, topic, "--as", "jsonl", "--yes", "-b", shared_klamm.bootstrap)
    finally:
        os.close(readable)
    assert (ran.code, ran.err.count("no record")) == (0, 0), ran
    assert klamm("consume", topic, "-e", "-b", shared_klamm.bootstrap).out.split() == ["a", "b"]


def test_a_dry_run_makes_no_topic_and_says_what_would_be_made(
    klamm: Klamm, any_broker: Broker, topic: str, tmp_path: Path
) -> None:
    at = ("-b", any_broker.bootstrap, "-o", "json")
    (tmp_path / "r.jsonl").write_text('{"value":"a","partition":2}\n')
    for line in (("message", "import", "r.jsonl", topic), ("produce", topic, "--value", "a", "--partitions", "3")):
        ran = klamm(*line, "--create", "--dry-run", *at)
        assert (ran.code, f"{topic} is made, with 3 partitions" in ran.err) == (0, True), ran
        assert klamm("topic", "describe", topic, *at).codes == ["UNKNOWN_TOPIC_OR_PARTITION"]
    assert klamm("message", "import", "r.jsonl", topic, "--create", "--yes", *at).code == 0
    again = klamm("message", "import", "r.jsonl", topic, "--create", "--dry-run", *at)
    assert f"{topic} holds 1 offset already: these come behind" in again.err


def test_an_import_into_a_new_topic_reads_a_pipe_once(klamm: Klamm, shared_klamm: Broker, topic: str) -> None:
    readable, writable = os.pipe()
    os.write(writable, b'{"value":"a","partition":1}\n')
    os.close(writable)
    try:
        line = ("message", "import", f"/dev/fd/{readable}", topic, "--as", "jsonl", "--create", "--partitions", "2")
        ran = klamm(*line, "--yes", "-b", shared_klamm.bootstrap, "-o", "json")
    finally:
        os.close(readable)
    assert (ran.code, ran.items[0]["records"]) == (0, 1), ran


def test_an_interrupted_export_keeps_what_it_wrote_and_goes_on_in_another_file(
    klamm: Klamm, shared_klamm: Broker, topic: str, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    create_topic(shared_klamm, topic, 1)
    producer = make_producer(shared_klamm)
    for number in range(50):
        producer.produce(topic, f"v{number}", partition=0)
    assert producer.flush(TIMEOUT_S) == 0

    async def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("klamm.cli.message_files._copy", interrupted)
    ran = klamm("message", "export", topic, "--to", "a.jsonl", "-b", shared_klamm.bootstrap)
    assert ran.code == 130
    assert "nothing is in a.jsonl" in ran.err
    left = f"klamm message export {topic} -b {shared_klamm.bootstrap} --to a-rest.jsonl --from 0=0 --until 0=50"
    assert f"Go on with another file: {left}\n" in ran.err
    assert not (home / "a.jsonl").exists()


def test_an_export_that_finds_no_room_says_what_is_left_of_it(shared_klamm: Broker, topic: str, tmp_path: Path) -> None:
    create_topic(shared_klamm, topic, 1)
    producer = make_producer(shared_klamm)
    producer.produce(topic, b"v" * 100_000, partition=0)
    assert producer.flush(TIMEOUT_S) == 0
    limited = ["sh", "-c", 'ulimit -f 64; exec "$@"', "sh"]  # 64 blocks of 512 bytes a file
    words = ["message", "export", topic, "--to", "a.jsonl", "-b", shared_klamm.bootstrap]
    ran = subprocess.run(
        [*limited, sys.executable, "-m", "klamm", *words],
        capture_output=True, text=True, check=False, timeout=TIMEOUT_S, cwd=tmp_path,
    )  # fmt: skip
    assert ran.returncode == 1, ran.stderr
    assert "a.jsonl.part: File too large, after " in ran.stderr
    assert "; nothing is in a.jsonl" in ran.stderr
    assert [each.name for each in tmp_path.iterdir()] == ["a.jsonl.part"]


def test_a_header_that_no_record_has_is_said_with_those_there_are(
    klamm: Klamm, shared_klamm: Broker, topic: str
) -> None:
    create_topic(shared_klamm, topic, 1)
    at = ("-b", shared_klamm.bootstrap)
    producer = make_producer(shared_klamm)
    producer.produce(topic, b"v", partition=0)
    assert producer.flush(TIMEOUT_S) == 0
    for line in (("--where", "h.regoin == eu"), ("-H", "regoin=eu")):
        assert "no header at all in 1 record" in klamm("message", "find", topic, *line, *at).err
    for region in (b"eu", b"us"):
        producer.produce(topic, b"v", partition=0, headers={"region": region, "trace": b"1"})
        assert producer.flush(TIMEOUT_S) == 0
    mistyped = klamm("message", "find", topic, "--where", "h.regoin == eu", "--from", "1", *at)
    assert (mistyped.code, "0 matches in 2 records; complete" in mistyped.err) == (0, True), mistyped
    assert "no header 'regoin' in 1 record looked at for that; there is region, trace" in mistyped.err
    for known in ("h.region == asia", "h.region == us"):
        assert "no header" not in klamm("message", "find", topic, "--where", known, "--from", "1", *at).err


@pytest.mark.parametrize(("ending", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_search_says_how_far_it_came_and_the_line_that_goes_on(
    any_broker: Broker, topic: str, ending: signal.Signals, code: int
) -> None:
    create_topic(any_broker, topic, 1)
    producer = make_producer(any_broker)
    for number in range(50):
        producer.produce(topic, f"v{number}", partition=0)
    assert producer.flush(TIMEOUT_S) == 0
    at = ("-b", any_broker.bootstrap)
    command = [sys.executable, "-m", "klamm", "consume", topic, "--text", "v4", *at]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        found = [process.stdout.readline().strip() for _ in range(11)]
        process.send_signal(ending)
        told = process.stderr.read().decode()
        assert process.wait(TIMEOUT_S) == code
    assert found == [b"v4", *(b"v%d" % number for number in range(40, 50))]
    assert "scanned 50  matched 11" in told
    assert f"Go on with: klamm consume {topic} --text v4 -b {any_broker.bootstrap} --from 0=50" in told
    assert "Traceback" not in told
