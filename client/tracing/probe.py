"""A probe: one record with a fresh, sampled trace context, sent by hand so that its hops can be timed."""

from __future__ import annotations

import random
import time
from datetime import timedelta
from typing import Final, NamedTuple
from uuid import UUID

from klamm.client.cluster import Cluster
from klamm.client.errors import ClientError, ResponseError
from klamm.client.requests import failure, shapes
from klamm.client.tracing.normalise import Value
from klamm.client.tracing.propagation import TraceContext, new_context, traceparent_of
from klamm.client.tracing.spans import Span, make_span
from klamm.client.wire import PartitionMetadata, TopicMetadata
from klamm.records.record import Record, build_batch

PRODUCE: Final = 0
_ALL_REPLICAS: Final = -1
_TIMEOUT_S: Final = 30
_NO_SUCH_PARTITION: Final = 3
PROBE_HEADER: Final = b"klamm-probe"


class Probe(NamedTuple):
    """A probe that was acknowledged; times are of this machine."""

    topic: str
    partition: int
    offset: int
    context: TraceContext
    sent_ms: float
    acknowledged_ms: float
    client_id: str

    @property
    def span(self) -> Span:
        """The span of its sending: from before the request until the broker had it on all in-sync replicas."""
        assert self.context.span_id is not None, f"{self.context} has no span"
        attributes: dict[str, Value] = {
            "messaging.system": "kafka",
            "messaging.operation.name": "send",
            "messaging.operation.type": "send",
            "messaging.destination.name": self.topic,
            "messaging.destination.partition.id": str(self.partition),
            "messaging.kafka.offset": self.offset,
            "messaging.client.id": self.client_id,
        }
        times = (round(self.sent_ms * 1e6), round(self.acknowledged_ms * 1e6))
        ids = (self.context.trace_id, self.context.span_id, None)
        return make_span(*ids, f"send {self.topic}", "producer", times, "klamm trace send", (), None, attributes)


async def send_probe(cluster: Cluster, topic: str, value: bytes, key: bytes | None, partition: int | None) -> Probe:
    """Write one record with acks=all and return where it is; without a partition some led one is taken.

    Raises:
        RefusedError: The context may not change the cluster.
        ResponseError: There is no such topic or partition, or the broker refused the record.
    """
    metadata = await cluster.metadata([topic])
    found, chosen = _choose(metadata.topics, topic, partition)
    context = new_context()
    now_ms = time.time() * 1000
    headers = ((b"traceparent", traceparent_of(context)), (PROBE_HEADER, b"1"))
    batch = build_batch([Record(0, int(now_ms), key, value, headers)])
    shape = shapes(PRODUCE)
    data = shape.PartitionProduceData(index=chosen.partition, records=bytes(batch))
    written = shape.TopicProduceData(name=topic, topic_id=UUID(bytes=found.topic_id), partition_data=(data,))
    request = shape.ProduceRequest(
        transactional_id=None, acks=_ALL_REPLICAS, timeout=timedelta(seconds=_TIMEOUT_S), topic_data=(written,)
    )
    sent_ms = time.time() * 1000
    response = await cluster.ask(PRODUCE, request, chosen.leader)
    acknowledged_ms = time.time() * 1000
    for each in (each for one in response.responses for each in one.partition_responses):
        error = failure(each.error_code, each.error_message, f"{topic}:{chosen.partition}")
        if error is not None:
            raise error
        place = (topic, chosen.partition, int(each.base_offset))
        return Probe(*place, context, sent_ms, acknowledged_ms, cluster.settings.client_id)
    code, msg = "UNKNOWN_SERVER_ERROR", f"{topic}:{chosen.partition}: the broker answered Produce without it"
    raise ClientError(code, msg, "look at the broker's log")


def _choose(topics: list[TopicMetadata], topic: str, partition: int | None) -> tuple[TopicMetadata, PartitionMetadata]:
    found = next((each for each in topics if each.name == topic), None)
    if found is None or found.error_code:
        raise ResponseError(_NO_SUCH_PARTITION if found is None else found.error_code, None, name=topic)
    led = [each for each in found.partitions if each.leader >= 0 and partition in {None, each.partition}]
    if not led:
        msg = (
            f"{topic} has no partition with a leader"
            if partition is None
            else f"{topic} has no led partition {partition}"
        )
        raise ResponseError(_NO_SUCH_PARTITION, msg, f"klamm topic describe {topic}", name=topic)
    return found, random.choice(led)  # noqa: S311 (any will do)
