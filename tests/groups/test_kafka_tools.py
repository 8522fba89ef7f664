"""``kafka-consumer-groups`` in its modes: what it lists, describes, refuses and resets, in groups of both protocols."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from tests.apache_kafka import tools
from tests.clients.confluent import create_topic, make_producer, produce_values
from tests.groups.test_clients import PROTOCOLS, SETTLE_TIMEOUT_S, member, partitions, poll_until
from tests.support.brokers import Broker
from tests.support.process import wait_until

pytestmark = [pytest.mark.wire, pytest.mark.apache, pytest.mark.usefixtures("apache_kafka_jars")]

Groups = Callable[..., str]


@pytest.fixture
def groups(any_broker: Broker) -> Groups:
    """Return a function that runs the tool and returns all that it says, whatever its exit code."""

    def say(*arguments: str) -> str:
        done = tools.run("kafka-consumer-groups", "--bootstrap-server", any_broker.bootstrap, *arguments)
        return done.stdout + done.stderr

    return say


@pytest.fixture(params=PROTOCOLS)
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def consumer(any_broker: Broker, topic: str, protocol: str) -> Iterator[Consumer]:
    """Give the one member of the group ``topic``; it has both partitions, committed at 2 of 3."""
    create_topic(any_broker, topic, 2)
    for partition in range(2):
        produce_values(make_producer(any_broker), topic, [b"a", b"b", b"c"], partition)
    one = member(any_broker, topic, protocol, topic)
    poll_until([one], lambda: partitions(one) == [0, 1])
    # Apache Kafka's coordinator may learn of the topic after everybody else.
    wait_until(lambda: committed(one, topic), SETTLE_TIMEOUT_S, "2 is committed for both partitions")
    yield one
    one.close()


def committed(one: Consumer, topic: str) -> bool:
    """Commit 2 for both partitions; tell whether the broker knew them."""
    try:
        one.commit(offsets=[TopicPartition(topic, partition, 2) for partition in range(2)], asynchronous=False)
    except KafkaException as refused:
        if refused.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise
        return False
    return True


def row_of(output: str, *first: str) -> list[str]:
    """Return the words of the line that begins with these words."""
    rows = [line.split() for line in output.splitlines()]
    found = [row for row in rows if row[: len(first)] == list(first)]
    assert len(found) == 1, output
    return found[0]


@pytest.mark.usefixtures("consumer")
def test_it_lists_and_describes_a_group_with_a_member_and_may_not_change_it(
    groups: Groups, topic: str, protocol: str
) -> None:
    assert row_of(groups("--list", "--state"), topic) == [topic, "Stable"]
    assert row_of(groups("--list", "--type"), topic) == [topic, protocol.capitalize()]
    assert topic not in groups("--list", "--state", "empty").split()
    other = "classic" if protocol == "consumer" else "consumer"
    assert topic not in groups("--list", "--type", other).split()
    described = groups("--describe", "--offsets", "--group", topic)
    assert row_of(described, topic, topic, "1")[2:6] == ["1", "2", "3", "1"]
    state = row_of(groups("--describe", "--state", "--verbose", "--group", topic), topic)
    assert ("Stable" in state, state[-1]) == (True, "1")
    assert ("uniform" if protocol == "consumer" else "range") in state
    members = row_of(groups("--describe", "--members", "--verbose", "--group", topic), topic)
    assert members[-3] == f"{topic}:0,1", members
    reset = ("--reset-offsets", "--group", topic, "--topic", topic, "--to-earliest", "--execute")
    assert "can only be reset if the group" in groups(*reset)
    assert "GroupNotEmptyException" in groups("--delete", "--group", topic)
    deleted = groups("--delete-offsets", "--group", topic, "--topic", topic)
    assert re.search("subscribed", deleted), deleted
    assert row_of(groups("--describe", "--group", topic), topic, topic, "0")[3] == "2", "nothing has changed"


def test_it_resets_what_is_named_and_no_further_than_there_are_records(
    groups: Groups, topic: str, consumer: Consumer
) -> None:
    consumer.close()
    reset = ("--reset-offsets", "--group", topic)
    planned = groups(*reset, "--all-topics", "--to-earliest", "--dry-run")
    assert row_of(planned, topic, topic, "1")[-1] == "0"
    exported = groups(*reset, "--all-topics", "--to-earliest", "--export", "--dry-run")
    assert {f'"{topic}",0,0', f'"{topic}",1,0'} <= set(exported.split()), exported
    assert row_of(groups("--describe", "--group", topic), topic, topic, "1")[3] == "2", "nothing has changed"
    one = groups(*reset, "--topic", f"{topic}:1", "--shift-by", "-100", "--execute")
    assert row_of(one, topic, topic, "1")[-1] == "0"
    assert (
        row_of(groups(*reset, "--topic", f"{topic}:0", "--to-offset", "99", "--execute"), topic, topic, "0")[-1] == "3"
    )
    described = groups("--describe", "--group", topic)
    assert [row_of(described, topic, topic, partition)[3] for partition in "01"] == ["3", "0"]
    assert row_of(groups("--list", "--state", "Empty"), topic) == [topic, "Empty"]
    assert "successful" in groups("--delete-offsets", "--group", topic, "--topic", f"{topic}:0").lower()
    remaining = groups("--describe", "--group", topic)
    assert row_of(remaining, topic, topic, "1")[3] == "0"
    assert not re.search(rf"{topic}\s+{topic}\s+0\s+\d", remaining), remaining
    assert "successful" in groups("--delete", "--group", topic)
    assert "GroupIdNotFoundException" in groups("--describe", "--group", topic)
    assert "GroupIdNotFoundException" in groups("--delete", "--group", topic)
