"""Apache Kafka's own records of ``__consumer_offsets``, in words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from klamm.client.decoding import RecordDecoder

GOLDEN = json.loads((Path(__file__).parents[1] / "groups" / "golden" / "consumer_offsets.json").read_text())["records"]


class Read(NamedTuple):
    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda each: f"{each['kind']}-{each['version']}")
def test_every_record_of_apache_kafka_is_told_in_words(golden: dict[str, Any]) -> None:
    value = None if golden["value"] is None else bytes.fromhex(golden["value"])
    record = Read("__consumer_offsets", bytes.fromhex(golden["key"]), value)
    decoder = RecordDecoder()
    key, told = decoder.key(record), decoder.value(record)
    assert (key.kind, key.note, told.note) == ("offsets", "", "")
    assert told.kind == ("null" if value is None else "offsets")
    assert "group" in key.value
    if value is not None:
        assert told.value["type"] == key.value["type"]
    json.dumps([key.value, told.value], allow_nan=False)


def test_a_commit_says_group_topic_partition_and_offset() -> None:
    key = b"\0\1" + b"\0\5audit" + b"\0\6orders" + (3).to_bytes(4, "big")
    value = b"\0\1" + (42).to_bytes(8, "big") + b"\0\0" + (1_700_000_000_000).to_bytes(8, "big") + b"\xff" * 8
    record = Read("__consumer_offsets", key, value)
    decoder = RecordDecoder()
    assert decoder.key(record).text == '{"type":"offset_commit","group":"audit","topic":"orders","partition":3}'
    told = decoder.value(record).value
    assert (told["offset"], told["commit_timestamp_ms"]) == (42, 1_700_000_000_000)


@pytest.mark.parametrize(
    ("key", "value", "note"),
    [
        (b"\0\x09\0\1g", b"\0\0", "kind 9 of __consumer_offsets (share group partition metadata) is not decoded"),
        (b"\x03\xe7", b"", "kind 999 of __consumer_offsets (unknown) is not decoded"),
        (b"\0", b"x", "its key says no kind"),
        (None, b"x", "its key says no kind"),
        (b"\0\2\0\1g", b"\0\x63", "value version=99"),
        (b"\0\2\0\1g", b"\0\3\0", "contradicts its schema"),
    ],
)
def test_a_record_that_cannot_be_decoded_is_shown_and_says_why(key: bytes | None, value: bytes, note: str) -> None:
    found = RecordDecoder().value(Read("__consumer_offsets", key, value))
    assert (found.kind, found.text) == ("hex", value.hex(" "))
    assert note in found.note
