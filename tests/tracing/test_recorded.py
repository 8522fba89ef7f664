"""Which exports are worth decoding for one message: those that may name its place."""

import json

import pytest

from klamm.client.tracing.normalise import Value
from klamm.client.tracing.otlp import encode_json, encode_protobuf
from klamm.client.tracing.recorded import names_place
from klamm.client.tracing.spans import Span, make_span


def _span(topic: str, attributes: dict[str, Value]) -> Span:
    named: dict[str, Value] = {"messaging.system": "kafka", "messaging.destination.name": topic, **attributes}
    ids = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", None)
    return make_span(*ids, f"process {topic}", "consumer", (0, 1), None, (), None, named)


@pytest.mark.parametrize("offset", [0, 1, 127, 128, 1842, 2**31, 2**40, 2**63 - 1])
@pytest.mark.parametrize("name", ["messaging.kafka.offset", "messaging.kafka.message.offset"])
@pytest.mark.parametrize("kind", [int, str])
def test_an_export_with_a_span_that_names_the_place_is_decoded(offset: int, name: str, kind: type[int | str]) -> None:
    spans = [_span("other", {}), _span("orders", {"messaging.destination.partition.id": "3", name: kind(offset)})]
    for value in (encode_protobuf(spans), json.dumps(encode_json(spans)).encode()):
        assert names_place(value, ("orders", 3, offset))
        assert not names_place(value, ("payments", 3, offset))


@pytest.mark.parametrize("offset", [0, 127, 128, 1842])
def test_an_export_about_other_messages_of_the_topic_is_not(offset: int) -> None:
    value = encode_protobuf([_span("orders", {"messaging.kafka.offset": offset + 1}), _span("orders", {"n": offset})])
    assert not names_place(value, ("orders", 3, offset))
