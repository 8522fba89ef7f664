"""Records that librdkafka cannot send are copied and imported as they are, in their place among the others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from klamm.client.messages.raw_producing import murmur2
from tests.cli.conftest import Klamm
from tests.clients.confluent import create_topic, make_consumer
from tests.support.brokers import Broker

TIMEOUT_S = 30.0
ODD: list[dict[str, Any]] = [
    {"value": "plain", "timestamp": 1_700_000_000_000},
    {"value": "of 1970", "timestamp": 0, "key": "k"},
    {"value": "without a time", "timestamp": -1, "headers": [["a", "eA=="], ["a", None]]},
    {"value": "between", "timestamp": 1_700_000_000_001},
    {"value": None, "timestamp": 1_700_000_000_002, "headers": [["\udcff\udcfe", "eA=="], ["\udcff\udcfe", None]]},
    {"value": "zero byte", "timestamp": 1_700_000_000_003, "headers": [["n\x00ul", ""]]},
    {"value": "last", "timestamp": 1_700_000_000_004},
]


def _written(folder: Path) -> Path:
    path = folder / "odd.jsonl"
    path.write_text("".join(json.dumps({"partition": 0, "key": None, **each}) + "\n" for each in ODD))
    return path


def _rows(klamm: Klamm, broker: Broker, topic: str) -> list[dict[str, Any]]:
    ran = klamm("consume", topic, "-e", "-o", "jsonl", "-b", broker.bootstrap)
    assert ran.code == 0, ran.err
    return [{**json.loads(line), "topic": None} for line in ran.out.splitlines()]


@pytest.mark.parametrize("suffix", ["jsonl", "arrow", "parquet"])
def test_they_are_imported_exported_and_copied_without_loss(
    klamm: Klamm, any_broker: Broker, topic: str, tmp_path: Path, suffix: str
) -> None:
    at = ("-b", any_broker.bootstrap)
    create_topic(any_broker, topic, 1)
    assert klamm("message", "import", str(_written(tmp_path)), topic, "--yes", *at).code == 0
    rows = _rows(klamm, any_broker, topic)
    kept = ("value", "timestamp", "headers")
    expected = [{name: each.get(name, []) for name in kept} for each in ODD]
    assert [{name: row[name] for name in kept} for row in rows] == expected
    assert [row["timestampType"] for row in rows][:3] == ["create", "create", "none"]
    assert klamm("message", "export", topic, "--to", f"all.{suffix}", *at).code == 0
    assert klamm("message", "import", f"all.{suffix}", f"{topic}-file", "--create", "--yes", *at).code == 0
    assert _rows(klamm, any_broker, f"{topic}-file") == rows
    copied = klamm("topic", "cp", topic, f"{topic}-cp", "--create", "--yes", "-o", "json", *at)
    assert copied.code == 0, copied.err
    assert copied.items[0]["verified"] is True
    assert _rows(klamm, any_broker, f"{topic}-cp") == rows


def test_other_clients_read_them_as_they_are(klamm: Klamm, any_broker: Broker, topic: str, tmp_path: Path) -> None:
    create_topic(any_broker, topic, 1)
    klamm("message", "import", str(_written(tmp_path)), topic, "--yes", "-b", any_broker.bootstrap)
    consumer = make_consumer(any_broker, group_id=topic, auto_offset_reset="earliest")
    try:
        consumer.subscribe([topic])
        found = [consumer.poll(TIMEOUT_S) for _ in ODD]
    finally:
        consumer.close()
    assert [None if each is None else each.offset() for each in found] == list(range(len(ODD)))
    assert found[1] is not None
    assert found[1].timestamp() == (1, 0)
    assert found[1].key() == b"k"


def test_they_go_where_their_keys_go(klamm: Klamm, any_broker: Broker, topic: str) -> None:
    create_topic(any_broker, topic, 5)
    at = ("-b", any_broker.bootstrap)
    for time_ms in (0, 1_700_000_000_000):
        lines = "".join(json.dumps({"key": f"key-{n}", "value": "x", "timestamp": time_ms}) + "\n" for n in range(40))
        Path("keyed.jsonl").write_text(lines)
        assert klamm("produce", topic, "--input", "jsonl", "--file", "keyed.jsonl", *at).code == 0
    rows = _rows(klamm, any_broker, topic)
    places = [
        {row["key"]: row["partition"] for row in rows if bool(row["timestamp"]) is late} for late in (False, True)
    ]
    assert places[0] == places[1]
    assert len(set(places[0].values())) > 1


@pytest.mark.parametrize(
    ("key", "expected"),  # what Kafka's own UtilsTest has
    [
        ("21", -973932308),
        ("foobar", -790332482),
        ("a-little-bit-long-string", -985981536),
        ("a-little-bit-longer-string", -1486304829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        ("abc", 479470107),
    ],
)
def test_murmur2_is_kafkas(key: str, expected: int) -> None:
    assert murmur2(key.encode()) == expected & 0xFFFFFFFF
