"""Quix Streams, a stream processor on confluent-kafka: state in RocksDB with a changelog topic, over restarts.

It needs another confluent-kafka than the tests, so it has an environment of its own in the user's cache folder.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients.confluent import (
    TIMEOUT_S,
    ConfigResource,
    ResourceType,
    consume,
    create_topic,
    make_admin,
    make_producer,
    produce,
)
from tests.support.brokers import Addressed, Broker
from tests.support.klamm_process import KlammProcess
from tests.support.programs import INSTALL_TIMEOUT_S, prepared_folder, run

pytestmark = pytest.mark.wire

RUN_TIMEOUT_S = 150.0
Count = Callable[[Addressed, str, Path, int], list[tuple[str, int]]]


@pytest.fixture(scope="module")
def count() -> Count:
    """Return a function that runs the counting application until it has read so many records."""
    with prepared_folder("quix") as folder:
        installed = folder / "installed"
        python = folder / "venv" / "bin" / "python"
        if not installed.exists():
            shutil.rmtree(folder / "venv", ignore_errors=True)
            try:
                run([sys.executable, "-m", "venv", folder / "venv"], folder, INSTALL_TIMEOUT_S)
                requirements = ("--disable-pip-version-check", "--quiet", "-r", "requirements.txt")
                run([python, "-m", "pip", "install", *requirements], folder, INSTALL_TIMEOUT_S)
            except AssertionError as error:
                pytest.skip(f"Quix Streams could not be installed: {error}")
            installed.touch()

    def counted(broker: Addressed, topic: str, state: Path, records: int) -> list[tuple[str, int]]:
        arguments = (broker.bootstrap, topic, state, str(records))
        answer = run([python, folder / "count.py", *arguments], state.parent, RUN_TIMEOUT_S)
        return [(key, total) for key, total in json.loads(answer)]

    return counted


def send(broker: Broker, topic: str, keys: str) -> None:
    producer = make_producer(broker)
    for key in keys:
        produce(producer, topic, key=key.encode(), value=b"one more", partition=ord(key) % 2)


def test_state_and_offsets_go_on_over_restarts_and_come_back_from_the_changelog(
    any_broker: Broker, topic: str, count: Count, tmp_path: Path
) -> None:
    create_topic(any_broker, topic, 2)
    create_topic(any_broker, f"{topic}-counts")
    state = tmp_path / "state"
    send(any_broker, topic, "aaaaa")
    assert count(any_broker, topic, state, 5) == [("a", 1), ("a", 2), ("a", 3), ("a", 4), ("a", 5)]
    send(any_broker, topic, "ab")
    assert sorted(count(any_broker, topic, state, 2)) == [("a", 6), ("b", 1)]
    shutil.rmtree(state)
    send(any_broker, topic, "ab")
    assert sorted(count(any_broker, topic, state, 2)) == [("a", 7), ("b", 2)]
    counts = [json.loads(message.value() or b"")["total"] for message in consume(any_broker, f"{topic}-counts", 9)]
    assert sorted(counts) == [1, 1, 2, 2, 3, 4, 5, 6, 7]
    assert cleanup_policy(any_broker, f"changelog__{topic}--{topic}--default") == "compact"


def cleanup_policy(broker: Broker, topic: str) -> str:
    resource = ConfigResource(ResourceType.TOPIC, topic)
    admin = make_admin(broker)  # held until the answer is there
    configs = admin.describe_configs([resource])[resource].result(TIMEOUT_S)
    return str(configs["cleanup.policy"].value)


def test_state_comes_back_from_a_broker_that_was_killed(
    klamm_server: KlammProcess, topic: str, count: Count, tmp_path: Path
) -> None:
    create_topic(klamm_server, topic, 2)
    state = tmp_path / "state"
    for round_number in range(2):
        send(klamm_server, topic, "aab")
        expected = [("a", 2 * round_number + 1), ("a", 2 * round_number + 2), ("b", round_number + 1)]
        assert sorted(count(klamm_server, topic, state, 3)) == expected
        klamm_server.kill()
        klamm_server.start()
        shutil.rmtree(state)
