"""Resetting offsets from the interface: to a position or by some offsets, of all partitions or of some."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from klamm.client.cluster import Cluster
from klamm.client.committed import Committed, commit_offsets
from klamm.client.errors import ClientError, SettingsError
from klamm.client.groups import coordinators
from klamm.client.offsets import Partition, start_and_end
from klamm.client.positions import Resolved, resolve_positions, shifted
from klamm.client.settings import Settings, parse_bootstrap
from klamm.client.topics import NewTopic, create_topics
from klamm.tui import registry
from klamm.tui.data.groups import PartitionRow
from klamm.tui.dialogs.change import Prepared, make
from klamm.tui.dialogs.groups import SeekGroup
from klamm.tui.dialogs.topics import TrimTopic
from klamm.tui.screens.groups import group_changes
from klamm.tui.session import Session
from tests.clients.confluent import make_producer
from tests.support.brokers import Broker


def fill(broker: Broker, topic: str) -> None:
    producer = make_producer(broker)
    for number in range(20):
        producer.produce(topic, b"%d" % number, partition=number % 2)
    assert producer.flush(60) == 0


@asynccontextmanager
async def group_at_2(broker: Broker, topic: str) -> AsyncGenerator[Session]:
    """Yield a session on a cluster where a group, named as the topic, has read 2 of 10 in two partitions of three."""
    session = Session(Settings(parse_bootstrap(broker.bootstrap), {}), registry.loader_of)
    session.cluster = Cluster(session.settings, request_timeout_s=60)  # a machine that is busy is no silent broker
    session.start()

    async def commit() -> None:
        where, errors = await coordinators(session.cluster, [topic])
        assert not errors
        metadata = await session.cluster.metadata([topic])
        offsets = {(topic, index): Committed(2, -1, "") for index in (0, 1)}
        for error in (await commit_offsets(session.cluster, where[topic], topic, offsets, metadata)).values():
            raise error

    try:
        await session.run(lambda: create_topics(session.cluster, [NewTopic(topic, 3, 1)]))
        await asyncio.to_thread(fill, broker, topic)
        await session.run(lambda: session.cluster.retry(commit))
        yield session
    finally:
        await asyncio.to_thread(session.close)


async def prepare(session: Session, group: str, **values: str) -> Prepared:
    change = SeekGroup(group)
    given = {field.key: field.default for field in change.fields} | values
    return await session.run(lambda: change.prepare(session, given))


async def test_all_partitions_some_of_them_or_one_are_moved(any_broker: Broker, topic: str) -> None:
    async with group_at_2(any_broker, topic) as session:
        for values, lines in (
            ({"to": "end"}, ["16 offsets are skipped: never read by this group", "0  2 → 10  (+8)", "1  2 → 10  (+8)"]),
            (
                {"shift": "1", "topic": topic, "partitions": "1"},
                ["1 offsets are skipped: never read by this group", "1  2 → 3  (+1)"],
            ),
            ({"shift": "-1"}, ["2 offsets are read again", "0  2 → 1  (-1)", "1  2 → 1  (-1)"]),
            (
                {"to": "start", "topic": topic, "partitions": "0,2"},
                ["2 offsets are read again", "0  2 → 0  (-2)", "2  none → 0"],
            ),
        ):
            prepared = await prepare(session, topic, **values)
            assert prepared.problem == ""
            assert [line.removeprefix(f"{topic}:") for line in prepared.plan.lines] == lines
            ran = await asyncio.to_thread(dry_run, prepared, any_broker.bootstrap)
            for line in lines[1:]:
                partition, _, move = line.partition("  ")
                assert move.split("  ")[0] in ran, f"the command of {values} means the same for partition {partition}"


def dry_run(prepared: Prepared, bootstrap: str) -> str:
    line = [sys.executable, "-m", "klamm", *prepared.words, "--dry-run", "-b", bootstrap]
    ran = subprocess.run(line, check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout + ran.stderr


async def test_a_reset_that_makes_no_sense_says_why_and_is_not_made(any_broker: Broker, topic: str) -> None:
    async with group_at_2(any_broker, topic) as session:
        for values, why in (
            ({}, "to where? a position, or by how many offsets"),
            ({"to": "end", "shift": "1"}, "either to a position, or by so many offsets"),
            ({"to": "end", "partitions": "1"}, "partitions are of one topic: which?"),
            ({"to": "end", "topic": topic, "partitions": "0,3"}, f"{topic} has no partition 3; it has 0 to 2"),
            ({"to": "end", "topic": "no-such-topic"}, "there is no topic 'no-such-topic'"),
            ({"shift": "1", "topic": topic, "partitions": "2"}, "the group has no committed offsets there"),
        ):
            prepared = await prepare(session, topic, **values)
            assert (prepared.problem, prepared.apply) == (why, None)
        with pytest.raises(SettingsError, match="Or move by: 'x' is no number"):
            await prepare(session, topic, shift="x")
        with pytest.raises(SettingsError, match="Partitions: '' is no number"):
            await prepare(session, topic, to="end", topic=topic, partitions="0,")


def test_a_move_stays_within_the_log_and_says_so() -> None:
    before = {("t", 0): 5, ("t", 1): 5, ("t", 3): 5}
    logs = {("t", 0): Resolved(0, 4, 9), ("t", 1): Resolved(0, 0, 9), ("t", 2): Resolved(0, 0, 9)}
    assert shifted(before, logs, -3) == (
        {("t", 0): 4, ("t", 1): 2},
        ["t:0@2 is before the log's start: taken as 4"],
    )
    assert shifted(before, logs, 5)[1][0] == "t:0@10 is beyond the log's end: taken as 9"


def test_the_partition_under_the_cursor_can_be_reset_alone() -> None:
    row = PartitionRow(
        "orders", 3, 1, 5, 4, None, lag_time_kind=None, rate_in=None, rate_out=None, eta_ms=None, never=False,
        owner="", problem="",
    )  # fmt: skip
    labels = [item.label for item in group_changes(["billing"], row) if item.destructive]
    assert labels == [
        "Reset the offsets of billing…",
        "Reset its offset in orders:3 alone…",
        "Delete offsets of billing…",
        "Delete billing…",
    ]
    change = next(item.make() for item in group_changes(["billing"], row) if "alone" in item.label)
    assert {field.key: field.default for field in change.fields} == {
        "to": "", "shift": "", "topic": "orders", "partitions": "3",
    }  # fmt: skip
    whole = next(item.make() for item in group_changes(["billing"], row) if "Reset the offsets" in item.label)
    assert all(field.default == "" for field in whole.fields), "all of it, whatever the cursor is on"


async def test_a_trim_is_planned_as_on_the_command_line_and_leaves_alone_what_is_unknown(
    any_broker: Broker, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    unknown = ClientError("LEADER_NOT_AVAILABLE", "it has no leader now")

    async def but_one(*given: Any) -> tuple[dict[Partition, Resolved], dict[Partition, ClientError]]:
        resolved, errors = await resolve_positions(*given)
        return {where: each for where, each in resolved.items() if where[1] != 1}, errors | {(topic, 1): unknown}

    async with group_at_2(any_broker, topic) as session:
        with monkeypatch.context() as patched:
            patched.setattr("klamm.client.deleting.resolve_positions", but_one)
            planned = await session.run(lambda: TrimTopic(topic).prepare(session, {"before": "4"}))
        assert f"{topic}:0  0 → 4  (4 offsets)" in planned.plan.lines
        assert f"{topic}:1  stays as it is: it has no leader now" in planned.plan.lines
        said = dry_run(planned, any_broker.bootstrap)
        assert [line for line in planned.plan.lines[1:] if ":1 " not in line and line not in said] == []
        done, _ = await session.run(lambda: make(session, planned))
        assert (done.changed, done.errors) == (True, [unknown])
        metadata = await session.run(lambda: session.cluster.metadata([topic]))
        found, _ = await session.run(lambda: start_and_end(session.cluster, metadata, [(topic, 0), (topic, 1)]))
        assert (found[topic, 0][0], found[topic, 1][0]) == (4, 0)
