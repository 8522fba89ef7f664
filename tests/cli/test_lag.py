"""``klamm lag``: show, watch, check, against klamm and Apache Kafka."""

import asyncio
import json
import time
from collections.abc import Generator
from contextlib import contextmanager
from math import ceil
from typing import Any, NamedTuple
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from klamm.client.cluster import Cluster
from klamm.client.decoding import RecordDecoder
from klamm.client.lag_commits import GROUPS_AT_FIRST, GROWTH_MAX
from klamm.client.requests import shapes
from klamm.client.settings import Settings, parse_bootstrap
from klamm.model.version import VERSION
from klamm.records.group_partition import partition_for
from tests.cli.conftest import Klamm
from tests.clients.confluent import create_topic, init_transactions, make_producer
from tests.support.brokers import Broker
from tests.support.commits import commit
from tests.support.process import wait_until

AGE_MS = 2 * 3_600_000 + 300_000
"""Two hours and five minutes."""
SHARE_GROUP_HEARTBEAT = 76
OFFSETS = "__consumer_offsets"

FIELDS = {"group", "topic", "partition", "committed_offset", "log_end_offset", "lag", "lag_state", "lag_time_ms",
          "lag_time_kind"}  # fmt: skip


class Record(NamedTuple):
    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()


def _filled(klamm: Klamm, broker: Broker, topic: str, partitions: int = 2, codec: str = "none") -> int:
    """Make a topic with ten records, two hours old, in each partition; return the first one's timestamp."""
    first_ms = int(time.time() * 1000) - AGE_MS
    assert klamm("topic", "create", topic, "-p", str(partitions), "-b", broker.bootstrap).code == 0
    producer = make_producer(broker, compression_type=codec)
    for partition in range(partitions):
        for number in range(10):
            producer.produce(topic, b"v" * 20, partition=partition, timestamp=first_ms + number * 1000)
    assert producer.flush(60) == 0
    return first_ms


def _commit(broker: Broker, group: str, topic: str, offsets: dict[int, int]) -> None:
    commit(broker.bootstrap, group, {(topic, partition): offset for partition, offset in offsets.items()})


@contextmanager
def _member(broker: Broker, group: str, topic: str, protocol: str = "classic") -> Generator[None, None, None]:
    consumer = Consumer(
        {
            "bootstrap.servers": broker.bootstrap,
            "group.id": group,
            "enable.auto.commit": False,
            "group.protocol": protocol,
        }
    )
    consumer.subscribe([topic])
    deadline = time.monotonic() + 60
    while not consumer.assignment() and time.monotonic() < deadline:
        consumer.poll(0.1)
    assert consumer.assignment(), "no assignment"
    try:
        yield
    finally:
        consumer.close()


@pytest.mark.parametrize("codec", ["none", "zstd"])
def test_lag_is_shown_in_offsets_and_in_the_age_of_the_next_record(
    klamm: Klamm, any_broker: Broker, topic: str, codec: str
) -> None:
    first_ms = _filled(klamm, any_broker, topic, codec=codec)
    _commit(any_broker, topic, topic, {0: 4, 1: 10})
    items = klamm("lag", "show", topic, "--group", topic, "-b", any_broker.bootstrap, "-o", "json").items
    assert set(items[0]) >= FIELDS
    behind, done = items
    assert (behind["committed_offset"], behind["log_end_offset"], behind["lag"]) == (4, 10, 6)
    assert (behind["lag_time_kind"], behind["lag_time_source"]) == ("exact", "create")
    assert behind["lag_time_ms"] == behind["ends_at_ms"] - first_ms - 4000
    assert (done["lag"], done["lag_time_ms"]) == (0, 0)
    assert 0 < behind["retention_used"] < 1
    assert behind["loss_because"] == "time"


def test_retention_by_size_threatens_what_is_unread(klamm: Klamm, any_broker: Broker, topic: str) -> None:
    _filled(klamm, any_broker, topic)
    _commit(any_broker, topic, topic, {0: 4, 1: 10})
    at = ("-b", any_broker.bootstrap)
    kept = ("retention.ms=-1", "retention.bytes=100")  # six unread records of 20 bytes and their heads take more
    assert klamm("config", "set", "topic", topic, *kept, "--yes", *at).code == 0

    def read() -> list[tuple[int | None, str | None]]:
        items = klamm("lag", "show", "--group", topic, *at, "-o", "json").items
        return [(item["loss_in_ms"], item["loss_because"]) for item in items]

    # Apache Kafka's brokers learn of configs after its controller has answered.
    wait_until(lambda: read() == [(0, "size"), (None, None)], 20, "the risk of retention.bytes")
    assert "data loss any moment" in klamm("lag", "show", "--group", topic, *at).out


def test_a_topic_is_shown_with_everybody_who_reads_it(klamm: Klamm, any_broker: Broker, topic: str) -> None:
    _filled(klamm, any_broker, topic)
    for number in (1, 2):
        _commit(any_broker, f"{topic}-g{number}", topic, {0: number})
    at = ("-b", any_broker.bootstrap, "-o", "json")
    rows = [(item["group"][-2:], item["partition"], item["lag"]) for item in klamm("lag", topic, *at).items]
    assert rows == [("g1", 0, 9), ("g1", 1, None), ("g2", 0, 8), ("g2", 1, None)]
    assert [item["lag_state"] for item in klamm("lag", topic, *at).items][1::2] == ["no_commit", "no_commit"]


def test_who_does_not_read_the_topic_is_not_named_beside_it(klamm: Klamm, any_broker: Broker, topic: str) -> None:
    _filled(klamm, any_broker, topic, 1)
    assert klamm("topic", "create", f"{topic}-other", "-b", any_broker.bootstrap).code == 0
    _commit(any_broker, f"{topic}-reader", topic, {0: 4})
    _commit(any_broker, f"{topic}-stranger", f"{topic}-other", {0: 0})
    ran = klamm("lag", topic, "-b", any_broker.bootstrap)
    assert f"{topic}-reader   Empty" in ran.err
    assert f"{topic}-stranger" not in ran.err + ran.out


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_owners_are_named(klamm: Klamm, any_broker: Broker, topic: str, protocol: str) -> None:
    _filled(klamm, any_broker, topic)
    _commit(any_broker, topic, topic, {0: 4})
    with _member(any_broker, topic, topic, protocol):
        items = klamm("lag", "show", "--group", topic, "-b", any_broker.bootstrap, "-o", "json").items
    assert {item["client_id"] for item in items} == {"rdkafka"}
    assert [item["partition"] for item in items] == [0, 1]


def test_people_get_one_line_for_each_group_and_the_worst_partition(
    klamm: Klamm, any_broker: Broker, topic: str
) -> None:
    _filled(klamm, any_broker, topic, 3)
    _commit(any_broker, topic, topic, {0: 4, 1: 2})
    ran = klamm("lag", "-b", any_broker.bootstrap, "--filter", f"group={topic}")
    assert ran.code == 0
    title, line = ran.out.splitlines()
    assert title.split()[:5] == ["GROUP", "STATE", "TYPE", "LAG", "LAG-T"]
    assert f"{topic}:1" in line
    assert "2h0" in line
    assert "∅ 1 partition without commit" in line


def test_all_groups_take_few_requests_and_no_kio(klamm: Klamm, any_broker: Broker, topic: str) -> None:
    _filled(klamm, any_broker, topic)
    for number in range(5):
        _commit(any_broker, f"{topic}-{number}", topic, {0: 10, 1: 10})
    ran = klamm("lag", "show", "--topic", f"{topic}*", "-b", any_broker.bootstrap, "-v", "-o", "json")
    sent = [line.split()[1] for line in ran.err.splitlines() if line.startswith("→")]
    assert len(ran.items) == 10
    assert (sent.count("ListGroups"), sent.count("ListOffsets")) == (1, 1)
    groups = klamm("group", "list", "-b", any_broker.bootstrap, "-o", "json").items  # other tests' too
    more = max(0, sum(group["type"] != "share" for group in groups) - GROUPS_AT_FIRST)
    assert sent.count("OffsetFetch") == 1 + ceil(more / (GROUPS_AT_FIRST * GROWTH_MAX))
    assert "Fetch" not in sent  # nobody lags: there is no record to look at


def test_check_ends_with_3_and_says_which_partition(klamm: Klamm, any_broker: Broker, topic: str) -> None:
    at = ("--group", topic, "-b", any_broker.bootstrap, "-o", "json")
    _filled(klamm, any_broker, topic)
    _commit(any_broker, topic, topic, {0: 4, 1: 9})
    assert klamm("lag", "check", "--max", "10", *at).code == 0
    failed = klamm("lag", "check", "--max", "5", *at)
    assert failed.code == 3
    assert [(item["topic"], item["partition"], item["why"]) for item in failed.items] == [(topic, 0, "lag 6 > 5")]
    assert klamm("lag", "check", "--max-time", "3h", *at).code == 0
    late = klamm("lag", "check", "--max-time", "30m", *at)
    assert (late.code, len(late.items)) == (3, 2)
    assert "> 30m" in late.items[0]["why"]


def test_check_takes_no_missing_commit_for_a_pass_unless_told_to(klamm: Klamm, any_broker: Broker, topic: str) -> None:
    at = ("--group", topic, "-b", any_broker.bootstrap, "-o", "json")
    _filled(klamm, any_broker, topic)
    _commit(any_broker, topic, topic, {0: 10})
    failed = klamm("lag", "check", "--max", "5", *at)
    assert (failed.code, [item["why"] for item in failed.items]) == (3, ["no commit"])
    assert klamm("lag", "check", "--max", "5", "--no-commit", "ok", *at).code == 0


def test_check_of_nothing_is_no_pass(klamm: Klamm, any_broker: Broker, topic: str) -> None:
    at = ("-b", any_broker.bootstrap, "-o", "json")
    for words in (("--group", f"{topic}-none"), (f"{topic}-none",), ("--topic", f"{topic}-none*")):
        ran = klamm("lag", "check", "--max", "5", *words, *at)
        assert (ran.code, len(ran.codes)) == (2, 1), words
    assert klamm("lag", "check", *at).code == 2


def test_a_name_that_is_neither_names_the_near_one(klamm: Klamm, any_broker: Broker, topic: str) -> None:
    _filled(klamm, any_broker, topic, 1)
    _commit(any_broker, topic, topic, {0: 1})
    ran = klamm("lag", f"{topic}x", "-b", any_broker.bootstrap)
    assert ran.code == 2
    assert f"'{topic}'" in ran.err


def test_watch_shows_rates_after_the_first_sample(klamm: Klamm, any_broker: Broker, topic: str) -> None:
    _filled(klamm, any_broker, topic, 1)
    _commit(any_broker, topic, topic, {0: 4})
    ran = klamm("lag", "watch", topic, "--count", "3", "--every", "0.05s", "-b", any_broker.bootstrap, "-o", "jsonl")
    samples = [json.loads(line) for line in ran.out.splitlines()]
    assert (ran.code, [sample["lag"] for sample in samples]) == (0, [6, 6, 6])
    assert [sample["in_rate"] for sample in samples] == [None, 0.0, 0.0]
    assert samples[0]["at_ms"] < samples[2]["at_ms"]
    ran = klamm("lag", "watch", "--group", topic, "--count", "2", "--every", "0.05s", "-b", any_broker.bootstrap)
    assert ran.out.count("GROUP") == 2


def test_watch_says_once_that_there_is_no_group_to_show(klamm: Klamm, any_broker: Broker, topic: str) -> None:
    create_topic(any_broker, topic, 1)
    create_topic(any_broker, f"{topic}-other", 1)
    _commit(any_broker, f"{topic}-stranger", f"{topic}-other", {0: 0})
    line = ("lag", "watch", "--topic", topic, "--count", "2", "--every", "0.05s", "-b", any_broker.bootstrap)
    for form, lines in (("jsonl", 0), ("json", 2)):
        ran = klamm(*line, "-o", form)
        assert (ran.code, ran.err) == (0, "no groups to show; looking every 0.05 s\n")
        assert [json.loads(each)["items"] for each in ran.out.splitlines()] == [[]] * lines
    assert klamm(*line, "-o", "jsonl", "--quiet").err == ""


@pytest.mark.apache
def test_an_open_transaction_is_named_as_what_holds_readers_back(
    klamm: Klamm, apache_kafka: Broker, topic: str
) -> None:
    _filled(klamm, apache_kafka, topic, 1)
    producer = Producer({"bootstrap.servers": apache_kafka.bootstrap, "transactional.id": topic})
    init_transactions(producer)
    producer.begin_transaction()
    producer.produce(topic, b"open", partition=0, timestamp=int(time.time() * 1000) - 20 * 60_000)
    assert producer.flush(60) == 0
    _commit(apache_kafka, topic, topic, {0: 10})
    at = ("-b", apache_kafka.bootstrap)
    item = klamm("lag", "show", "--group", topic, *at, "-o", "json").items[0]
    assert (item["lag"], item["last_stable_offset"], item["lag_to_stable"]) == (1, 10, 0)
    assert item["stuck_ms"] >= 20 * 60_000
    assert "open transaction holds readers back for 20m" in klamm("lag", "--group", topic, *at).out
    producer.abort_transaction(60)
    deadline = time.monotonic() + 60
    while item["lag"] and item["lag_time_ms"] and time.monotonic() < deadline:
        item = klamm("lag", "show", "--group", topic, *at, "-o", "json").items[0]
    assert item["stuck_ms"] is None


@pytest.mark.apache
def test_a_share_group_is_among_the_others_and_its_lag_is_the_brokers(
    klamm: Klamm, apache_kafka: Broker, topic: str
) -> None:
    _filled(klamm, apache_kafka, topic, 1)
    _commit(apache_kafka, f"{topic}-other", topic, {0: 1})  # the first to ask for a coordinator makes its topic

    async def join() -> None:
        shape = shapes(SHARE_GROUP_HEARTBEAT)
        member, epoch = str(uuid4()), 0
        async with Cluster(Settings(parse_bootstrap(apache_kafka.bootstrap), {})) as cluster:
            (broker_id,) = await cluster.brokers()
            deadline = time.monotonic() + 120
            while time.monotonic() < deadline:
                request = shape.ShareGroupHeartbeatRequest(
                    group_id=topic, member_id=member, member_epoch=epoch, rack_id=None, subscribed_topic_names=(topic,)
                )
                response = await cluster.ask(SHARE_GROUP_HEARTBEAT, request, broker_id)
                epoch = max(epoch, int(response.member_epoch))
                if response.assignment is not None and response.assignment.topic_partitions:
                    return
                await asyncio.sleep(0.3)
        pytest.fail("no assignment")

    asyncio.run(join())
    ran = klamm("lag", "show", "--group", topic, "-b", apache_kafka.bootstrap, "-o", "json")
    assert (ran.code, len(ran.items)) == (0, 1), ran.err
    assert (ran.items[0]["topic"], ran.items[0]["client_id"]) == (topic, f"klamm/{VERSION}")
    assert ran.items[0]["lag_state"] in {"no_commit", "ok"}
    consumer = Consumer({"bootstrap.servers": apache_kafka.bootstrap, "group.id": "none", "enable.auto.commit": False})
    decoder, kinds = RecordDecoder(), dict[str, Any]()
    partition = partition_for(topic, len(consumer.list_topics(OFFSETS, 20).topics[OFFSETS].partitions))
    consumer.assign([TopicPartition(OFFSETS, partition, 0)])
    while "share_group_current_member_assignment" not in kinds:
        record = consumer.poll(20)
        assert record is not None, kinds
        read = Record(OFFSETS, record.key(), record.value())
        kinds[decoder.key(read).value["type"]] = decoder.value(read).value
    consumer.close()
    assert kinds["share_group_metadata"]["epoch"] > 0
    assert kinds["share_group_member_metadata"]["subscribed_topic_names"] == [topic]
    assert "share_group_target_assignment_member" in kinds
    assert kinds["share_group_current_member_assignment"]["member_epoch"] > 0
