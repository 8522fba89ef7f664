"""GetTelemetrySubscriptions and PushTelemetry (KIP-714): clients' own metrics, which land in ``otlp_metrics``.

Which client is to push what stands in the configs of ``client-metrics`` resources; the rules in
``klamm.core.client_metrics``. Served while telemetry is on.
"""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from klamm.core.client_metrics import ACCEPTED_CODECS, Push
from klamm.core.controller_requests import CreateTopics
from klamm.core.controller_topics import internal_topic
from klamm.model.configs import ResourceType
from klamm.model.errors import ErrorCode, KafkaError
from klamm.model.own_topics import METRICS
from klamm.protocol.apis import ApiKey
from klamm.protocol.messages import wire_error
from klamm.server.message_types import response_types
from klamm.server.own_topics import OwnRecord, OwnTopics

if TYPE_CHECKING:
    from klamm.server.apis import Handler
    from klamm.server.node import Node
    from klamm.server.requests import RequestContext

NO_THROTTLE: Final = timedelta(0)


def get_telemetry_subscriptions(node: Node, context: RequestContext, request: Any) -> Any:  # noqa: ANN401 (kio messages)
    """Tell a client what to push; a client without an id gets one.

    Raises:
        KafkaError: THROTTLING_QUOTA_EXCEEDED.
    """
    _configure(node)
    given = node.client_metrics.get(request.client_instance_id, _facts(context), _now_ms())
    context.connection.client_instance_id = str(given.client_instance_id)
    types = response_types(ApiKey.GET_TELEMETRY_SUBSCRIPTIONS)
    number, metrics, interval_ms = given.subscription
    return types.GetTelemetrySubscriptionsResponse(
        throttle_time=NO_THROTTLE,
        error_code=wire_error(ErrorCode.NONE),
        client_instance_id=given.client_instance_id,
        subscription_id=number,
        accepted_compression_types=tuple(int(codec) for codec in ACCEPTED_CODECS),
        push_interval=timedelta(milliseconds=interval_ms),
        telemetry_max_bytes=node.client_metrics.size_max,
        delta_temporality=True,
        requested_metrics=metrics,
    )


async def push_telemetry(node: Node, context: RequestContext, request: Any) -> Any:  # noqa: ANN401 (kio messages)
    """Take a client's metrics and write them to ``otlp_metrics``.

    Raises:
        KafkaError: Refused; INVALID_RECORD: they are none.
    """
    _configure(node)
    payload = bytes(request.metrics or b"")
    codec = int(request.compression_type)
    push = Push(
        request.client_instance_id, int(request.subscription_id), bool(request.terminating), codec, len(payload)
    )
    node.client_metrics.push(push, _facts(context), _now_ms())
    context.connection.client_instance_id = str(push.client_instance_id)
    if payload:
        await _keep(node, context, push, payload)
    types = response_types(ApiKey.PUSH_TELEMETRY)
    return types.PushTelemetryResponse(throttle_time=NO_THROTTLE, error_code=wire_error(ErrorCode.NONE))


async def _keep(node: Node, context: RequestContext, push: Push, payload: bytes) -> None:
    """Read what was pushed on a thread, and write it."""
    attributes = {
        **_facts(context),
        "client_instance_id": str(push.client_instance_id),
        "broker_id": str(node.broker_id),
    }
    answer: asyncio.Future[bytes | None] = node.loop.create_future()

    def done(marked: bytes | None) -> None:
        if not answer.done():
            answer.set_result(marked)

    def work() -> None:
        from klamm.telemetry.client_payload import InvalidPayloadError, marked  # noqa: PLC0415 (protobuf, on a thread)

        result: bytes | None = None
        try:
            result = marked(push.codec, payload, node.client_metrics.size_max, attributes)
        except InvalidPayloadError:
            pass  # told as None
        finally:
            node.loop.call_soon_threadsafe(partial(done, result))

    node.disk.run(work)
    metrics = await answer
    if metrics is None:
        node.client_metrics.refused(push.client_instance_id, ErrorCode.INVALID_RECORD)
        msg = "the metrics are no OTLP MetricsData in the compression that was said"
        raise KafkaError(msg, code=ErrorCode.INVALID_RECORD)
    topics = OwnTopics(node) if node.telemetry is None else node.telemetry.topics
    if not topics.exists(METRICS):
        await node.controller.ask(CreateTopics((internal_topic(METRICS, node.config),)))
    topics.append(METRICS, [OwnRecord(None, metrics)])


def _configure(node: Node) -> None:
    configs = node.image.configs.items()
    node.client_metrics.configure(
        {
            resource.name: dict(each)
            for resource, each in configs
            if resource.type is ResourceType.CLIENT_METRICS and each
        }
    )


def _facts(context: RequestContext) -> dict[str, str]:
    """Return what selectors may ask of a client, by Kafka's names."""
    name, version = context.connection.client_software
    return {
        "client_id": context.client_id or "",
        "client_software_name": name,
        "client_software_version": version,
        "client_source_address": context.client_host,
        "client_source_port": str(context.connection.client_port),
    }


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000


HANDLERS: dict[ApiKey, Handler] = {
    ApiKey.GET_TELEMETRY_SUBSCRIPTIONS: get_telemetry_subscriptions,
    ApiKey.PUSH_TELEMETRY: push_telemetry,
}
