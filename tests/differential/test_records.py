"""klamm's answers to Produce and Fetch beside Apache Kafka's, request by request."""

from __future__ import annotations

from uuid import uuid4

import pytest

from tests.apache_kafka.node import ApacheKafkaNode
from tests.differential import fetch_scripts, produce_scripts
from tests.differential.compare import differences
from tests.differential.conversation import Script
from tests.support.klamm_process import KlammProcess

SCRIPTS = (*produce_scripts.SCRIPTS, *fetch_scripts.SCRIPTS)


@pytest.mark.apache
@pytest.mark.wire
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
def test_klamm_takes_and_gives_records_as_apache_kafka_does(
    script: Script, shared_klamm: KlammProcess, apache_kafka: ApacheKafkaNode
) -> None:
    found = differences(script, shared_klamm.port, apache_kafka.port, uuid4().hex[:8])
    assert not found, "\n".join(found)
