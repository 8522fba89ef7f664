"""What a person reads, as it was looked at and found good: tables at 80 columns, JSON, help, errors.

``KLAMM_WRITE_GOLDEN=1`` writes the files of ``golden/`` anew; read the difference before you commit it.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition

from klamm import Broker
from tests.cli.conftest import Klamm
from tests.clients.confluent import TIMEOUT_S, create_topic, make_admin, make_producer, produce_values

GOLDEN = Path(__file__).parent / "golden"
LINES = {
    "topic-list": "topic list",
    "topic-list-json": "topic list -o json",
    "topic-describe": "topic describe orders",
    "topic-stats": "topic stats orders --columns name,partitions,offset_span",
    "topic-missing": "topic describe ordrs",
    "topic-delete-refused": "topic delete payments",
    "topic-help": "topic create --help",
    "topic-explain": "topic delete --explain",
    "group-list": "group list",
    "group-describe": "group describe billing",
    "group-describe-json": "group describe billing -o json",
    "group-missing": "group describe biling",
    "group-seek-dry-run": "group seek billing --to start --dry-run",
    "partition-list": "partition list orders",
    "broker-list": "broker list",
    "cluster-info": "cluster info",
    "cluster-health": "cluster health",
    "config-get": "config get topic payments --filter source!=default",
    "plan": "plan wanted.yaml",
    "plan-mistake": "plan mistake.yaml",
    "acl-unsupported": "acl list",
    "mistyped-verb": "topic lst",
    "mistyped-option": "topic list --outptu json",
}
WANTED = """klamm: 1
topics:
  orders: {partitions: 4, configs: {retention.ms: 60000}}
  shipments: {partitions: 2}
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Return the address of a small cluster that is the same each time."""
    with Broker(config={"group.initial.rebalance.delay.ms": 0}) as broker:
        create_topic(broker, "orders", 3)
        create_topic(broker, "payments", 1, retention_ms=3_600_000, cleanup_policy="compact")
        producer = make_producer(broker)
        for partition in range(3):
            produce_values(producer, "orders", [b"x" * 100] * (10 * (partition + 1)), partition)
        admin = make_admin(broker)
        committed = [TopicPartition("orders", 0, 4), TopicPartition("orders", 1, 20)]
        request = ConsumerGroupTopicPartitions("billing", committed)
        for future in admin.alter_consumer_group_offsets([request]).values():
            future.result(TIMEOUT_S)
        yield broker.bootstrap


def _steady(text: str, bootstrap: str) -> str:
    """Return ``text`` without what differs from run to run."""
    port = bootstrap.rpartition(":")[2]
    text = text.replace(bootstrap, "HOST:PORT")
    for changing in (rf"\b{port}\b", r"(?<![\w-])[\w-]{22}(?![\w-])", r"[\d-]{10}T[\d:]{8}Z", r"\d+\.\d [KM]iB"):
        text = re.sub(changing, lambda found: "~" * len(found[0]), text)
    return text


@pytest.mark.parametrize("name", LINES)
def test_the_output_is_as_it_was_reviewed(
    klamm: Klamm, cluster: str, name: str, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    (home / "wanted.yaml").write_text(WANTED)
    (home / "mistake.yaml").write_text(WANTED.replace("partitions: 4", "partitons: 4"))
    ran = klamm(*LINES[name].split(), "-b", cluster)
    found = f"$ klamm {LINES[name]}\n{ran.out}--- standard error\n{ran.err}--- exit code {ran.code}\n"
    found = _steady(found, cluster)
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("KLAMM_WRITE_GOLDEN"):
        path.write_text(found)
    assert found == path.read_text()
