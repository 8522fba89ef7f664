"""A config that there is not: named with the near one, wherever it is written."""

from pathlib import Path

import pytest

from tests.cli.conftest import Klamm
from tests.support.brokers import Broker


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("retention.ms", "retentin.ms"), 1),
        (("retentin.ms",), 2),
    ],
)
def test_a_config_beside_one_that_is_there_is_a_partial_failure(
    klamm: Klamm, any_broker: Broker, topic: str, words: tuple[str, ...], code: int
) -> None:
    at = ("-b", any_broker.bootstrap)
    assert klamm("topic", "create", topic, *at).code == 0
    assert klamm("config", "get", "topic", topic, *words, *at).code == code


@pytest.mark.parametrize(
    "line",
    [
        "topic create {t}-new --config retentin.ms=3",
        "topic alter {t} --config retentin.ms=3 -y",
        "topic alter {t} --unset retentin.ms -y",
        "config set topic {t} retentin.ms=3 -y",
        "config unset topic {t} retentin.ms -y",
        "config get topic {t} retentin.ms",
    ],
)
def test_a_mistyped_config_is_2_names_the_near_one_and_changes_nothing(
    klamm: Klamm, any_broker: Broker, topic: str, line: str
) -> None:
    at = ("-b", any_broker.bootstrap, "-o", "json")
    assert klamm("topic", "create", topic, *at).code == 0
    ran = klamm(*line.format(t=topic).split(), *at)
    assert (ran.code, ran.codes) == (2, ["INVALID_CONFIG"]), ran.err
    assert "Did you mean 'retention.ms'" in ran.err
    assert klamm("undo", "--list", *at).items[-1]["summary"].startswith("created")
    assert len(klamm("undo", "--list", *at).items) == 1
    assert f"{topic}-new" not in klamm("topics", "-o", "name", "-b", any_broker.bootstrap).out


@pytest.mark.parametrize(
    ("text", "said", "code"),
    [
        ("  {t}:\n    configs:\n      retention.bytes: 5\n      retentin.ms: 3\n",
         "f.yaml:6: {t}: Unknown topic config name: retentin.ms. Did you mean 'retention.ms'", 2),
        ("  {t}-new:\n    configs: {{retentin.ms: 3}}\n", "f.yaml:4: {t}-new: Unknown topic config name", 2),
        ("  {t}:\n    configs:\n      retention.ms: soon\n", "f.yaml:5: {t}: Invalid value soon", 1),
        ("  {t}:\n    partitions: 1\n", "f.yaml:4: partitions {t}: 2 → 1: partitions cannot be removed", 1),
    ],
)  # fmt: skip
@pytest.mark.parametrize("verb", ["plan", "apply"])
def test_what_a_broker_refuses_of_a_file_is_told_with_its_line(
    klamm: Klamm, any_broker: Broker, topic: str, home: Path, text: str, said: str, code: int, verb: str
) -> None:
    at = ("-b", any_broker.bootstrap)
    assert klamm("topic", "create", topic, "-p", "2", *at).code == 0
    (home / "f.yaml").write_text("klamm: 1\ntopics:\n" + text.format(t=topic))
    ran = klamm(verb, "f.yaml", *(("--yes",) if verb == "apply" else ()), *at)
    assert (ran.code, said.format(t=topic) in ran.err) == (code, True), ran.err
    assert f"{topic}-new" not in klamm("topics", "-o", "name", *at).out


def test_a_broker_config_that_looks_mistyped_is_doubted_since_brokers_keep_it(
    klamm: Klamm, any_broker: Broker, home: Path
) -> None:
    at = ("-b", any_broker.bootstrap, "--dry-run")
    (home / "f.yaml").write_text("klamm: 1\nbrokers: {log.retentin.ms: 5}\n")
    for line in ("config set broker default log.retentin.ms=5", "apply f.yaml"):
        ran = klamm(*line.split(), *at)
        assert (ran.code, "Did you mean 'log.retention.ms'" in ran.err) == (0, True), ran.err
    for key in ("log.retention.ms", "my.own.plugin.x"):
        assert "note:" not in klamm("config", "set", "broker", "default", f"{key}=5", *at).err


def test_a_config_not_set_for_all_brokers_is_no_mistake(klamm: Klamm, any_broker: Broker) -> None:
    ran = klamm("config", "get", "broker", "default", "log.retention.bytes", "-b", any_broker.bootstrap)
    assert (ran.code, "klamm config get broker ID log.retention.bytes" in ran.err) == (0, True), ran.err
    ran = klamm("config", "get", "broker", "default", "log.retentin.bytes", "-b", any_broker.bootstrap)
    assert (ran.code, "'log.retention.bytes'" in ran.err) == (2, True), ran.err
