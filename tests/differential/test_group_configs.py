"""Groups of brokers that are configured otherwise: klamm and Apache Kafka, asked the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.apache_kafka.node import REBALANCE_DELAY_MS, ApacheKafkaNode
from tests.differential import expiry_scripts, group_scripts
from tests.differential.compare import differences
from tests.differential.conversation import Script
from tests.support.klamm_process import KlammProcess

COMMITTED_BY_A_WRITE = (
    group_scripts.offsets,
    group_scripts.offsets_of_members,
    group_scripts.commits_again,
    group_scripts.consumer_life,
)


@pytest.fixture(scope="module")
def written_klamm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KlammProcess]:
    """Run a klamm that commits by a write alone, as Apache Kafka does: a commit that comes again has its own path."""
    settings = ("-X", f"group.initial.rebalance.delay.ms={REBALANCE_DELAY_MS}", "-X", "acks.all.single=written")
    server = KlammProcess(tmp_path_factory.mktemp("written-klamm"), settings).start()
    yield server
    server.stop()


@pytest.mark.apache
@pytest.mark.wire
@pytest.mark.parametrize("script", COMMITTED_BY_A_WRITE, ids=lambda script: script.__name__)
def test_commits_that_a_write_commits_are_answered_as_apache_kafka_does(
    script: Script, written_klamm: KlammProcess, apache_kafka: ApacheKafkaNode
) -> None:
    found = differences(script, written_klamm.port, apache_kafka.port, uuid4().hex[:8])
    assert not found, "\n".join(found)


@pytest.mark.apache
@pytest.mark.wire
def test_offsets_expire_as_those_of_apache_kafka_do(tmp_path: Path, apache_kafka_jars: Path) -> None:
    del apache_kafka_jars  # skips where there are none
    properties = {**expiry_scripts.PROPERTIES, "group.initial.rebalance.delay.ms": str(REBALANCE_DELAY_MS)}
    settings = [word for key, value in properties.items() for word in ("-X", f"{key}={value}")]
    klamm = KlammProcess(tmp_path / "klamm", settings).start()
    with ApacheKafkaNode(tmp_path / "kafka", properties) as kafka:
        found = differences(expiry_scripts.expiry, klamm.port, kafka.port, uuid4().hex[:8])
    klamm.stop()
    assert not found, "\n".join(found)
