"""Spans of every instrumentation in the words of the messaging conventions, version 1.44.

Instrumentations keep the names of the version they were written for; what they mean is the same. Names become
``{operation} {destination}``, attributes those of v1.44, whatever their dialect. Nothing is lost: an attribute that is
not known stays as it is.

Sources: OpenTelemetry semantic conventions, "Messaging spans", v1.7 to v1.44; the spans of
opentelemetry-instrumentation-confluent-kafka, -kafka-python and -aiokafka, and of the Java agent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

Value = str | int | float | bool
Attributes = Mapping[str, Value]

DESTINATION: Final = "messaging.destination.name"
PARTITION: Final = "messaging.destination.partition.id"
OFFSET: Final = "messaging.kafka.offset"
GROUP: Final = "messaging.consumer.group.name"
CLIENT_ID: Final = "messaging.client.id"
OPERATION_TYPE: Final = "messaging.operation.type"
OPERATION_NAME: Final = "messaging.operation.name"

_RENAMED: Final = {
    "messaging.destination": DESTINATION,
    "messaging.kafka.partition": PARTITION,
    "messaging.kafka.destination.partition": PARTITION,
    "messaging.kafka.source.partition": PARTITION,
    "messaging.source.name": DESTINATION,
    "messaging.kafka.message.offset": OFFSET,
    "messaging.kafka.consumer.group": GROUP,
    "messaging.kafka.consumer_group": GROUP,
    "messaging.consumer_group": GROUP,
    "messaging.client_id": CLIENT_ID,
    "messaging.kafka.client_id": CLIENT_ID,
    "messaging.consumer.id": CLIENT_ID,
    "messaging.operation": OPERATION_TYPE,
    "messaging.message_id": "messaging.message.id",
    "messaging.conversation_id": "messaging.message.conversation_id",
    "messaging.kafka.message_key": "messaging.kafka.message.key",
    "messaging.kafka.tombstone": "messaging.kafka.message.tombstone",
    "messaging.url": "server.address",
    "net.peer.name": "server.address",
    "net.peer.port": "server.port",
}
_OPERATIONS: Final = {
    "publish": "send",
    "produce": "send",
    "send": "send",
    "create": "create",
    "receive": "receive",
    "recv": "receive",
    "poll": "receive",
    "process": "process",
    "deliver": "process",
    "consume": "process",
    "settle": "settle",
    "commit": "settle",
    "ack": "settle",
}
_BROKERS: Final = frozenset({"append", "replicate", "dwell", "settle", "expire"})
"""What a klamm broker calls its message-scoped spans: they are no operation of a client's."""


class Normalised(NamedTuple):
    """A span's name and attributes; ``operation`` is send, create, receive, process, settle, a broker's, or nothing."""

    name: str
    operation: str
    attributes: Attributes


def normalise(name: str, kind: str, attributes: Attributes) -> Normalised:
    """Return a span's name, operation and attributes in the words of v1.44."""
    found: dict[str, Value] = {}
    for key, value in attributes.items():
        renamed = _RENAMED.get(key, key)
        if renamed not in found or renamed == key:  # the new name counts where a span has both
            found[renamed] = value
    if PARTITION in found:
        found[PARTITION] = str(found[PARTITION])
    destination = found.get(DESTINATION)
    topic = destination if isinstance(destination, str) and destination else None
    operation = _operation(name, kind, found, topic)
    if operation in _OPERATIONS.values():
        found[OPERATION_TYPE] = operation
    return Normalised(_name(name, operation, topic), operation, found)


def number_of(attributes: Attributes, key: str) -> int | None:
    """Return an attribute as a number, None if it is none."""
    value = attributes.get(key)
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int):
        return value
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else None


def text_of(attributes: Attributes, key: str) -> str | None:
    """Return an attribute as text, None if it is not there or empty."""
    value = attributes.get(key)
    return str(value) if value not in {None, ""} else None


def _operation(name: str, kind: str, attributes: Attributes, topic: str | None) -> str:
    said = attributes.get(OPERATION_NAME)
    if isinstance(said, str) and said in _BROKERS and "klamm.broker.id" in attributes:
        return said
    words = name.split(" ")
    outer = {words[0].lower(), words[-1].lower()}
    if topic is not None:  # "{topic} {op}" of old, "{op} {topic}" now
        outer = {word.lower() for word in (name.removeprefix(f"{topic} "), name.removesuffix(f" {topic}"))}
    by_name = next((_OPERATIONS[word] for word in outer if word in _OPERATIONS), "")
    kept = attributes.get(OPERATION_TYPE)
    by_type = _OPERATIONS.get(kept.lower(), "") if isinstance(kept, str) else ""
    is_messaging = topic is not None or attributes.get("messaging.system") == "kafka"
    if by_type or (by_name and is_messaging):
        return by_type or by_name
    if not is_messaging:
        return ""
    return {"producer": "send", "consumer": "process"}.get(kind, "")


def _name(name: str, operation: str, topic: str | None) -> str:
    """Return ``{operation} {destination}``; what stands in that order already keeps its own verb."""
    if topic is None or not operation or name.endswith(f" {topic}"):
        return name
    is_old = name.startswith(f"{topic} ") or name.lower() in _OPERATIONS
    return f"{operation} {topic}" if is_old else name
