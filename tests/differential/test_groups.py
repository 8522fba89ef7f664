"""klamm and Apache Kafka, asked the same: the same codes, states and offsets."""

from __future__ import annotations

from uuid import uuid4

import pytest

from tests.apache_kafka.node import ApacheKafkaNode
from tests.differential import group_scripts, malformed_scripts, refused_scripts
from tests.differential.compare import differences
from tests.differential.conversation import Script
from tests.support.brokers import Broker
from tests.support.klamm_process import KlammProcess

SCRIPTS = (*group_scripts.SCRIPTS, *refused_scripts.SCRIPTS, *malformed_scripts.SCRIPTS)


def _port(broker: Broker) -> int:
    return int(broker.bootstrap.rpartition(":")[2])


@pytest.mark.apache
@pytest.mark.wire
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
def test_klamm_answers_group_requests_as_apache_kafka_does(
    script: Script, shared_klamm: KlammProcess, apache_kafka: ApacheKafkaNode
) -> None:
    found = differences(script, _port(shared_klamm), _port(apache_kafka), uuid4().hex[:8])
    assert not found, "\n".join(found)
