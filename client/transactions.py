"""Transactions: list, describe, find those that hang, abort (KIP-664)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from klamm.client.cluster import Cluster
from klamm.client.errors import ClientError
from klamm.client.groups import TRANSACTION, coordinators
from klamm.client.requests import check, failure, shapes, time_ms
from klamm.client.wire import ClusterMetadata, TopicMetadata

WRITE_TXN_MARKERS: Final = 27
DESCRIBE_PRODUCERS: Final = 61
DESCRIBE_TRANSACTIONS: Final = 65
LIST_TRANSACTIONS: Final = 66


class ListedTransaction(NamedTuple):
    """A transactional id as its coordinator lists it."""

    transactional_id: str
    producer_id: int
    state: str
    coordinator: int


class DescribedTransaction(NamedTuple):
    """A transactional id in full; ``start_ms`` is None when no transaction is open."""

    transactional_id: str
    state: str
    producer_id: int
    producer_epoch: int
    timeout_ms: int
    start_ms: int | None
    partitions: list[tuple[str, int]]
    coordinator: int


class ActiveProducer(NamedTuple):
    """A producer with state on a partition; ``txn_start_offset`` is None when it has no transaction open."""

    topic: str
    partition: int
    producer_id: int
    producer_epoch: int
    coordinator_epoch: int
    last_timestamp_ms: int
    txn_start_offset: int | None


async def list_transactions(
    cluster: Cluster, states: Sequence[str] = ()
) -> tuple[list[ListedTransaction], list[ClientError]]:
    """Return transactional ids of all coordinators, and brokers' errors. One request to each broker."""
    shape = shapes(LIST_TRANSACTIONS)
    request = shape.ListTransactionsRequest(state_filters=tuple(states))

    async def send(broker_id: int, _: object) -> Any:  # noqa: ANN401 (a response)
        answer = await cluster.ask(LIST_TRANSACTIONS, request, broker_id)
        check(answer.error_code, None, f"broker {broker_id}")
        return answer

    answers, errors = await cluster.per_broker(dict.fromkeys(await cluster.brokers()), send)
    if errors and not answers:
        raise next(iter(errors.values()))
    found = [
        ListedTransaction(str(each.transactional_id), int(each.producer_id), each.transaction_state, broker_id)
        for broker_id, answer in answers.items()
        for each in answer.transaction_states
    ]
    return sorted(found), list(errors.values())


async def describe_transactions(
    cluster: Cluster, ids: Sequence[str]
) -> tuple[list[DescribedTransaction], dict[str, ClientError]]:
    """Return transactional ids in full, and errors by id."""
    where, errors = await coordinators(cluster, ids, TRANSACTION)
    by_broker: dict[int, list[str]] = {}
    for name, broker_id in where.items():
        by_broker.setdefault(broker_id, []).append(name)
    shape = shapes(DESCRIBE_TRANSACTIONS)

    async def send(broker_id: int, names: list[str]) -> Any:  # noqa: ANN401 (a response)
        request = shape.DescribeTransactionsRequest(transactional_ids=tuple(names))
        return await cluster.ask(DESCRIBE_TRANSACTIONS, request, broker_id)

    answers, failures = await cluster.per_broker(by_broker, send)
    for broker_id, failed in failures.items():
        errors.update(dict.fromkeys(by_broker[broker_id], failed))
    found: list[DescribedTransaction] = []
    for broker_id, answer in answers.items():
        for each in answer.transaction_states:
            name = str(each.transactional_id)
            error = failure(each.error_code, None, name)
            if error is not None:
                errors[name] = error
                continue
            found.append(
                DescribedTransaction(
                    name,
                    each.transaction_state,
                    int(each.producer_id),
                    int(each.producer_epoch),
                    int(each.transaction_timeout.total_seconds() * 1000),
                    time_ms(each.transaction_start_time),
                    [(str(topic.topic), int(index)) for topic in each.topics for index in topic.partitions],
                    broker_id,
                )
            )
    return sorted(found), errors


async def active_producers(
    cluster: Cluster, topics: Sequence[TopicMetadata]
) -> tuple[list[ActiveProducer], list[ClientError]]:
    """Return the producers with state on partitions. One request to each leader."""
    shape = shapes(DESCRIBE_PRODUCERS)
    by_leader: dict[int, dict[str, list[int]]] = {}
    for topic in topics:
        for part in topic.partitions:
            if part.leader >= 0:
                by_leader.setdefault(part.leader, {}).setdefault(topic.name, []).append(part.partition)

    async def send(leader: int, wanted: dict[str, list[int]]) -> Any:  # noqa: ANN401 (a response)
        request = shape.DescribeProducersRequest(
            topics=tuple(shape.TopicRequest(name=name, partition_indexes=tuple(ids)) for name, ids in wanted.items())
        )
        return await cluster.ask(DESCRIBE_PRODUCERS, request, leader)

    answers, failures = await cluster.per_broker(by_leader, send)
    errors = list(failures.values())
    found: list[ActiveProducer] = []
    for answer in answers.values():
        for topic in answer.topics:
            for part in topic.partitions:
                error = failure(part.error_code, part.error_message, f"{topic.name}:{part.partition_index}")
                if error is not None:
                    errors.append(error)
                found += [
                    ActiveProducer(
                        str(topic.name),
                        int(part.partition_index),
                        int(each.producer_id),
                        int(each.producer_epoch),
                        int(each.coordinator_epoch),
                        time_ms(each.last_timestamp) or -1,
                        None if int(each.current_txn_start_offset) < 0 else int(each.current_txn_start_offset),
                    )
                    for each in part.active_producers
                ]
    return sorted(found, key=lambda each: each[:3]), errors


async def find_hanging(
    cluster: Cluster, metadata: ClusterMetadata, now_ms: int, max_timeout_ms: int
) -> tuple[list[ActiveProducer], list[ClientError]]:
    """Return open transactions on partitions that no coordinator knows and that are older than any may be.

    Such a transaction holds the last stable offset for ever: read_committed consumers stand still (KIP-664).
    """
    producers, errors = await active_producers(cluster, metadata.topics)
    open_ones = [each for each in producers if each.txn_start_offset is not None]
    old = [each for each in open_ones if now_ms - each.last_timestamp_ms > max_timeout_ms]
    if not old:
        return [], errors
    listed, list_errors = await list_transactions(cluster)
    errors += list_errors
    by_producer = {each.producer_id: each.transactional_id for each in listed}
    named = sorted({by_producer[each.producer_id] for each in old if each.producer_id in by_producer})
    described, failed = await describe_transactions(cluster, named) if named else ([], {})
    errors += failed.values()
    known = {
        (each.producer_id, topic, index)
        for each in described
        if each.state in {"Ongoing", "PrepareCommit", "PrepareAbort"}
        for topic, index in each.partitions
    }
    return [each for each in old if (each.producer_id, each.topic, each.partition) not in known], errors


async def abort_transaction(cluster: Cluster, metadata: ClusterMetadata, hanging: ActiveProducer) -> None:
    """Write an abort marker for one producer's open transaction on one partition.

    Raises:
        ResponseError: The broker refused.
    """
    leaders = {(t.name, p.partition): p.leader for t in metadata.topics for p in t.partitions}
    shape = shapes(WRITE_TXN_MARKERS)
    marker = shape.WritableTxnMarker(
        producer_id=hanging.producer_id,
        producer_epoch=hanging.producer_epoch,
        transaction_result=False,
        topics=(shape.WritableTxnMarkerTopic(name=hanging.topic, partition_indexes=(hanging.partition,)),),
        coordinator_epoch=max(0, hanging.coordinator_epoch),
    )
    answer = await cluster.ask(
        WRITE_TXN_MARKERS,
        shape.WriteTxnMarkersRequest(markers=(marker,)),
        leaders[hanging.topic, hanging.partition],
    )
    for result in answer.markers:
        for topic in result.topics:
            for each in topic.partitions:
                check(each.error_code, None, f"{topic.name}:{each.partition_index}")
