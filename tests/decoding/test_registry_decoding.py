"""Records that confluent-kafka's own serializers wrote, decoded with the schemas of a registry."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from confluent_kafka.schema_registry import (
    Schema,
    SchemaReference,
    SchemaRegistryClient,
    header_schema_id_serializer,
)
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from google.protobuf import descriptor_pool, message_factory

from klamm.client.decoding import Decoded, RecordDecoder, read_schema
from klamm.client.decoding.protobuf import _compile
from klamm.client.decoding.schemas import SchemaText
from klamm.client.errors import SettingsError
from klamm.client.registry.loader import RegistrySchemas
from klamm.client.registry.registry import Registry
from klamm.client.settings import Settings
from tests.support.schema_registry import RegistryServer

ORDER = {
    "type": "record",
    "name": "Order",
    "namespace": "shop",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "total", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "coupon", "type": ["null", "string"], "default": None},
        {"name": "raw", "type": "bytes"},
    ],
}
ORDER_VALUE = {
    "id": 7711,
    "total": Decimal("101.50"),
    "at": dt.datetime(2026, 11, 23, 10, tzinfo=dt.UTC),
    "coupon": "SPRING",
    "raw": b"\x00\x01",
}
ORDER_JSON = {"id": 7711, "total": 101.5, "at": "2026-11-23T10:00:00Z", "coupon": "SPRING", "raw": "0x0001"}
PROTO = """syntax = "proto3"; package shop;
import "google/protobuf/timestamp.proto";
message Customer { string name = 1; }
message Order {
  enum Kind { UNKNOWN = 0; WEB = 1; }
  message Line { string sku = 1; int64 count = 2; }
  int64 id = 1; repeated Line lines = 2; Kind kind = 3; map<string, double> prices = 4;
  google.protobuf.Timestamp at = 5; optional string coupon = 6; oneof paid { string card = 7; string voucher = 8; }
  bytes raw = 9; Customer customer = 10;
}
"""
JSON_SCHEMA = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "title": "Order",
    "type": "object",
    "properties": {"id": {"type": "integer"}, "total": {"type": "number", "minimum": 0}},
    "required": ["id"],
}


class Read(NamedTuple):
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]] = ()
    topic: str = "orders"


def decoded(registry: RegistryServer | None, *records: Read, url: str | None = None) -> list[tuple[Decoded, Decoded]]:
    async def run() -> list[tuple[Decoded, Decoded]]:
        where = url or (registry.url if registry else "")
        decoder = RecordDecoder(schemas=RegistrySchemas(Registry(Settings((), {}), where)))
        await decoder.prepare(records)
        return [(decoder.key(each), decoder.value(each)) for each in records]

    return asyncio.run(run())


def value_of(registry: RegistryServer, data: bytes) -> Decoded:
    return decoded(registry, Read(None, data))[0][1]


def context(field: MessageField = MessageField.VALUE, headers: Any = None) -> SerializationContext:
    return SerializationContext("orders", field, headers)


@cache
def order_class() -> Any:
    pool = descriptor_pool.DescriptorPool()
    for each in _compile(SchemaText("PROTOBUF", PROTO)):
        pool.AddSerializedFile(each.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("shop.Order"))


def serializer(kind: Any, *arguments: Any, **more: Any) -> Callable[[Any, SerializationContext], bytes]:
    """Make one of confluent-kafka's serializers, whose types do not say that they are called with arguments."""
    made: Callable[[Any, SerializationContext], bytes] = kind(*arguments, **more)
    return made


def order_message() -> Any:
    message = order_class()()
    message.id = 2**60
    message.lines.add(sku="a", count=2)
    message.kind = 1
    message.prices["EUR"] = 1.5
    message.at.seconds = 1_700_000_000
    message.voucher = "v"
    message.raw = b"\xff"
    return message


PROTO_JSON = {
    "id": 2**60,
    "lines": [{"sku": "a", "count": 2}],
    "kind": "WEB",
    "prices": {"EUR": 1.5},
    "at": "2023-11-14T22:13:20Z",
    "coupon": None,
    "voucher": "v",
    "raw": "0xff",
    "customer": None,
}


def test_avro_is_decoded_with_the_schema_its_id_names(registry: RegistryServer) -> None:
    client = SchemaRegistryClient({"url": registry.url})
    data = serializer(AvroSerializer, client, json.dumps(ORDER))(ORDER_VALUE, context())
    found = value_of(registry, data)
    assert (found.kind, found.value, found.note, found.schema) == ("avro", ORDER_JSON, "", "#1 Order")
    assert json.loads(found.text) == ORDER_JSON


def test_a_schema_named_by_its_guid_in_a_header_is_found(registry: RegistryServer) -> None:
    client = SchemaRegistryClient({"url": registry.url})
    conf = {"schema.id.serializer": header_schema_id_serializer}
    headers: list[tuple[str, bytes]] = []
    key = serializer(AvroSerializer, client, '"string"', conf=conf)("cust-9", context(MessageField.KEY, headers))
    value = serializer(AvroSerializer, client, json.dumps(ORDER), conf=conf)(ORDER_VALUE, context(headers=headers))
    message = serializer(ProtobufSerializer, order_class(), client, {**conf, "use.deprecated.format": False})
    proto_headers: Any = []
    proto = message(order_message(), SerializationContext("protos", MessageField.VALUE, proto_headers))
    (found_key, found), (_, found_proto) = decoded(
        registry, Read(key, value, headers), Read(None, proto, proto_headers, "protos")
    )
    assert (found_key.kind, found_key.value, found_key.note) == ("avro", "cust-9", "")
    assert (found.kind, found.value, found.note) == ("avro", ORDER_JSON, "")
    assert (found_proto.kind, found_proto.value, found_proto.note) == ("protobuf", PROTO_JSON, "")


def test_a_protobuf_message_is_found_by_its_indexes(registry: RegistryServer) -> None:
    client = SchemaRegistryClient({"url": registry.url})
    message = order_message()
    data = serializer(ProtobufSerializer, type(message), client, {"use.deprecated.format": False})(message, context())
    found = value_of(registry, data)
    assert (found.kind, found.value, found.note, found.schema) == ("protobuf", PROTO_JSON, "", "#1 shop.Order")
    line = message.lines[0]
    nested = serializer(ProtobufSerializer, type(line), client, {"use.deprecated.format": False})(
        line, SerializationContext("lines", MessageField.VALUE)
    )
    found = value_of(registry, nested)
    assert (found.value, found.schema.split()[-1]) == ({"sku": "a", "count": 2}, "shop.Order.Line")


def test_protobuf_that_was_registered_as_text_is_compiled(registry: RegistryServer) -> None:
    client = SchemaRegistryClient({"url": registry.url})
    client.register_schema("customer", Schema('syntax = "proto3"; message C { string name = 1; }', "PROTOBUF"))
    text = 'syntax = "proto3"; import "customer.proto"; import "confluent/meta.proto"; message O { C c = 1; }'
    references = [SchemaReference("customer.proto", "customer", 1)]
    number = client.register_schema("orders-value", Schema(text, "PROTOBUF", references))
    found = value_of(registry, b"\0" + number.to_bytes(4, "big") + b"\0" + b"\x0a\x04\x0a\x02hi")
    assert (found.kind, found.value, found.note) == ("protobuf", {"c": {"name": "hi"}}, "")


def test_json_that_contradicts_its_schema_is_shown_and_told(registry: RegistryServer) -> None:
    client = SchemaRegistryClient({"url": registry.url})
    data = serializer(JSONSerializer, json.dumps(JSON_SCHEMA), client)({"id": 7, "total": 1.5}, context())
    found = value_of(registry, data)
    assert (found.kind, found.value, found.note, found.schema) == ("jsonschema", {"id": 7, "total": 1.5}, "", "#1")
    found = value_of(registry, data[:5] + b'{"id":"seven"}')
    assert found.value == {"id": "seven"}
    assert found.note == "does not match schema #1: $.id: 'seven' is not of type 'integer'"


def test_an_avro_schema_that_refers_to_another_is_decoded(registry: RegistryServer) -> None:
    client = SchemaRegistryClient({"url": registry.url})
    customer = {"type": "record", "name": "shop.Customer", "fields": [{"name": "name", "type": "string"}]}
    client.register_schema("customer", Schema(json.dumps(customer), "AVRO"))
    order = {"type": "record", "name": "shop.Sale", "fields": [{"name": "by", "type": ["null", "shop.Customer"]}]}
    references = [SchemaReference("shop.Customer", "customer", 1)]
    number = client.register_schema("sale", Schema(json.dumps(order), "AVRO", references))
    found = value_of(registry, b"\0" + number.to_bytes(4, "big") + b"\x02\x04ab")
    assert (found.kind, found.value, found.note) == ("avro", {"by": {"name": "ab"}}, "")


def test_schemas_are_asked_for_once(registry: RegistryServer) -> None:
    client = SchemaRegistryClient({"url": registry.url})
    data = serializer(AvroSerializer, client, json.dumps(ORDER))(ORDER_VALUE, context())
    registry.requests.clear()
    found = decoded(registry, *[Read(data[:5] + b"\x0c", data)] * 100)
    assert len(registry.requests) == 1
    assert {value.kind for _, value in found} == {"avro"}


def framed(registry: RegistryServer, schema: Any, payload: bytes, kind: str = "AVRO") -> bytes:
    text = schema if isinstance(schema, str) and kind != "AVRO" else json.dumps(schema)
    number = SchemaRegistryClient({"url": registry.url}).register_schema("s", Schema(text, kind))
    return b"\0" + number.to_bytes(4, "big") + payload


def bomb() -> list[Any]:
    records: list[Any] = [{"type": "record", "name": "R0", "fields": []}]
    for number in range(1, 30):
        fields = [{"name": f"f{field}", "type": f"R{number - 1}"} for field in range(10)]
        records.append({"type": "record", "name": f"R{number}", "fields": fields})
    return records


def nested(depth: int) -> Any:
    schema: Any = "string"
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    return schema


LIST = {"type": "record", "name": "N", "fields": [{"name": "next", "type": ["null", "N"]}]}


@pytest.mark.parametrize(
    ("schema", "payload", "note"),
    [
        (ORDER, b"\x02", "it ends too early"),
        ("string", b"\x06\xff\xfe\xfd", "UnicodeDecodeError"),
        ("string", b"\x04abcd", "2 bytes behind what schema"),
        ("string", b"\x03", "does not fit"),
        ({"type": "array", "items": "null"}, b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01", "any number of values"),
        (bomb(), b"\x3a", "any number of values"),
        ({"type": "record", "name": "A", "fields": [{"name": "a", "type": "A"}]}, b"", "contains itself without end"),
        (LIST, b"\x02" * 200_000 + b"\0", "RecursionError"),
        (nested(101), b"\0", "nested deeper than 100"),
        ({"type": "nonsense"}, b"\0", "is no Avro schema"),
        ({"type": "fixed", "name": "F", "size": "ten"}, b"\0", "is no Avro schema"),
    ],
)
def test_a_wrong_or_malicious_avro_schema_is_told_and_the_record_shown(
    registry: RegistryServer, schema: Any, payload: bytes, note: str
) -> None:
    data = framed(registry, schema, payload)
    found = value_of(registry, data)
    assert note in found.note
    assert found.kind in {"avro", "hex"}
    assert found.kind == "avro" or found.value == data.hex()


def test_a_recursive_avro_schema_is_decoded(registry: RegistryServer) -> None:
    found = value_of(registry, framed(registry, LIST, b"\x02\x02\0"))
    assert (found.value, found.note) == ({"next": {"next": {"next": None}}}, "")


WIDE = 'syntax = "proto3"; message M { repeated N n = 1; } message N {' + "".join(
    f"int32 f{number} = {number};" for number in range(1, 500)
)


@pytest.mark.parametrize(
    ("schema", "payload", "note"),
    [
        (PROTO, b"\x02\x08\x08\x01", "has no message at index 4"),
        (PROTO, b"\x00\x0a\xff", "does not fit Protobuf schema"),
        (PROTO, b"\x00\x08\x01", "has fields that schema #1 shop.Customer does not know: 1"),
        (PROTO, b"", "ends within its message indexes"),
        (PROTO, b"\xff\xff\xff\xff\xff\xff", "a message index longer"),
        (PROTO, b"\xff\xff\xff\x0f", "message indexes"),
        ("message {", b"\0", "is no Protobuf schema: line 1:9: Expected message name"),
        ('import "../../etc/passwd"; message M {}', b"\0", "is no Protobuf schema"),
        ('syntax = "proto3"; import "gone.proto"; message M {}', b"\0", "gone.proto"),
        (WIDE + "}", b"\0" + b"\x0a\0" * 10_000, "more than 500,000 values"),
        ("AAAA", b"\0", "no FileDescriptorProto"),
    ],
)
def test_a_wrong_or_malicious_protobuf_schema_is_told_and_the_record_shown(
    registry: RegistryServer, schema: str, payload: bytes, note: str
) -> None:
    data = framed(registry, schema, payload, "PROTOBUF")
    found = value_of(registry, data)
    assert note in found.note
    assert found.kind == "protobuf" or found.value == data.hex()


@pytest.mark.parametrize(
    ("schema", "value", "note"),
    [
        ({"type": "string", "pattern": "^(a+)+$"}, "a" * 50 + "b", "does not match"),
        ({"patternProperties": {"^(a+)+$": {}}, "additionalProperties": False}, {"a" * 50 + "b": 1}, "additional"),
        ({"$ref": "#"}, 1, "refers to itself without end"),
        ({"$ref": "http://127.0.0.1:9/schema"}, 1, "not validated"),
        (
            {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "$defs": {
                    "d0": {"type": "integer"},
                    **{f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n - 1}"}] * 4} for n in range(1, 20)},
                },
                "$ref": "#/$defs/d19",
            },
            1,
            "takes more than",
        ),
        ({"type": 5}, 1, "not validated"),
        ({"pattern": "("}, "x", "not validated"),
    ],
)
def test_a_wrong_or_malicious_json_schema_is_told_and_the_record_shown(
    registry: RegistryServer, schema: Any, value: Any, note: str
) -> None:
    found = value_of(registry, framed(registry, json.dumps(schema), json.dumps(value).encode(), "JSON"))
    assert note in found.note
    assert found.value == value


def test_a_schema_that_the_registry_does_not_know_is_told(registry: RegistryServer) -> None:
    found = value_of(registry, b"\0\0\0\0\x63abc")
    assert (found.kind, found.note) == ("hex", "schema id 99 is not in the registry")


def test_bytes_that_only_look_like_schema_ids_do_not_flood_the_registry(registry: RegistryServer) -> None:
    records = [Read(None, b"\0" + number.to_bytes(4, "big")) for number in range(1, 2_000)]
    found = decoded(registry, *records)
    assert len(registry.requests) <= 210
    assert sum("was not looked up" in value.note for _, value in found) > 1_700


def test_a_registry_that_does_not_answer_is_told_and_asked_once() -> None:
    found = decoded(None, Read(None, b"\0\0\0\0\x01a"), Read(None, b"\0\0\0\0\x02a"), url="http://127.0.0.1:1")
    assert all("the schema registry does not answer" in value.note for _, value in found)


def test_what_answers_may_be_no_registry(registry: RegistryServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(*_: object) -> list[dict[str, int]]:
        return [{"schema": 1}]

    monkeypatch.setattr(registry, "answer", answer)
    assert value_of(registry, b"\0\0\0\0\x01a").note.startswith("schema id 1: ")


@pytest.mark.parametrize("framing", [b"", b"\0\0\0\0\x07"])
def test_local_schemas_decode_with_and_without_framing(tmp_path: Path, framing: bytes) -> None:
    (tmp_path / "order.avsc").write_text(json.dumps(ORDER))
    (tmp_path / "common.proto").write_text('syntax = "proto3"; package shop; message Customer { string name = 1; }')
    (tmp_path / "shop.proto").write_text(
        'syntax = "proto3"; package shop; import "common.proto";'
        "message A {} message Order { Customer c = 1; int32 i = 2; }"
    )
    (tmp_path / "order.json").write_text(json.dumps(JSON_SCHEMA))

    def value(schema: str, payload: bytes) -> Any:
        decoder = RecordDecoder(value_schema=read_schema(str(tmp_path / schema)))
        found = decoder.value(Read(None, framing + payload))
        assert found.note == ""
        return found.value

    assert value("order.avsc", b"\x02\x02\x64\x00\x00\x02a")["id"] == 1
    assert value("order.json", b'{"id":1}') == {"id": 1}
    indexes = b"\x02\x02" if framing else b""
    assert value("shop.proto:shop.Order", indexes + b"\x10\x05") == {"c": None, "i": 5}


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("gone.avsc", None, "No such file"),
        ("x.txt", "", "ends in .avsc, .proto or .json"),
        ("x.avsc", "{", "is no JSON"),
        ("x.proto:Nope", 'syntax = "proto3"; message Yes {}', "it has Yes"),
    ],
)
def test_a_local_schema_that_is_none_is_refused(tmp_path: Path, name: str, text: str | None, why: str) -> None:
    if text is not None:
        (tmp_path / name.partition(":")[0]).write_text(text)
    with pytest.raises(SettingsError, match=why):
        read_schema(str(tmp_path / name))
