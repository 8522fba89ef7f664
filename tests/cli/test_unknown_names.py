"""A name that the cluster does not have: 2 where no other name of the line is there, 1 where one is, everywhere."""

import pytest
from confluent_kafka.admin import AdminClient

from klamm.cli import run as run_module
from klamm.cli.main import load_commands
from klamm.cli.output import Result
from klamm.cli.run import Run
from klamm.cli.spec import Command
from tests.cli.conftest import Klamm
from tests.support.brokers import Broker
from tests.support.klamm_process import KlammProcess

_TOPIC_LINES = (
    *("topic describe {no}", "topic list {no}", "topics {no}", "topic delete {no} --confirm {no}"),
    *("topic alter {no} --config retention.ms=1 -y", "topic add-partitions {no} --to 9 -y"),
    *("topic trim {no} --before end --confirm {no}", "topic stats {no}", "topic producers {no}"),
    *("topic cp {no} {yes}-2 --create -y", "topic cp {yes} {no} -y", "topic clone {no} {yes}-2 -y"),
    *("partition list {no}", "partition elect {no} -y", "partition reassign plan {no}"),
    *("config get topic {no}", "config set topic {no} retention.ms=1 -y", "config unset topic {no} retention.ms -y"),
    *("config diff topic {yes} {no}", "config diff topic {no} {yes}"),
    *("consume {no} -e", "produce {no} --value v -y", "message find {no} x", "message latest {no}"),
    *("message get {no}:0@0", "message resend {no}:0@0 -y", "message resend {yes}:0@0 --to {no} -y"),
    *("message export {no}", "dlq redrive {no} --to {yes} -y", "dlq redrive {yes} --to {no} -y"),
    *("trace {no}:0@0", "trace {no}:0@-1", "trace find x --topic {no}", "trace follow --topic {no} --for 1s"),
    *("trace send {no} --no-deliver", "lag {no}", "lag show --topic {no}", "lag check {no} --max 1"),
    *("lag watch {no} --count 1", "lag history {no} --for 1s"),
)
_GROUP_LINES = (
    *(
        "group describe {no}",
        "group list {no}",
        "group members {no}",
        "group delete {no} -y",
        "group seek {no} --to end",
    ),
    *("group offsets export {no}", "group offsets delete {no} --topic x", "group remove-member {no} m -y"),
    *("lag --group {no}", "lag check --group {no} --max 1"),
)


@pytest.mark.parametrize("line", _TOPIC_LINES)
def test_a_mistyped_topic_is_2_and_names_the_near_one(klamm: Klamm, any_broker: Broker, topic: str, line: str) -> None:
    at = ("-b", any_broker.bootstrap)
    assert klamm("topic", "create", topic, *at).code == 0
    assert klamm("produce", topic, "--value", "v", "-y", *at).code == 0
    no = f"{topic[:-3]}x{topic[-3:]}"
    ran = klamm(*line.format(no=no, yes=topic).split(), *at)
    assert ran.code == 2, ran.err
    assert f"{no!r}" in ran.err
    assert f"'{topic}'" in ran.err
    assert no not in klamm("topics", "-o", "name", *at).out.split()


@pytest.mark.parametrize("line", ["find-hanging {no}", "abort {no} --partition 0 --producer-id 3 --confirm {no}"])
def test_a_mistyped_topic_of_transactions_is_2(klamm: Klamm, apache_kafka: Broker, topic: str, line: str) -> None:
    assert klamm("topic", "create", topic, "-b", apache_kafka.bootstrap).code == 0
    ran = klamm("txn", *line.format(no=f"{topic}x").split(), "-b", apache_kafka.bootstrap)
    assert (ran.code, f"'{topic}'" in ran.err) == (2, True), ran.err


@pytest.mark.parametrize("line", _GROUP_LINES)
def test_a_mistyped_group_is_2_and_names_the_near_one(klamm: Klamm, any_broker: Broker, topic: str, line: str) -> None:
    at = ("-b", any_broker.bootstrap)
    assert klamm("topic", "create", topic, *at).code == 0
    assert klamm("group", "seek", topic, "--topic", topic, "--to", "end", "--create", "-y", *at).code == 0
    no = f"{topic[:-3]}x{topic[-3:]}"
    ran = klamm(*line.format(no=no).split(), *at)
    assert (ran.code, f"'{topic}'" in ran.err) == (2, True), ran.err


def _takes_topics(command: Command) -> bool:
    return any(argument.completes == "topic" for argument in command.arguments)


def test_every_command_that_takes_a_topic_has_a_line_here() -> None:
    lines = [line.split() for line in _TOPIC_LINES]
    there = {" ".join(words[:length]) for words in lines for length in (1, 2, 3)}
    there |= {"message consume", "message produce"}  # as consume and produce
    left_out = {
        *("txn abort", "txn find-hanging"),  # Kafka's own, below
        "message import",  # takes a file first, which is looked at before the topic
        "partition reassign cancel",  # the names are of what moves
    }
    lacking = [each.path for each in load_commands() if _takes_topics(each) and each.path not in there | left_out]
    assert not lacking


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("topic", "describe", "{yes}", "{no}"), 1),
        (("topic", "producers", "{yes}", "{no}"), 1),
        (("lag", "check", "{yes}", "{no}", "--max", "9"), 1),
        (("message", "get", "{yes}:0@0", "{no}:0@0"), 1),
        (("message", "get", "{yes}:0@0", "{no}:0@0", "-o", "json"), 1),
        (("message", "get", "{no}:0@0", "{no}:0@1", "-o", "json"), 2),
        (("topic", "list", "{no}*"), 2),
    ],
)
def test_where_another_name_is_there_it_is_a_partial_failure(
    klamm: Klamm, any_broker: Broker, topic: str, words: tuple[str, ...], code: int
) -> None:
    at = ("-b", any_broker.bootstrap)
    assert klamm("topic", "create", topic, *at).code == 0
    assert klamm("produce", topic, "--value", "v", "-y", *at).code == 0
    assert klamm("group", "seek", topic, "--topic", topic, "--to", "end", "--create", "-y", *at).code == 0
    ran = klamm(*(word.format(yes=topic, no=f"{topic}x") for word in words), *at)
    assert ran.code == code, ran.err


def test_an_envelope_of_nothing_but_unknown_names_is_whole(klamm: Klamm, any_broker: Broker, topic: str) -> None:
    for words in (("consume", "-e"), ("topic", "describe"), ("group", "describe"), ("message", "latest")):
        ran = klamm(*words, f"{topic}x", "-b", any_broker.bootstrap, "-o", "json")
        assert (ran.code, ran.items) == (2, [])
        assert ran.envelope["errors"][0]["name"] == f"{topic}x"


def test_a_watch_of_a_mistyped_topic_ends_at_once(klamm: Klamm, shared_klamm: KlammProcess, topic: str) -> None:
    assert klamm("topic", "describe", topic, "--watch=100ms", "-b", shared_klamm.bootstrap).code == 2


def test_a_watch_goes_on_when_what_it_shows_goes_away(
    klamm: Klamm, shared_klamm: KlammProcess, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert klamm("topic", "create", topic, "-b", shared_klamm.bootstrap).code == 0
    looks: list[int] = []
    print_once = run_module._print

    def between_looks(run: Run, result: Result, code: int) -> int:
        looks.append(code)
        if len(looks) == 1:
            admin = AdminClient({"bootstrap.servers": shared_klamm.bootstrap})
            admin.delete_topics([topic])[topic].result()
        elif looks.count(2) == 2:
            raise KeyboardInterrupt
        return print_once(run, result, code)

    monkeypatch.setattr(run_module, "_print", between_looks)
    assert klamm("topic", "describe", topic, "--watch=100ms", "-b", shared_klamm.bootstrap).code == 130
    assert (looks[0], looks[-1]) == (0, 2)
