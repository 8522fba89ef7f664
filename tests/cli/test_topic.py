"""``klamm topic`` and ``klamm config`` against klamm and Apache Kafka."""

import json
from collections.abc import Iterable
from pathlib import Path

import jsonschema
import pytest

from klamm.cli.docs import envelope_schema
from klamm.client.cluster import Cluster
from klamm.client.topics import CreatedTopic
from tests.cli.conftest import Klamm
from tests.support.brokers import Broker
from tests.support.klamm_process import KlammProcess
from tests.support.metadata_log import await_metadata


def test_a_topic_is_created_listed_described_and_deleted(klamm: Klamm, any_broker: Broker, topic: str) -> None:
    at = ("-b", any_broker.bootstrap, "-o", "json")
    made = klamm("topic", "create", topic, "-p", "3", "--config", "retention.ms=60000", *at)
    assert made.code == 0, made.err
    assert made.items[0]["partitions"] == 3
    assert made.items[0]["created"] is True
    assert topic in [item["name"] for item in klamm("topics", *at).items]
    described = klamm("topic", "describe", topic, *at).items[0]
    assert [part["partition"] for part in described["partitions"]] == [0, 1, 2]
    assert described["partitions"][0]["log_end_offset"] == 0
    assert described["configs"]["retention.ms"] == "60000"
    gone = klamm("topic", "delete", topic, "--confirm", topic, *at)
    assert gone.items == [{"name": topic, "deleted": True}]
    await_metadata(any_broker.port)
    assert topic not in [item["name"] for item in klamm("topics", *at).items]


def test_a_topic_can_be_undone_when_the_wait_for_its_leaders_is_interrupted(
    klamm: Klamm, shared_klamm: Broker, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def interrupted(_cluster: Cluster, _created: Iterable[CreatedTopic]) -> None:
        raise KeyboardInterrupt

    at = ("-b", shared_klamm.bootstrap, "-o", "json")
    monkeypatch.setattr("klamm.client.topics.wait_until_usable", interrupted)
    assert klamm("topic", "create", topic, *at).code == 130
    assert topic in [item["name"] for item in klamm("topics", *at).items]
    assert klamm("undo", "--list", *at).items[0]["summary"] == f"created topic {topic}"
    number = klamm("undo", "--list", *at).items[0]["name"]
    assert klamm("undo", number, "--confirm", number, *at).code == 0
    assert topic not in [item["name"] for item in klamm("topics", *at).items]


def test_the_line_that_undoes_a_change_works_as_it_is_told(klamm: Klamm, shared_klamm: Broker, topic: str) -> None:
    made = klamm("topic", "create", topic, "-b", shared_klamm.bootstrap)
    (told,) = [line for line in made.err.splitlines() if line.startswith("Undo with: klamm ")]
    words = told.removeprefix("Undo with: klamm ").split()
    assert words[0] == "undo"
    undone = klamm(*words, "--confirm", words[1])
    assert undone.code == 0, undone.err
    assert f"Redo with: klamm undo {int(words[1]) + 1} -b {shared_klamm.bootstrap}" in undone.err


def test_a_missing_topic_is_an_error_and_is_not_created(klamm: Klamm, any_broker: Broker, topic: str) -> None:
    at = ("-b", any_broker.bootstrap, "-o", "json")
    for verb in ("describe", "list"):
        ran = klamm("topic", verb, topic, *at)
        assert ran.code == 2
        assert ran.codes == ["UNKNOWN_TOPIC_OR_PARTITION"]
    assert topic not in [item["name"] for item in klamm("topics", *at).items]


def test_partial_failure_is_failure_and_the_rest_is_shown(klamm: Klamm, any_broker: Broker, topic: str) -> None:
    at = ("-b", any_broker.bootstrap, "-o", "json")
    klamm("topic", "create", topic, *at)
    ran = klamm("topic", "describe", topic, f"{topic}x", *at)
    assert ran.code == 1
    assert [item["name"] for item in ran.items] == [topic]
    assert [error["name"] for error in ran.envelope["errors"]] == [f"{topic}x"]
    assert f"Did you mean '{topic}'" in ran.err


def test_creating_twice_fails_unless_if_not_exists(klamm: Klamm, any_broker: Broker, topic: str) -> None:
    at = ("-b", any_broker.bootstrap, "-o", "json")
    assert klamm("topic", "create", topic, *at).code == 0
    again = klamm("topic", "create", topic, *at)
    assert (again.code, again.codes) == (1, ["TOPIC_ALREADY_EXISTS"])
    there = klamm("topic", "create", topic, "-p", "7", "--if-not-exists", *at)
    assert (there.code, f"left as it was: {topic}" in there.err) == (0, True)


def test_a_dry_run_has_the_broker_check_and_changes_nothing(klamm: Klamm, any_broker: Broker, topic: str) -> None:
    at = ("-b", any_broker.bootstrap, "-o", "json")
    ran = klamm("topic", "create", topic, "--dry-run", *at)
    assert ran.code == 0
    assert ran.items[0]["created"] is False
    assert topic not in [item["name"] for item in klamm("topics", *at).items]
    assert klamm("topic", "create", topic, "--dry-run", "--config", "retention.ms=soon", *at).codes == [
        "INVALID_CONFIG"
    ]


def test_deleting_needs_the_name_and_yes_is_not_enough(klamm: Klamm, any_broker: Broker, topic: str) -> None:
    at = ("-b", any_broker.bootstrap)
    klamm("topic", "create", topic, *at)
    for words in ((), ("--yes",), ("--confirm", "other")):
        ran = klamm("topic", "delete", topic, *words, *at)
        assert ran.code == 4
        assert f"--confirm {topic}" in ran.err
    assert "1 partition," in ran.err
    assert klamm("topic", "describe", topic, *at).code == 0


def test_undo_makes_a_deleted_topic_again_and_says_what_it_cannot(klamm: Klamm, any_broker: Broker, topic: str) -> None:
    at = ("-b", any_broker.bootstrap, "-o", "json")
    klamm("topic", "create", topic, "-p", "2", "--config", "retention.ms=60000", *at)
    klamm("topic", "delete", topic, "--confirm", topic, *at)
    listed = klamm("undo", "--list", *at).items[0]
    assert listed["cannot"] == "the records"
    assert klamm("undo", "--yes", *at).code == 0
    again = klamm("topic", "describe", topic, *at).items[0]
    assert len(again["partitions"]) == 2
    assert again["configs"]["retention.ms"] == "60000"


def test_configs_are_set_shown_unset_and_undone(klamm: Klamm, any_broker: Broker, topic: str) -> None:
    at = ("-b", any_broker.bootstrap, "-o", "json")
    klamm("topic", "create", topic, *at)
    assert klamm("config", "set", "topic", topic, "retention.ms=1000", *at).code == 4
    assert klamm("config", "set", "topic", topic, "retention.ms=1000", "--yes", *at).items[0]["changed"] is True

    def overrides() -> dict[str, str]:
        await_metadata(any_broker.port)
        return {
            item["name"]: item["value"] for item in klamm("config", "get", "topic", topic, "--overrides", *at).items
        }

    assert overrides()["retention.ms"] == "1000"
    assert klamm("undo", "--yes", *at).code == 0
    assert "retention.ms" not in overrides()
    klamm("topic", "alter", topic, "--config", "retention.ms=2000", "--yes", *at)
    await_metadata(any_broker.port)
    assert klamm("config", "unset", "topic", topic, "retention.ms", "--yes", *at).code == 0
    assert "retention.ms" not in overrides()


def test_a_mistyped_config_names_the_near_one_and_changes_nothing(klamm: Klamm, any_broker: Broker, topic: str) -> None:
    at = ("-b", any_broker.bootstrap, "-o", "json")
    klamm("topic", "create", topic, *at)
    ran = klamm("config", "set", "topic", topic, "retention.m=1", "--yes", *at)
    assert (ran.code, ran.codes) == (2, ["INVALID_CONFIG"])
    assert "'retention.ms'" in ran.err
    assert klamm("config", "get", "topic", topic, "retention.m", *at).codes == ["INVALID_CONFIG"]


def test_partitions_grow_and_never_shrink(klamm: Klamm, any_broker: Broker, topic: str) -> None:
    at = ("-b", any_broker.bootstrap, "-o", "json")
    klamm("topic", "create", topic, *at)
    assert klamm("topic", "add-partitions", topic, "--to", "3", "--yes", *at).code == 0
    await_metadata(any_broker.port)
    assert len(klamm("partition", "list", topic, *at).items) == 3
    assert klamm("topic", "add-partitions", topic, "--to", "2", "--yes", *at).codes == ["INVALID_PARTITIONS"]
    assert klamm("topic", "add-partitions", topic, "--to", "2", *at).code == 1, "nobody is asked what would be refused"


def test_a_topic_that_is_only_compacted_keeps_its_records_and_says_what_would_delete_them(
    klamm: Klamm, any_broker: Broker, topic: str
) -> None:
    at = ("-b", any_broker.bootstrap)
    assert klamm("topic", "create", topic, "--config", "cleanup.policy=compact", *at).code == 0
    ran = klamm("topic", "trim", topic, "--before", "end", "--confirm", topic, *at)
    assert ran.code == 1
    assert f"POLICY_VIOLATION: {topic}:0: it is only compacted" in ran.err
    assert f"next: have it deleted from as well: klamm topic alter {topic} --config cleanup.policy" in ran.err


def test_trimming_an_empty_topic_works_and_stats_have_numbers(klamm: Klamm, any_broker: Broker, topic: str) -> None:
    at = ("-b", any_broker.bootstrap, "-o", "json")
    klamm("topic", "create", topic, *at)
    ran = klamm("topic", "trim", topic, "--before", "end", "--confirm", topic, *at)
    assert ran.code == 0, ran.err
    assert ran.items[0]["log_start_offset"] == 0
    assert klamm("topic", "stats", topic, *at).items[0]["offset_span"] == 0


def test_a_diff_of_configs_ends_with_3_when_they_differ(klamm: Klamm, any_broker: Broker, topic: str) -> None:
    at = ("-b", any_broker.bootstrap, "-o", "json")
    klamm("topic", "create", topic, f"{topic}b", *at)
    assert klamm("config", "diff", "topic", topic, f"{topic}b", *at).code == 0
    klamm("topic", "alter", topic, "--config", "retention.ms=5", "--yes", *at)
    await_metadata(any_broker.port)
    ran = klamm("config", "diff", "topic", topic, f"{topic}b", *at)
    assert ran.code == 3
    assert [item["name"] for item in ran.items] == ["retention.ms"]


@pytest.mark.parametrize("words", [
    ("topics",), ("topic", "list", "no-such-topic"), ("brokers",), ("broker", "describe"), ("broker", "logdirs"),
    ("broker", "config", "1"), ("cluster", "info"), ("cluster", "health"), ("cluster", "api-versions"), ("partitions",),
    ("groups",), ("acls",), ("users",), ("quotas",), ("txns",), ("cluster", "quorum"), ("cluster", "features"),
    ("partition", "reassign", "status"), ("partition", "reassign", "plan"), ("doctor",), ("dump",), ("context", "test"),
])  # fmt: skip
def test_json_of_every_reading_command_has_the_published_schema(
    klamm: Klamm, any_broker: Broker, words: tuple[str, ...]
) -> None:
    ran = klamm(*words, "-b", any_broker.bootstrap, "-o", "json")
    assert ran.code == 2 if "no-such-topic" in words else ran.code in {0, 1, 3}, ran.err
    jsonschema.validate(json.loads(ran.out), envelope_schema())
    if ran.code == 1:
        assert set(ran.codes) <= {"UNSUPPORTED_VERSION", "SECURITY_DISABLED"}, ran.err


def test_read_only_prod_pin_and_protect_each_refuse(klamm: Klamm, any_broker: Broker, topic: str, home: Path) -> None:
    klamm("topic", "create", topic, "-b", any_broker.bootstrap)
    contexts = {
        "reader": "read_only = true",
        "prod": 'env = "prod"',
        "pinned": 'cluster_id = "another"',
        "kept": f'protect = ["{topic[:5]}*"]',
    }
    (home / "config.toml").write_text(
        "".join(f'[contexts.{name}]\nbootstrap = "{any_broker.bootstrap}"\n{more}\n' for name, more in contexts.items())
    )
    for name in contexts:
        ran = klamm("topic", "delete", topic, "--confirm", topic, "-c", name)
        assert ran.code == 4, (name, ran.err)
        assert "next:" in ran.err
    refused = klamm("topic", "create", f"{topic}2", "-c", "prod")
    assert (refused.code, "--write" in refused.err) == (4, True)
    assert klamm("topic", "create", f"{topic}2", "-c", "prod", "--write").code == 0
    assert klamm("topic", "describe", topic, "-b", any_broker.bootstrap).code == 0


def test_an_environment_variable_makes_everything_read_only(
    klamm: Klamm, any_broker: Broker, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KLAMM_READ_ONLY", "1")
    assert klamm("topic", "create", topic, "-b", any_broker.bootstrap).code == 4


def test_names_may_follow_a_plural(klamm: Klamm, shared_klamm: KlammProcess, topic: str) -> None:
    at = ("-b", shared_klamm.bootstrap, "-o", "json")
    klamm("topic", "create", topic, *at)
    assert [item["name"] for item in klamm("topics", f"{topic[:-1]}*", *at).items] == [topic]
    missing = klamm("topics", f"{topic}x", *at)
    assert (missing.code, missing.codes) == (2, ["UNKNOWN_TOPIC_OR_PARTITION"])
    assert klamm("topic", f"{topic}x", *at).code == 2
