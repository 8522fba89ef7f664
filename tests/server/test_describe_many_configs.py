"""DescribeConfigs of many topics: what is encoded once for those that are alike says the same as each by itself."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

import klamm
from klamm.protocol.apis import API_VERSIONS, ApiKey
from klamm.protocol.header import response_header
from klamm.protocol.messages import encode_response
from klamm.server.handlers.configs import describe_configs
from klamm.server.message_types import response_types
from tests.server.answers import finished

KEY = ApiKey.DESCRIBE_CONFIGS
VERSIONS = range(API_VERSIONS[KEY].min, API_VERSIONS[KEY].max + 1)
TOPIC, BROKER, GROUP, UNKNOWN = 2, 4, 32, 77


@pytest.fixture(scope="module")
def broker() -> Iterator[klamm.Broker]:
    """Return a broker with three topics, one with a config of its own."""
    with klamm.Broker(memory=True) as running:
        admin = AdminClient({"bootstrap.servers": running.bootstrap})
        topics = [
            NewTopic("plain", 1, 1),
            NewTopic("own", 1, 1, config={"retention.ms": "5"}),
            NewTopic("l" * 150, 1, 1),
        ]
        for made in admin.create_topics(topics).values():
            made.result(60)
        yield running


def described(broker: klamm.Broker, version: int, resources: list[Any], *, details: bool) -> bytes:
    request = SimpleNamespace(resources=resources, include_synonyms=details, include_documentation=details)
    context = cast("Any", SimpleNamespace(api_version=version))
    return b"".join(finished(describe_configs(broker.node, context, request)).parts)


@pytest.mark.parametrize("details", [True, False])
@pytest.mark.parametrize("version", VERSIONS)
def test_many_resources_are_described_as_each_by_itself(broker: klamm.Broker, version: int, *, details: bool) -> None:
    asked = [
        (TOPIC, "plain", None), (TOPIC, "own", None), (TOPIC, "l" * 150, None), (TOPIC, "plain", ("retention.ms",)),
        (TOPIC, "own", ("retention.ms", "no.such.key")), (TOPIC, "missing", None), (TOPIC, "no!name", None),
        (BROKER, "1", None), (BROKER, "9", None), (GROUP, "some", None), (UNKNOWN, "what", None),
    ]  # fmt: skip
    resources = [
        SimpleNamespace(resource_type=kind, resource_name=name, configuration_keys=keys) for kind, name, keys in asked
    ]
    types = response_types(KEY)
    empty = types.DescribeConfigsResponse(throttle_time=timedelta(0), results=())
    whole = encode_response(KEY, version, empty, 0)[4 + len(response_header(0, KEY, version)) :]
    assert described(broker, version, [], details=details) == whole
    alone = [described(broker, version, [resource], details=details) for resource in resources]
    start, tail = (5, 1) if version >= API_VERSIONS[KEY].flexible_since else (8, 0)
    expected = b"".join(one[start : len(one) - tail] for one in alone)
    many = described(broker, version, resources * 20, details=details)
    assert many.endswith(expected * 20 + bytes(tail))
    count = many[4 : len(many) - 20 * len(expected) - tail]
    assert count == (b"\xdd\x01" if tail else (220).to_bytes(4, "big"))
