"""Clients that share no code with librdkafka or Java: kafkajs on Node, franz-go and kafka-go in Go.

Their programs stand in ``programs/``; ``tests/support/programs.py`` installs what they need.
"""

import json
import shutil
from pathlib import Path

import pytest

from tests.clients.confluent import consume, make_producer, produce_values
from tests.support.brokers import Broker
from tests.support.programs import INSTALL_TIMEOUT_S, built_with_go, prepared_folder, run

pytestmark = pytest.mark.wire

RUN_TIMEOUT_S = 90.0
COUNT = 500
KAFKAJS = {"KAFKAJS_NO_PARTITIONER_WARNING": "1"}


@pytest.fixture(scope="module")
def kafkajs() -> Path:
    """Return the folder of the kafkajs programs with kafkajs beside them."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("Node or npm is missing: apt-get install nodejs npm")
    with prepared_folder("kafkajs") as folder:
        if not (folder / "node_modules" / "kafkajs" / "package.json").exists():
            run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder, INSTALL_TIMEOUT_S)
        return folder


@pytest.fixture(scope="module")
def go_clients() -> Path:
    """Return the built program of the Go clients."""
    return built_with_go("go")


def test_kafkajs_creates_a_topic_and_produces(any_broker: Broker, topic: str, kafkajs: Path) -> None:
    command = ["node", "round_trip.js", any_broker.bootstrap, topic, str(COUNT)]
    answer = json.loads(run(command, kafkajs, RUN_TIMEOUT_S, KAFKAJS))
    assert answer == {"created": True, "base": [0, COUNT], "high": {"0": 2 * COUNT, "1": 0}, "partitions": 2}
    messages = consume(any_broker, topic, 2 * COUNT, check_crcs=True)
    assert [message.value() for message in messages] == [b"v%d" % number for number in range(COUNT)] * 2
    assert messages[7].headers() == [("number", b"7")]


def test_kafkajs_consumes_in_a_group(any_broker: Broker, topic: str, kafkajs: Path) -> None:
    produce_values(make_producer(any_broker, compression_type="gzip"), topic, [b"%d" % n for n in range(COUNT)])
    command = ["node", "consume.js", any_broker.bootstrap, topic, str(COUNT)]
    answer = json.loads(run(command, kafkajs, RUN_TIMEOUT_S, KAFKAJS))
    assert answer == {"values": [str(number) for number in range(COUNT)]}


@pytest.mark.parametrize("client", ["franz", "segmentio"])
def test_go_clients_produce_and_consume(any_broker: Broker, topic: str, go_clients: Path, client: str) -> None:
    output = run([go_clients, client, any_broker.bootstrap, topic, str(COUNT)], go_clients.parent, RUN_TIMEOUT_S)
    assert output == f"{COUNT} produced, {COUNT} consumed\n"
