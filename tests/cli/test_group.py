"""``klamm group``: offsets, members, lag, against klamm and Apache Kafka."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka import Consumer, Producer

from tests.cli.conftest import Klamm
from tests.support.brokers import Broker
from tests.support.commits import commit


def _filled(klamm: Klamm, broker: Broker, topic: str, partitions: int = 2, records: int = 10) -> None:
    assert klamm("topic", "create", topic, "-p", str(partitions), "-b", broker.bootstrap).code == 0
    producer = Producer({"bootstrap.servers": broker.bootstrap})
    for partition in range(partitions):
        for number in range(records):
            producer.produce(topic, f"{number}".encode(), partition=partition)
    assert producer.flush(60) == 0


def _commit(broker: Broker, group: str, topic: str, offsets: dict[int, int]) -> None:
    commit(broker.bootstrap, group, {(topic, partition): offset for partition, offset in offsets.items()})


@contextmanager
def _member(broker: Broker, group: str, topic: str) -> Generator[None, None, None]:
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": group, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    for _ in range(200):
        consumer.poll(0.1)
        if consumer.assignment():
            break
    assert consumer.assignment(), "no assignment"
    try:
        yield
    finally:
        consumer.close()


def test_a_partition_without_a_commit_has_no_lag_and_not_zero(klamm: Klamm, any_broker: Broker, topic: str) -> None:
    at = ("-b", any_broker.bootstrap, "-o", "json")
    _filled(klamm, any_broker, topic)
    _commit(any_broker, topic, topic, {0: 4})
    with _member(any_broker, topic, topic):
        rows = klamm("group", "describe", topic, *at).items[0]["partitions"]
    by_partition = {row["partition"]: row for row in rows}
    assert by_partition[0]["lag_state"] == "ok"
    assert by_partition[1]["lag"] in {None, 10, 0}
    if by_partition[1]["committed_offset"] is None:
        assert (by_partition[1]["lag"], by_partition[1]["lag_state"]) == (None, "no_commit")


def test_a_group_is_listed_described_and_deleted_and_undo_brings_its_offsets_back(
    klamm: Klamm, any_broker: Broker, topic: str
) -> None:
    at = ("-b", any_broker.bootstrap, "-o", "json")
    _filled(klamm, any_broker, topic)
    _commit(any_broker, topic, topic, {0: 4, 1: 7})
    assert topic in [item["name"] for item in klamm("groups", *at).items]
    rows = klamm("group", "describe", topic, *at).items[0]["partitions"]
    assert [(row["committed_offset"], row["log_end_offset"], row["lag"]) for row in rows] == [(4, 10, 6), (7, 10, 3)]
    assert klamm("group", "delete", topic, *at).code == 4
    assert klamm("group", "delete", topic, "--yes", *at).items == [{"name": topic, "deleted": True}]
    assert klamm("group", "describe", topic, *at).codes == ["GROUP_ID_NOT_FOUND"]
    assert klamm("undo", "--yes", *at).code == 0
    rows = klamm("group", "describe", topic, *at).items[0]["partitions"]
    assert [row["committed_offset"] for row in rows] == [4, 7]


def test_seek_moves_offsets_and_restore_takes_it_back(klamm: Klamm, any_broker: Broker, topic: str) -> None:
    at = ("-b", any_broker.bootstrap, "-o", "json")
    _filled(klamm, any_broker, topic)
    _commit(any_broker, topic, topic, {0: 4, 1: 7})
    dry = klamm("group", "seek", topic, "--to", "start", "--dry-run", *at)
    assert [(item["before"], item["after"], item["changed"]) for item in dry.items] == [(4, 0, False), (7, 0, False)]
    assert klamm("group", "seek", topic, "--to", "-3", "--yes", *at).code == 0
    exported = klamm("group", "offsets", "export", topic, *at)
    assert [item["offset"] for item in exported.items] == [7, 7]
    number = klamm("undo", "--list", *at).items[0]["name"]
    assert klamm("group", "offsets", "restore", f"@undo-{number}", "--yes", *at).code == 0
    assert [item["offset"] for item in klamm("group", "offsets", "export", topic, *at).items] == [4, 7]


def test_a_record_that_a_group_is_stuck_at_is_skipped_in_its_partition_alone(
    klamm: Klamm, any_broker: Broker, topic: str
) -> None:
    at = ("-b", any_broker.bootstrap, "-o", "json")
    _filled(klamm, any_broker, topic, partitions=3)
    _commit(any_broker, topic, topic, {0: 4, 1: 7})
    line = ("group", "seek", topic, "--topic", topic, "--yes", *at)
    ran = klamm(*line, "-p", "1", "--shift-by", "1")
    assert [(item["partition"], item["before"], item["after"]) for item in ran.items] == [(1, 7, 8)], ran.err
    assert klamm(*line, "--partition", "0", "--to", "9").code == 0
    exported = klamm("group", "offsets", "export", topic, *at)
    assert [(item["partition"], item["offset"]) for item in exported.items] == [(0, 9), (1, 8)]
    back = klamm(*line, "--shift-by", "-100")
    assert [(item["partition"], item["after"]) for item in back.items] == [(0, 0), (1, 0)], "2 has no commit to move"
    assert f"{topic}:0@-91 is before the log's start: taken as 0" in back.err
    assert klamm("undo", "--yes", *at).code == 0
    assert [item["offset"] for item in klamm("group", "offsets", "export", topic, *at).items] == [9, 8]
    for wrong in (("--to", "1", "--shift-by", "1"), (), ("--shift-by", "x"), ("-p", "7", "--to", "1")):
        assert klamm(*line, *wrong).code == 2, wrong
    assert klamm("group", "seek", topic, "-p", "0", "--to", "1", "--yes", *at).code == 2
    assert klamm(*line, "-p", "2", "--shift-by", "1").codes == ["NO_OFFSETS"]


def test_exported_offsets_can_be_imported_into_a_new_group(
    klamm: Klamm, any_broker: Broker, topic: str, tmp_path: Path
) -> None:
    at = ("-b", any_broker.bootstrap, "-o", "json")
    _filled(klamm, any_broker, topic)
    _commit(any_broker, topic, topic, {0: 4, 1: 7})
    file = tmp_path / "offsets.json"
    file.write_text(klamm("group", "offsets", "export", topic, *at).out)
    assert klamm("group", "offsets", "import", f"{topic}-copy", str(file), "--yes", *at).code == 0
    copied = klamm("group", "offsets", "export", f"{topic}-copy", *at).items
    assert [item["offset"] for item in copied] == [4, 7]
    lines = tmp_path / "offsets.jsonl"
    lines.write_text("".join(json.dumps(item) + "\n" for item in copied))
    assert klamm("group", "offsets", "import", f"{topic}-third", str(lines), "--yes", *at).code == 0
    file.write_text("not json")
    assert klamm("group", "offsets", "import", topic, str(file), "--yes", *at).code == 2


def test_offsets_of_a_topic_are_deleted(klamm: Klamm, any_broker: Broker, topic: str) -> None:
    at = ("-b", any_broker.bootstrap, "-o", "json")
    _filled(klamm, any_broker, topic)
    _commit(any_broker, topic, topic, {0: 4})
    part = klamm("group", "offsets", "delete", topic, "--topic", topic, "--topic", "none", "--yes", *at)
    assert (part.code, part.codes, len(part.items)) == (1, ["NO_OFFSETS"], 1)
    assert klamm("group", "offsets", "export", topic, *at).items == []


def test_a_live_member_is_shown_and_forbids_seeking_and_deleting(klamm: Klamm, any_broker: Broker, topic: str) -> None:
    at = ("-b", any_broker.bootstrap, "-o", "json")
    _filled(klamm, any_broker, topic)
    with _member(any_broker, topic, topic):
        members = klamm("group", "members", topic, *at).items
        assert sorted(members[0]["assignments"]) == [f"{topic}:0", f"{topic}:1"]
        assert klamm("group", "seek", topic, "--to", "end", "--topic", topic, "--yes", *at).code == 4
        refused = klamm("group", "delete", topic, "--yes", *at)
        assert (refused.code, refused.codes) == (1, ["NON_EMPTY_GROUP"])
        assert "klamm group members" in refused.err


def test_a_missing_group_is_2_everywhere_and_names_the_near_one(klamm: Klamm, any_broker: Broker, topic: str) -> None:
    at = ("-b", any_broker.bootstrap, "-o", "json")
    _filled(klamm, any_broker, topic, 1, 1)
    _commit(any_broker, topic, topic, {0: 1})
    for words in (("describe",), ("members",), ("delete", "--yes"), ("list",), ("offsets", "export")):
        ran = klamm("group", *words, f"{topic}x", *at)
        assert (ran.code, ran.codes) == (2, ["GROUP_ID_NOT_FOUND"]), words
        assert f"'{topic}'" in ran.err, words


def test_describing_all_groups_takes_a_fixed_number_of_requests(klamm: Klamm, any_broker: Broker, topic: str) -> None:
    _filled(klamm, any_broker, topic, 1, 1)
    for number in range(5):
        _commit(any_broker, f"{topic}-{number}", topic, {0: 1})
    ran = klamm("group", "describe", f"{topic}-*", "-b", any_broker.bootstrap, "-v", "-o", "json")
    assert len(ran.items) == 5
    # ApiVersions, Metadata, ListGroups, DescribeCluster; DescribeGroups, OffsetFetch, ListOffsets
    assert sum(line.startswith("→") for line in ran.err.splitlines()) <= 7


def test_a_trimmed_topic_begins_where_it_was_cut(klamm: Klamm, any_broker: Broker, topic: str) -> None:
    at = ("-b", any_broker.bootstrap, "-o", "json")
    _filled(klamm, any_broker, topic, 1)
    ran = klamm("topic", "trim", topic, "--before", "6", "--confirm", topic, *at)
    assert [item["log_start_offset"] for item in ran.items] == [6]
    part = klamm("topic", "describe", topic, *at).items[0]["partitions"][0]
    assert (part["log_start_offset"], part["log_end_offset"], part["offset_span"]) == (6, 10, 4)


def test_no_name_commands_the_terminal_or_makes_up_a_line_of_a_plan(
    klamm: Klamm, any_broker: Broker, topic: str
) -> None:
    at = ("-b", any_broker.bootstrap)
    _filled(klamm, any_broker, topic)
    name = f"{topic}\x1b[31m\nPlan: nothing é 注文"
    for words in (
        ("seek", name, "--to", "start", "--create", "--topic", topic, "--yes"),
        ("describe", name),
        ("members", name),
        ("offsets", "export", name),
        ("delete", name),
        ("delete", name, "--yes"),
        ("describe", name),
    ):
        ran = klamm("group", *words, *at)
        assert "\x1b" not in ran.out + ran.err, words
        assert not any(line.startswith("Plan: nothing") for line in (ran.out + ran.err).splitlines()), words
    assert klamm("group", "describe", name, "-o", "json", *at).envelope["errors"][0]["name"] == name
