"""An actor of a broker that has failed, by a mistake of ours, costs what it stood for and nothing else."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from klamm.actors.runtime import LoopActorRef
from klamm.core.controller_requests import CreateTopics
from klamm.core.metadata_delta import MetadataDelta
from klamm.model.errors import KafkaStorageError
from klamm.model.ids import LeaderEpoch, TopicName
from klamm.server import unopened
from klamm.server.embedded import Broker
from klamm.server.own_topics import OwnTopics
from klamm.server.partitions import Partition
from klamm.storage.partition_log import PartitionLog
from tests.server.replicas import create_topic, on_loop
from tests.support.process import wait_until

TIMEOUT_S = 60.0


@pytest.fixture
def broker() -> Iterator[Broker]:
    with Broker(memory=True, config={"log.retention.check.interval.ms": "1"}) as running:
        yield running


def fail(broker: Broker, ref: LoopActorRef) -> None:
    actor: Any = ref.actor_inbox.actor
    on_loop(broker, lambda: actor.fail_soon(RuntimeError("a test")))
    wait_until(lambda: not ref.is_alive(), TIMEOUT_S, "the actor has failed")


def partition_of(broker: Broker, topic: str) -> Partition:
    found = broker.node.partition(topic, 0)
    assert found is not None
    return found


def test_what_is_asked_of_a_failed_controller_is_refused_and_upkeep_goes_on(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = broker.node
    fail(broker, node.controller._actor)
    asking = asyncio.run_coroutine_threadsafe(node.controller.ask(CreateTopics(())), node.loop)
    with pytest.raises(KafkaStorageError, match="after a restart"):
        asking.result(TIMEOUT_S)
    rounds: list[None] = []
    table: Any = node._table
    checkpoint = table.checkpoint

    def counted() -> Callable[[], None]:
        rounds.append(None)
        found: Callable[[], None] = checkpoint()
        return found

    on_loop(broker, lambda: monkeypatch.setattr(table, "checkpoint", counted))
    wait_until(lambda: len(rounds) > 1, TIMEOUT_S, "a round after the next one")


def test_a_failed_log_cleaner_keeps_nobody_from_acting_on_a_change(broker: Broker) -> None:
    cleaner = broker.node._cleaning._cleaner
    assert cleaner is not None
    fail(broker, cleaner)
    on_loop(broker, broker.node._cleaning.look)


def test_a_new_leader_epoch_reaches_the_other_partitions_while_one_is_offline(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    for topic in ("offline", "sound"):
        create_topic(broker, topic)
    node, offline, sound = broker.node, partition_of(broker, "offline"), partition_of(broker, "sound")
    mended = threading.Event()
    restart = node._table.restart

    def once_mended(partition: Partition) -> LoopActorRef:
        if not mended.is_set():
            msg = "not yet"
            raise KafkaStorageError(msg)
        return restart(partition)

    monkeypatch.setattr(node._table, "restart", once_mended)
    fail(broker, offline.ref)
    image = node.image
    changed = tuple(
        (image.topics[TopicName(part.topic)], part.image._replace(leader_epoch=LeaderEpoch(7)))
        for part in (offline, sound)
    )
    on_loop(broker, lambda: node._table.apply(MetadataDelta(image, partitions_changed=changed)))
    wait_until(lambda: sound.state.leader_epoch == 7, TIMEOUT_S, "the sound one leads in the new epoch")
    mended.set()
    wait_until(lambda: offline.online and offline.state.leader_epoch == 7, TIMEOUT_S, "and the other one, once back")


def test_a_log_whose_opening_fails_by_our_mistake_is_tried_again_and_so_are_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unopened, "RETRY_S", 0.05)
    with Broker(data=tmp_path) as broker:
        (tmp_path / "t-0").write_text("no directory can be made here")
        create_topic(broker, "t")
        waiting = broker.node._table.unopened.get("t", 0)
        assert waiting is not None
        open_log, failed = waiting.open, threading.Event()

        def open_mistakenly() -> PartitionLog:
            if not failed.is_set():
                failed.set()
                msg = "a test"
                raise RuntimeError(msg)
            return open_log()

        waiting.open = open_mistakenly
        assert failed.wait(TIMEOUT_S)
        (tmp_path / "t-0").unlink()
        wait_until(lambda: broker.node.partition("t", 0) is not None, TIMEOUT_S, "t is online")


def test_a_topic_of_the_brokers_own_that_cannot_be_made_is_told_once_and_not_waited_for_at_the_stop(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    topics = OwnTopics(broker.node)
    fail(broker, broker.node.controller._actor)
    name = TopicName("__klamm_flow")
    for _ in range(3):
        on_loop(broker, lambda: topics.create_later(name))
        wait_until(lambda: not topics._creating, TIMEOUT_S, "it is refused")
    told = [record for record in caplog.records if "cannot be made" in record.message]
    assert [record.levelno for record in told if record.levelno >= logging.WARNING] == [logging.WARNING]

    def begin_and_stop() -> None:
        topics.create_later(name)
        topics.stop()

    on_loop(broker, begin_and_stop)
    wait_until(lambda: not topics._creating, TIMEOUT_S, "nothing is waited for")
