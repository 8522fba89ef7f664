"""Filters that look into values which a registry's schemas have to decode."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Klamm
from tests.clients.confluent import create_topic, make_producer
from tests.support.brokers import Broker
from tests.support.schema_registry import RegistryServer, schema_registry

SCHEMA = '{"type":"record","name":"Order","fields":[{"name":"total","type":"long"}]}'
TIMEOUT_S = 60


@pytest.fixture
def registry() -> Iterator[RegistryServer]:
    with schema_registry(token="right") as running:
        yield running


@pytest.fixture
def orders(klamm: Klamm, shared_klamm: Broker, topic: str, registry: RegistryServer, home: Path) -> str:
    """Write three orders in Avro, with totals of 0, 1 and 2; contexts ``right`` and ``wrong`` differ in the token."""
    for name in ("right", "wrong"):
        with (home / "config.toml").open("a") as file:
            file.write(
                f'[contexts.{name}]\nbootstrap = "{shared_klamm.bootstrap}"\n'
                f'[contexts.{name}.registry]\nurl = "{registry.url}"\ntoken = "{name}"\n'
            )
    (home / "order.avsc").write_text(SCHEMA)
    [made] = klamm("schema", "register", f"{topic}-value", "order.avsc", "-y", "-c", "right", "-o", "json").items
    create_topic(shared_klamm, topic, 1)
    producer = make_producer(shared_klamm)
    for total in range(3):
        producer.produce(topic, b"\0" + made["schema_id"].to_bytes(4, "big") + bytes((2 * total,)))
    assert producer.flush(TIMEOUT_S) == 0
    return topic


WHERE = ("--where", "value.total > 0")


def test_a_search_that_could_not_decode_is_not_complete(klamm: Klamm, shared_klamm: Broker, orders: str) -> None:
    found = klamm("message", "find", orders, *WHERE, "-c", "right", "-o", "jsonl")
    assert (found.code, len(found.out.splitlines()), "; complete" in found.err) == (0, 2, True), found
    blind = klamm("message", "find", orders, *WHERE, "-c", "wrong", "-o", "jsonl")
    assert (blind.code, blind.out, "0 matches in 3 records; incomplete" in blind.err) == (1, "", True), blind
    assert "NOT_DECODED: 3 records could not be looked into" in blind.err
    assert "does not accept these credentials" in blind.err
    none = klamm("message", "find", orders, *WHERE, "-b", shared_klamm.bootstrap, "-o", "jsonl")
    assert (none.code, none.out, "0 matches in 3 records; incomplete" in none.err) == (1, "", True), none
    assert "NOT_DECODED: 3 records could not be looked into: names schema id" in none.err
    by_offset = klamm("message", "find", orders, "--where", "offset > 0", "-c", "wrong", "-o", "jsonl")
    assert (by_offset.code, len(by_offset.out.splitlines())) == (0, 2), by_offset


@pytest.mark.parametrize("context", ["right", "wrong"])
def test_what_copies_by_a_filter_decodes_for_it_and_says_what_it_could_not(
    klamm: Klamm, shared_klamm: Broker, orders: str, context: str
) -> None:
    for line in (("topic", "cp", orders, f"{orders}-to"), ("dlq", "redrive", orders, "--to", f"{orders}-to")):
        if line[0] == "topic":
            create_topic(shared_klamm, f"{orders}-to", 1)
        ran = klamm(*line, *WHERE, "-y", "-c", context, "-o", "json")
        if context == "right":
            assert (ran.code, ran.items[0]["sent"]) == (0, 2), ran
        else:
            assert (ran.code, ran.codes) == (1, ["NOT_DECODED"]), ran
    out = klamm("message", "export", orders, *WHERE, "--to", "some.jsonl", "-c", context, "-o", "json")
    assert (out.items[0]["records"], out.codes) == ((2, []) if context == "right" else (0, ["NOT_DECODED"]))
