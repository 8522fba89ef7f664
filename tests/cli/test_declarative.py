"""``dump``, ``diff``, ``plan``, ``apply``: additive, all or nothing, with the line of each mistake."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from klamm.client.configs import alter_configs
from tests.cli.conftest import Klamm
from tests.support.brokers import Broker
from tests.support.metadata_log import await_metadata


def _file(folder: Path, topics: Mapping[str, object]) -> str:
    path = folder / "cluster.yaml"
    path.write_text(yaml.safe_dump({"klamm": 1, "topics": topics}))
    return path.name


def _named(klamm: Klamm, broker: Broker, prefix: str) -> list[str]:
    return [item["name"] for item in klamm("topic", "list", f"{prefix}*", "-b", broker.bootstrap, "-o", "json").items]


def test_apply_makes_and_changes_and_undo_takes_it_back(
    klamm: Klamm, any_broker: Broker, topic: str, home: Path
) -> None:
    at = ("-b", any_broker.bootstrap, "-o", "json")
    klamm("topic", "create", topic, *at)
    wanted = {topic: {"partitions": 2, "configs": {"retention.ms": 1000}}, f"{topic}-new": {"partitions": 1}}
    file = _file(home, wanted)
    steps = klamm("plan", file, *at)
    assert steps.code == 0, steps.err
    assert {(step["sign"], step["kind"]) for step in steps.items} == {
        ("+", "topic"),
        ("~", "partitions"),
        ("~", "config"),
    }
    assert klamm("plan", file, "--detailed-exitcode", *at).code == 3
    assert klamm("apply", file, "--dry-run", "--detailed-exitcode", *at).code == 3
    assert klamm("apply", file, *at).code == 4
    assert klamm("apply", file, "--yes", *at).code == 0
    await_metadata(any_broker.port)
    assert klamm("plan", file, "--detailed-exitcode", *at).items == []
    assert klamm("topic", "describe", topic, *at).items[0]["configs"]["retention.ms"] == "1000"
    number = klamm("undo", "--list", *at).items[0]["name"]
    assert klamm("undo", "--confirm", number, *at).code == 0
    await_metadata(any_broker.port)
    assert _named(klamm, any_broker, topic) == [topic]


def test_an_apply_that_is_ended_in_between_can_be_taken_back(
    klamm: Klamm, shared_klamm: Broker, topic: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = ("-b", shared_klamm.bootstrap, "-o", "json")
    klamm("topic", "create", topic, *at)
    file = _file(home, {topic: {"configs": {"retention.ms": 1000}}, f"{topic}-new": {"partitions": 1}})

    async def ended(*words: Any, validate_only: bool = False) -> Any:
        if validate_only:
            return await alter_configs(*words, validate_only=True)
        raise KeyboardInterrupt

    monkeypatch.setattr("klamm.client.reconcile.alter_configs", ended)
    assert klamm("apply", file, "--yes", *at).code == 130
    entry, _ = klamm("undo", "--list", *at).items
    assert entry["summary"] == f"applied {file}: 1 change"
    assert klamm("undo", "--confirm", entry["name"], *at).code == 0
    await_metadata(shared_klamm.port)
    assert _named(klamm, shared_klamm, topic) == [topic]


def test_apply_never_deletes_without_prune(klamm: Klamm, any_broker: Broker, topic: str, home: Path) -> None:
    at = ("-b", any_broker.bootstrap, "-o", "json")
    klamm("topic", "create", topic, *at)
    file = _file(home, {f"{topic}-only": {"partitions": 1}})
    assert klamm("apply", file, "--yes", *at).code == 0
    assert topic in _named(klamm, any_broker, topic)
    refused = klamm("apply", file, "--prune", "--yes", *at)
    assert refused.code == 4
    assert f"--confirm {file}" in refused.err
    assert f"- topic {topic} with its records" in refused.err
    assert f"{topic}: 1 partition, 0 bytes on all replicas" in refused.err
    assert topic in _named(klamm, any_broker, topic)


def test_a_conflict_stops_everything(klamm: Klamm, any_broker: Broker, topic: str, home: Path) -> None:
    at = ("-b", any_broker.bootstrap, "-o", "json")
    klamm("topic", "create", topic, "-p", "3", *at)
    ran = klamm("apply", _file(home, {topic: {"partitions": 1}, f"{topic}-new": {}}), "--yes", *at)
    assert (ran.code, ran.codes) == (1, ["CONFLICT"])
    assert _named(klamm, any_broker, topic) == [topic]


def test_what_the_broker_would_refuse_is_refused_before_anything_is_done(
    klamm: Klamm, any_broker: Broker, topic: str, home: Path
) -> None:
    at = ("-b", any_broker.bootstrap, "-o", "json")
    wanted = {f"{topic}-a": {}, f"{topic}-b": {"configs": {"retention.ms": "soon"}}}
    ran = klamm("apply", _file(home, wanted), "--yes", *at)
    assert (ran.code, ran.codes) == (1, ["INVALID_CONFIG"])
    assert _named(klamm, any_broker, topic) == []


def test_a_dump_applied_again_changes_nothing(klamm: Klamm, any_broker: Broker, topic: str, home: Path) -> None:
    at = ("-b", any_broker.bootstrap)
    klamm("topic", "create", topic, "-p", "2", "--config", "retention.ms=77", *at)
    dumped = klamm("dump", *at)
    assert dumped.code == 0, dumped.err
    (home / "dump.yaml").write_text(dumped.out)
    assert klamm("diff", "dump.yaml", *at).code == 0
    klamm("topic", "alter", topic, "--config", "retention.ms=78", "--yes", *at)
    await_metadata(any_broker.port)
    assert klamm("diff", "dump.yaml", *at).code == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("klamm: 1\ntopics:\n  a: {partition: 3}\n", "f.yaml:3: topic a has no 'partition'; did you mean 'partitions'"),
        ("klamm: 1\ntopic: {}\n", "f.yaml:2: the file has no 'topic'; did you mean 'topics'"),
        (
            "klamm: 1\ntopics:\n  a:\n    partitions: many\n",
            "f.yaml:4: partitions must be a number above 0, not 'many'",
        ),
        ("klamm: 2\n", "f.yaml:1: the file must say `klamm: 1`"),
        ("topics: [a\n", "no YAML"),
        ("klamm: 1\nacls:\n- {principal: a, operation: raed, resource: topic, name: t}\n", "did you mean 'read'"),
        (
            "klamm: 1\nquotas:\n- {entity: {user: a}, values: {producer_byte_rate: x}}\n",
            "f.yaml:3: producer_byte_rate must be",
        ),
        ("klamm: 1\ntopics:\n  a: {}\n  a: {}\n", "f.yaml:4: topics has 'a' twice"),
        ("", "must be a mapping"),
    ],
)
def test_a_mistake_is_told_with_file_and_line_and_nothing_is_sent(
    klamm: Klamm, home: Path, text: str, said: str
) -> None:
    (home / "f.yaml").write_text(text)
    ran = klamm("apply", "f.yaml", "--yes", "-b", "127.0.0.1:1")
    assert ran.code == 2
    assert said in ran.err
