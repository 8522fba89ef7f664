"""A probe: one record with a fresh, sampled trace context, sent by hand so that its hops can be timed."""

from __future__ import annotations

import random
import time
from datetime import timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from klamm.client.cluster import Cluster
from klamm.client.errors import ClientError, ResponseError
from klamm.client.groups import MEMBERLESS
from klamm.client.requests import failure, shapes
from klamm.client.tracing.bystanders import find_bystanders
from klamm.client.tracing.joining import hops_of_spans
from klamm.client.tracing.model import Hop, Note
from klamm.client.tracing.normalise import Value
from klamm.client.tracing.propagation import TraceContext, new_context, traceparent_of
from klamm.client.tracing.spans import Span, make_span
from klamm.client.wire import PartitionMetadata, TopicMetadata
from klamm.protocol.produce import ACKS_CHECK_ONLY
from klamm.records.record import Record, build_batch

PRODUCE: Final = 0
_ALL_REPLICAS: Final = -1
_TIMEOUT_S: Final = 30
_NO_SUCH_PARTITION: Final = 3
_INVALID_REQUIRED_ACKS: Final = 21
PROBE_HEADER: Final = b"klamm-probe"


class Probe(NamedTuple):
    """A probe that was acknowledged; times are of this machine.

    ``stored`` is False for one that the broker only checked: then ``offset`` is the one it would have got.
    """

    topic: str
    partition: int
    offset: int
    context: TraceContext
    sent_ms: float
    acknowledged_ms: float
    client_id: str
    leader: int = -1
    stored: bool = True

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


async def send_probe(
    cluster: Cluster, topic: str, value: bytes, key: bytes | None, partition: int | None, *, deliver: bool = True
) -> Probe:
    """Write one record with acks=all and return where it is; without a partition some led one is taken.

    Without ``deliver`` a klamm broker makes every check and stores nothing.

    Raises:
        RefusedError: The context may not change the cluster.
        ResponseError: There is no such topic or partition, or the broker refused the record.
        ClientError: The broker stores or refuses, and knows no third way.
    """
    from klamm.protocol import messages  # noqa: PLC0415 (it loads kio)

    metadata = await cluster.metadata([topic])
    found, chosen = _choose(metadata.topics, topic, partition)
    context = new_context()
    headers = ((b"traceparent", traceparent_of(context)), (PROBE_HEADER, b"1"))
    batch = bytes(build_batch([Record(0, int(time.time() * 1000), key, value, headers)]))
    request = _request(found, chosen, batch, _ALL_REPLICAS if deliver else ACKS_CHECK_ONLY)
    await cluster.broker(chosen.leader)
    messages.prewarm([PRODUCE])  # what is timed is the way there and back, not what loads before it
    sent_ms = time.time() * 1000
    response = await cluster.ask(PRODUCE, request, chosen.leader)
    acknowledged_ms = time.time() * 1000
    for each in (each for one in response.responses for each in one.partition_responses):
        error = failure(each.error_code, each.error_message, f"{topic}:{chosen.partition}")
        if error is not None and not deliver and error.number == _INVALID_REQUIRED_ACKS:
            code, msg = "UNSUPPORTED", "this is no klamm broker: others cannot check a record without storing it"
            raise ClientError(code, f"{msg}; nothing was stored", "leave --no-deliver out to send it", name=topic)
        if error is not None:
            raise error
        place = (topic, chosen.partition, int(each.base_offset))
        return Probe(
            *place, context, sent_ms, acknowledged_ms, cluster.settings.client_id, chosen.leader, stored=deliver
        )
    code, msg = "UNKNOWN_SERVER_ERROR", f"{topic}:{chosen.partition}: the broker answered Produce without it"
    raise ClientError(code, msg, "look at the broker's log")


async def checked_hops(cluster: Cluster, probe: Probe) -> tuple[list[Hop], list[Note], tuple[ClientError, ...]]:
    """Return the hops of a probe that was only checked: the way there, the verdict, and the groups it would wait for.

    Also what may be missing, and what could not be asked.
    """
    place = (probe.topic, probe.partition, probe.offset)
    verdict = f"every check passed: it would be {probe.topic}:{probe.partition}@{probe.offset}; nothing was stored"
    send = hops_of_spans([probe.span], (probe.context.trace_id, probe.context.span_id or ""), place)
    checked = Hop("append", *place, None, None, "inferred", broker=probe.leader, bound="unknown", note=verdict)
    bystanders = await find_bystanders(cluster, place[:2], probe.offset)
    waiting: list[Hop] = []
    for group in sorted({*bystanders.committed, *bystanders.uncommitted}):
        committed = bystanders.committed.get(group)
        reader = bystanders.readers.get(group)
        hop = Hop("pending", *place, None, None, "inferred", group=group, bound="unknown")
        waiting.append(
            hop._replace(
                client_id=None if reader is None else reader.client_id,
                committed_offset=None if committed is None else committed.offset,
                lag=None if committed is None else max(0, probe.offset + 1 - committed.offset),
                state="empty" if bystanders.states.get(group) in MEMBERLESS else None,
                note="would wait for it",
            )
        )
    return [*send, checked, *waiting], bystanders.notes, bystanders.errors


def _request(topic: TopicMetadata, partition: PartitionMetadata, batch: bytes, acks: int) -> Any:  # noqa: ANN401 (generated)
    shape = shapes(PRODUCE)
    data = shape.PartitionProduceData(index=partition.partition, records=batch)
    written = shape.TopicProduceData(name=topic.name, topic_id=UUID(bytes=topic.topic_id), partition_data=(data,))
    return shape.ProduceRequest(
        transactional_id=None, acks=acks, timeout=timedelta(seconds=_TIMEOUT_S), topic_data=(written,)
    )


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
