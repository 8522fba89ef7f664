"""``klamm record`` and ``--replay``: reading commands say of a recording what they said of the cluster."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Klamm
from tests.cli.test_lag import _commit, _filled, _member
from tests.clients.confluent import make_producer
from tests.support.brokers import Broker
from tests.support.metadata_log import await_metadata

READ = (
    "topic list {}",
    "topic describe {}",
    "partition list {}",
    "group list {}",
    "group describe {}",
    "group members {}",
    "group offsets export {}",
    "lag show --group {}",
    "lag show {} --topic {}",
    "broker list",
    "cluster info",
    "config get topic {}",
)
CLOCKS = {"lag_time_ms", "committed_at_ms", "ends_at_ms", "retention_used", "loss_in_ms", "fenced"}


def _plain(value: Any) -> Any:
    """Leave out what depends on the time of asking, and whether a broker is fenced, which Metadata does not say."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items() if key not in CLOCKS}
    return [_plain(each) for each in value] if isinstance(value, list) else value


@pytest.fixture
def recording(tmp_path: Path) -> str:
    return str(tmp_path / "r.arrows")


def test_every_reading_command_works_on_a_recording_and_says_the_same(
    klamm: Klamm, any_broker: Broker, topic: str, recording: str
) -> None:
    at = ("-b", any_broker.bootstrap)
    _filled(klamm, any_broker, topic)
    assert klamm("topic", "alter", topic, "--config", "retention.ms=86400000", "--yes", *at).code == 0
    await_metadata(any_broker.port)
    _commit(any_broker, topic, topic, {0: 4})
    with _member(any_broker, topic, topic):
        ran = klamm("record", recording, "--count", "2", "--every", "0.05s", "-o", "json", *at)
        assert (ran.code, ran.items[0]["samples"], ran.items[0]["failed"]) == (0, 2, 0)
        live = {line: klamm(*line.format(topic, topic).split(), *at, "-o", "json") for line in READ}
    for line, before in live.items():
        then = klamm(*line.format(topic, topic).split(), "--replay", recording, "-o", "json")
        assert (then.code, then.codes) == (0, []), (line, then.err)
        assert _plain(then.items) == _plain(before.items), line


def test_time_goes_back_and_lag_is_as_it_was(klamm: Klamm, any_broker: Broker, topic: str, recording: str) -> None:
    at = ("-b", any_broker.bootstrap)
    _filled(klamm, any_broker, topic, 1)
    _commit(any_broker, topic, topic, {0: 4})
    assert klamm("record", recording, "--count", "1", *at).code == 0
    producer = make_producer(any_broker)
    producer.produce(topic, b"one more", partition=0)
    assert producer.flush(60) == 0
    assert klamm("record", recording, "--count", "1", *at).code == 0
    line = ("lag", "show", "--group", topic, "--replay", recording, "-o", "json")
    early, late = klamm(*line, "--at", "start").items[0], klamm(*line).items[0]
    assert (early["lag"], late["lag"]) == (6, 7)
    assert late["ends_at_ms"] > early["ends_at_ms"]
    assert late["lag_time_ms"] - early["lag_time_ms"] == late["ends_at_ms"] - early["ends_at_ms"]
    history = klamm("lag", "history", topic, "--replay", recording, "-o", "jsonl")
    assert [json.loads(row)["lag"] for row in history.out.splitlines()] == [6, 7]


def test_nothing_that_is_replayed_reaches_the_live_cluster(
    klamm: Klamm, any_broker: Broker, topic: str, recording: str
) -> None:
    at = ("-b", any_broker.bootstrap)
    _filled(klamm, any_broker, topic, 1)
    _commit(any_broker, topic, topic, {0: 4})
    assert klamm("record", recording, "--count", "1", *at).code == 0
    for line in (
        f"topic delete {topic} --confirm {topic}",
        f"group seek {topic} --to start --yes",
        f"topic create {topic}-new",
        f"config set topic {topic} retention.ms=1 --yes",
        "doctor",
    ):
        ran = klamm(*line.split(), "--replay", recording, *at, "-o", "json")
        assert (ran.code, ran.codes) == (4, ["REFUSED"]), (line, ran.err)
    assert klamm("acl", "list", "--replay", recording, "-o", "json").codes == ["NOT_RECORDED"]
    assert klamm("group", "offsets", "export", topic, *at, "-o", "json").items[0]["offset"] == 4


def test_what_is_no_recording_or_no_time_of_it_says_so(klamm: Klamm, recording: str) -> None:
    assert klamm("topics", "--replay", recording).err.startswith("klamm: RECORDING: there is no recording")
    Path(recording).write_text("no")
    ran = klamm("topics", "--replay", recording)
    assert ran.code == 1
    assert "is no recording" in ran.err
    assert klamm("record", recording, "-b", "localhost:1").code == 1


def test_lag_history_looks_for_a_while_without_a_recording(klamm: Klamm, any_broker: Broker, topic: str) -> None:
    _filled(klamm, any_broker, topic, 1)
    _commit(any_broker, topic, topic, {0: 4})
    line = ("lag", "history", topic, "--for", "0.3s", "--every", "0.1s", "-b", any_broker.bootstrap, "-o", "jsonl")
    rows = [json.loads(row) for row in klamm(*line).out.splitlines()]
    assert {row["lag"] for row in rows} == {6}
    assert rows == sorted(rows, key=lambda row: row["at_ms"])
