"""``klamm topic cp`` and ``clone`` against klamm and Apache Kafka: nothing missed, nothing twice, nothing changed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from klamm import Broker as EmbeddedBroker
from klamm.client.errors import ClientError
from klamm.client.messages.jsonl import Draft
from klamm.client.messages.producing import Sender
from tests.cli.conftest import Klamm, Ran
from tests.clients.confluent import await_stable, create_topic, init_transactions, make_producer
from tests.support.brokers import Broker
from tests.support.metadata_log import await_metadata

TIMEOUT_S = 60
RECORDS = 600


def fill(broker: Broker, topic: str, partitions: int = 3) -> None:
    """Write records with null, empty and binary parts, and repeated headers."""
    create_topic(broker, topic, partitions)
    producer = make_producer(broker)
    for number in range(RECORDS):
        producer.produce(
            topic,
            None if number % 7 == 0 else b"" if number % 7 == 1 else b"\x00\xff%d" % number,
            None if number % 5 == 0 else f"key-{number % 50}".encode(),
            number % partitions,
            timestamp=1_700_000_000_000 + number,
            headers=[("same", b"1"), ("same", b"2"), ("null", None)] if number % 3 else [],
        )
    assert producer.flush(TIMEOUT_S) == 0


def content(klamm: Klamm, broker: Any, topic: str) -> list[dict[str, Any]]:
    ran = klamm("consume", topic, "-e", "-o", "jsonl", "-b", broker.bootstrap)
    assert ran.code == 0, ran.err
    rows: list[dict[str, Any]] = [json.loads(line) for line in ran.out.splitlines()]
    kept = [{key: value for key, value in row.items() if key != "topic"} for row in rows]
    return sorted(kept, key=lambda row: (row["partition"], row["offset"]))


def test_a_copy_has_the_same_records_in_the_same_places(klamm: Klamm, any_broker: Broker, topic: str) -> None:
    fill(any_broker, topic)
    at = ("-b", any_broker.bootstrap, "-o", "json")
    made = klamm("topic", "cp", topic, f"{topic}-copy", "--create", "-y", *at)
    assert made.code == 0, made.err
    item = made.items[0]
    assert (item["records"], item["sent"], item["target_records"], item["verified"]) == (
        RECORDS,
        RECORDS,
        RECORDS,
        True,
    )
    assert item["source_hash"] == item["target_hash"]
    assert content(klamm, any_broker, f"{topic}-copy") == content(klamm, any_broker, topic)


def test_a_clone_has_partitions_and_configs_too_and_can_be_undone(klamm: Klamm, any_broker: Broker, topic: str) -> None:
    at = ("-b", any_broker.bootstrap, "-o", "json")
    klamm("topic", "create", topic, "-p", "2", "--config", "retention.ms=86400000", *at)
    assert klamm("topic", "clone", topic, f"{topic}-b", "--empty", "-y", *at).code == 0
    found = klamm("topic", "describe", f"{topic}-b", *at).items[0]
    assert (len(found["partitions"]), found["configs"]) == (2, {"retention.ms": "86400000"})
    again = klamm("topic", "clone", topic, f"{topic}-b", "-y", *at)
    assert (again.code, again.codes) == (4, ["REFUSED"])
    assert klamm("undo", "--confirm", "2", "-b", any_broker.bootstrap).code == 0
    await_metadata(any_broker.port)
    assert klamm("topic", "describe", f"{topic}-b", *at).code == 2


def test_a_topic_is_copied_to_another_cluster_from_one_that_is_read_only(
    klamm: Klamm, any_broker: Broker, klamm_broker: EmbeddedBroker, topic: str, home: Path
) -> None:
    fill(any_broker, topic)
    (home / "config.toml").write_text(
        f'[contexts.live]\nbootstrap = "{any_broker.bootstrap}"\nread_only = true\n'
        f'[contexts.here]\nbootstrap = "{klamm_broker.bootstrap}"\n'
    )
    ran = klamm("topic", "clone", topic, "-c", "live", "--to-context", "here", "-y", "-o", "json")
    assert ran.code == 0, ran.err
    assert ran.items[0]["verified"] is True
    assert content(klamm, klamm_broker, topic) == content(klamm, any_broker, topic)
    back = klamm("topic", "cp", topic, "-c", "here", "--to-context", "live", "--create", "-y", "-o", "json")
    assert (back.code, back.codes) == (4, ["REFUSED"])


KILLED = """
import os, signal, sys
from klamm.cli.main import main
from klamm.client.messages.producing import Sender

real, left = Sender.send, int(sys.argv.pop(1))

async def send(self, drafts, topic):
    global left
    some = list(drafts)
    await real(self, some[:left], topic)
    left -= len(some)
    if left <= 0:
        await self.flush()
        os.kill(os.getpid(), signal.SIGKILL)

Sender.send = send
main(sys.argv[1:])
"""
"""Runs a line of klamm in a process that ends at once when it has sent so many records."""


def test_a_copy_to_another_cluster_and_back_is_the_same_however_often_it_is_killed(
    klamm: Klamm, any_broker: Broker, klamm_broker: EmbeddedBroker, topic: str
) -> None:
    fill(any_broker, topic)
    trimmed = klamm("topic", "trim", topic, "--before", "10", "--confirm", topic, "-b", any_broker.bootstrap)
    assert trimmed.code == 0, trimmed.err
    left = RECORDS - 3 * 10
    here, there = any_broker.bootstrap, klamm_broker.bootstrap
    for source, target, from_, to in ((topic, topic, here, there), (topic, f"{topic}-back", there, here)):
        line = ("topic", "cp", source, target, "-b", from_, "--to-bootstrap", to, "--create", "-y", "-o", "json")
        for count, resume in ((100, ()), (150, ("--resume",))):
            command = [sys.executable, "-c", KILLED, str(count), *line, *resume]
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
            assert done.returncode == -signal.SIGKILL, done.stderr
        ran = klamm(*line, "--resume")
        assert ran.code == 0, ran.err
        item = ran.items[0]
        assert (item["records"], item["skipped"], item["sent"], item["verified"]) == (left, 250, left - 250, True)
    copies = (content(klamm, klamm_broker, topic), content(klamm, any_broker, f"{topic}-back"))
    without_offsets = [[{**row, "offset": 0} for row in rows] for rows in (content(klamm, any_broker, topic), *copies)]
    assert without_offsets[0] == without_offsets[1] == without_offsets[2]


class StoppedError(ClientError):
    """What stops a copy in a test."""


@pytest.fixture
def stopping(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function after which a copy stops once it has sent so many records."""
    real = Sender.send

    def stop_after(records: int) -> None:
        left = records

        async def send(self: Sender, drafts: Iterable[Draft], topic: str) -> None:
            nonlocal left
            some = list(drafts)
            await real(self, some[:left], topic)
            left -= len(some)
            if left < 0:
                await self.flush()
                code, msg = "STOPPED", "stopped by the test"
                raise StoppedError(code, msg)

        monkeypatch.setattr(Sender, "send", send)

    def go_on() -> None:
        monkeypatch.setattr(Sender, "send", real)

    stop_after.go_on = go_on  # type: ignore[attr-defined]
    return stop_after


@pytest.mark.parametrize("records", [0, 1, 333])
def test_a_copy_that_was_stopped_goes_on_without_a_record_missing_or_twice(
    klamm: Klamm, any_broker: Broker, topic: str, stopping: Any, records: int
) -> None:
    fill(any_broker, topic)
    line = ("topic", "cp", topic, f"{topic}-copy", "-b", any_broker.bootstrap, "-o", "json")
    stopping(records)
    stopped = klamm(*line, "--create", "-y")
    assert (stopped.code, stopped.codes) == (1, ["STOPPED"])
    assert "--resume" in stopped.err
    assert klamm(*line, "--resume", "-y").err.count("--resume") == 1, "it is not added again"
    stopping.go_on()
    refused = klamm(*line, "-y")
    assert (refused.code, "--resume goes on with it" in refused.err) == (4, True)
    ran = klamm(*line, "--resume", "-y")
    assert ran.code == 0, ran.err
    item = ran.items[0]
    assert (item["skipped"], item["sent"], item["verified"]) == (records, RECORDS - records, True)
    assert content(klamm, any_broker, f"{topic}-copy") == content(klamm, any_broker, topic)
    done = klamm(*line, "--resume", "-y")
    assert (done.code, "there is no copy to go on with" in done.err) == (4, True)


def test_somebody_else_writing_to_the_destination_is_noticed(
    klamm: Klamm, any_broker: Broker, topic: str, stopping: Any
) -> None:
    fill(any_broker, topic, partitions=1)
    line = ("topic", "cp", topic, f"{topic}-copy", "-b", any_broker.bootstrap, "-o", "json")
    stopping(100)
    assert klamm(*line, "--create", "-y").code == 1
    stopping.go_on()
    producer = make_producer(any_broker)
    producer.produce(f"{topic}-copy", b"not of the copy")
    assert producer.flush(TIMEOUT_S) == 0
    ran = klamm(*line, "--resume", "-y")
    assert (ran.code, ran.codes) == (1, ["NOT_THIS_COPY"])


def test_a_part_is_copied_behind_what_is_there(klamm: Klamm, any_broker: Broker, topic: str) -> None:
    fill(any_broker, topic, partitions=1)
    at = ("-b", any_broker.bootstrap, "-o", "json")
    klamm("topic", "create", f"{topic}-copy", "-p", "1", *at)
    line = ("topic", "cp", topic, f"{topic}-copy", "-y", *at)
    assert klamm(*line, "--from", "10..20").items[0]["records"] == 10
    filtered = klamm(*line, "-H", "same=2", "-k", "key-1")
    assert filtered.items[0]["verified"] is True
    assert f"{topic}-copy holds 10 offsets already: these come behind" in filtered.err
    source, target = content(klamm, any_broker, topic), content(klamm, any_broker, f"{topic}-copy")
    wanted = source[10:20] + [row for row in source if row["key"] == "key-1" and row["headers"]]
    assert [{**row, "offset": 0} for row in target] == [{**row, "offset": 0} for row in wanted]


def test_fewer_partitions_are_refused_unless_keys_may_move(klamm: Klamm, any_broker: Broker, topic: str) -> None:
    fill(any_broker, topic)
    at = ("-b", any_broker.bootstrap, "-o", "json")
    klamm("topic", "create", f"{topic}-copy", "-p", "2", *at)
    line = ("topic", "cp", topic, f"{topic}-copy", "-y", *at)
    refused = klamm(*line)
    assert (refused.code, refused.codes) == (1, ["TOO_FEW_PARTITIONS"])
    moved = klamm(*line, "--repartition")
    assert (moved.code, moved.items[0]["verified"]) == (0, True)
    places: dict[str, set[int]] = {}
    for row in content(klamm, any_broker, f"{topic}-copy"):
        places.setdefault(str(row["key"]), set()).add(row["partition"])
    assert all(len(found) == 1 for key, found in places.items() if key != "None")


def test_records_of_aborted_transactions_are_left_out(klamm: Klamm, apache_kafka: Broker, topic: str) -> None:
    create_topic(apache_kafka, topic, 1)
    producer = make_producer(apache_kafka, transactional_id=topic)
    init_transactions(producer)
    for number, commits in enumerate((True, False, True)):
        producer.begin_transaction()
        producer.produce(topic, b"%d" % number)
        producer.flush(TIMEOUT_S)
        producer.commit_transaction(TIMEOUT_S) if commits else producer.abort_transaction(TIMEOUT_S)
    await_stable(apache_kafka, topic)
    ran = klamm("topic", "cp", topic, f"{topic}-copy", "--create", "-y", "-b", apache_kafka.bootstrap, "-o", "json")
    assert ran.code == 0, ran.err
    assert [row["value"] for row in content(klamm, apache_kafka, f"{topic}-copy")] == ["0", "2"]


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (("cp", "{topic}", "{topic}"), 2, "USAGE"),
        (("cp", "{topic}"), 2, "USAGE"),
        (("cp", "{topic}x", "y"), 2, "UNKNOWN_TOPIC_OR_PARTITION"),
        (("cp", "{topic}", "{topic}-none"), 2, "UNKNOWN_TOPIC_OR_PARTITION"),
        (("cp", "{topic}", "{topic}-none", "--create"), 4, "REFUSED"),
        (("cp", "{topic}", "{topic}-none", "--create", "--resume", "-y"), 4, "REFUSED"),
        (("cp", "{topic}", "{topic}-none", "--create", "--where", "value. ==", "-y"), 2, None),
        (("cp", "{topic}", "--to-context", "nope", "-y"), 2, "SETTINGS"),
        (("cp", "{topic}", "--to-bootstrap", "127.0.0.1:1", "-y"), 5, "UNREACHABLE_TCP"),
    ],
)
def test_a_mistake_is_named_and_nothing_is_made(
    klamm: Klamm, any_broker: Broker, topic: str, words: tuple[str, ...], code: int, error: str | None
) -> None:
    create_topic(any_broker, topic, 1)
    at = ("-b", any_broker.bootstrap, "-o", "json")
    ran: Ran = klamm("topic", *(word.format(topic=topic) for word in words), *at)
    assert ran.code == code, ran.err
    assert error is None or ran.codes == [error]
    assert not [item for item in klamm("topics", *at).items if item["name"].startswith(f"{topic}-")]
