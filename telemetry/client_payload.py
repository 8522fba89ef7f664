"""What a client pushed (KIP-714): OTLP MetricsData, compressed; read, and marked with whose it is.

Importing this imports protobuf and OpenTelemetry's messages, not the SDK.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData

from klamm.model.errors import CorruptMessageError, KafkaError
from klamm.records.compression import Codec, decompress

EXPANSION_MAX: Final = 20
"""How many times as large as ``telemetry.max.bytes`` a push may become: protobuf of metrics shrinks to a tenth."""


class InvalidPayloadError(Exception):
    """The bytes are no OTLP metrics in that compression."""


def marked(codec: int, payload: bytes, size_max: int, attributes: Mapping[str, str]) -> bytes:
    """Return the metrics, not compressed, each resource with these attributes besides its own.

    MetricsData and ExportMetricsServiceRequest are the same on the wire: this is what ``otlp_metrics`` holds.

    Raises:
        InvalidPayloadError: It is not what it claims to be.
    """
    try:
        plain = payload if not codec else bytes(decompress(Codec(codec), memoryview(payload), size_max * EXPANSION_MAX))
        data = MetricsData.FromString(plain)
    except (CorruptMessageError, KafkaError, DecodeError) as error:
        raise InvalidPayloadError(str(error)) from error
    for resource_metrics in data.resource_metrics:
        own = {one.key for one in resource_metrics.resource.attributes}
        resource_metrics.resource.attributes.extend(
            KeyValue(key=name, value=AnyValue(string_value=value))
            for name, value in attributes.items()
            if name not in own
        )
    return data.SerializeToString()
