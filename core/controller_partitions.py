"""The controller's decisions on partitions: leaders, in-sync replicas, reassignments.

Codes and messages are those of Apache Kafka 4.3's ReplicationControlManager, tried against it. Replicas do not
move yet: a reassignment to the replicas that a partition has already is complete at once, any other is refused.
"""

from __future__ import annotations

from klamm.core.controller_requests import (
    AlterPartition,
    ElectLeaders,
    PartitionOutcome,
    Reassignment,
    ReassignPartitions,
)
from klamm.core.controller_topics import check_replicas
from klamm.core.metadata_image import MetadataImage, PartitionImage
from klamm.core.metadata_records import NO_CHANGE, MetadataRecord, PartitionChangeRecord
from klamm.core.steps import Steps
from klamm.model.errors import (
    ErrorCode,
    FencedLeaderEpochError,
    InvalidReplicaAssignmentError,
    InvalidRequestError,
    KafkaError,
    UnknownTopicIdError,
    UnknownTopicOrPartitionError,
)
from klamm.model.ids import NO_BROKER, BrokerId, PartitionIndex, TopicName


def elect_leaders(
    image: MetadataImage, request: ElectLeaders
) -> Steps[tuple[list[MetadataRecord], tuple[PartitionOutcome, ...]]]:
    """Decide who leads. Asked for all partitions, those that need no election are left out of the outcome."""
    everything = request.partitions is None
    wanted = request.partitions
    if wanted is None:
        wanted = tuple((topic.name, one.partition) for topic in image.topics.values() for one in topic.partitions)
    records: list[MetadataRecord] = []
    outcomes: list[PartitionOutcome] = []
    for topic_name, index in wanted:
        yield
        try:
            records.append(_elect(image, topic_name, index, unclean=request.unclean))
        except KafkaError as error:
            if not (everything and error.error_code is ErrorCode.ELECTION_NOT_NEEDED):
                outcomes.append(PartitionOutcome(topic_name, index, error.error_code, error.message))
            continue
        outcomes.append(PartitionOutcome(topic_name, index))
    return records, tuple(outcomes)


def alter_partition(
    image: MetadataImage, request: AlterPartition
) -> tuple[list[MetadataRecord], tuple[PartitionOutcome, ...]]:
    """Decide on the in-sync replicas that a leader asks for.

    Raises:
        UnknownTopicIdError: The topic is gone.
        FencedLeaderEpochError: Somebody else leads by now.
        KafkaError: Code INVALID_UPDATE_VERSION: the partition changed since the leader looked at it. Code
            INELIGIBLE_REPLICA: an in-sync replica is none of the partition's, or is not registered.
    """
    topic = image.topic_by_id(request.topic_id)
    if topic is None:
        raise UnknownTopicIdError(str(request.topic_id))
    if not 0 <= request.partition < len(topic.partitions):
        msg = f"{topic.name}-{request.partition} does not exist"
        raise UnknownTopicOrPartitionError(msg)
    before = topic.partitions[request.partition]
    if request.leader_epoch != before.leader_epoch or request.broker_id != before.leader:
        msg = f"leader_epoch={request.leader_epoch}, current={before.leader_epoch} of broker {before.leader}"
        raise FencedLeaderEpochError(msg)
    if request.partition_epoch != before.partition_epoch:
        msg = f"partition_epoch={request.partition_epoch}, current={before.partition_epoch}"
        raise KafkaError(msg, code=ErrorCode.INVALID_UPDATE_VERSION)
    strange = [one for one in request.isr if one not in before.replicas or one not in image.brokers]
    if strange or before.leader not in request.isr:
        msg = f"isr={request.isr} of replicas {before.replicas}"
        raise KafkaError(msg, code=ErrorCode.INELIGIBLE_REPLICA)
    change = PartitionChangeRecord(request.partition, request.topic_id, request.isr, NO_CHANGE)
    return [change], (PartitionOutcome(topic.name, request.partition),)


def reassign_partitions(
    image: MetadataImage, request: ReassignPartitions
) -> Steps[tuple[list[MetadataRecord], tuple[PartitionOutcome, ...]]]:
    """Decide on moves of partitions."""
    outcomes: list[PartitionOutcome] = []
    for move in request.partitions:
        yield
        try:
            _check_move(image, move)
        except KafkaError as error:
            outcomes.append(PartitionOutcome(move.topic, move.partition, error.error_code, error.message or None))
            continue
        outcomes.append(PartitionOutcome(move.topic, move.partition))
    return [], tuple(outcomes)


def leader_epochs_after_crash(image: MetadataImage, broker_id: BrokerId) -> list[MetadataRecord]:
    """Return records that raise the leader epoch of all that ``broker_id`` leads or, alone in the ISR, must lead."""
    return [
        PartitionChangeRecord(one.partition, topic.topic_id, None, broker_id)
        for topic in image.topics.values()
        for one in topic.partitions
        if one.leader == broker_id or (one.leader == NO_BROKER and one.isr == (broker_id,))
    ]


def _elect(image: MetadataImage, topic_name: TopicName, index: PartitionIndex, *, unclean: bool) -> MetadataRecord:
    topic = image.topics.get(topic_name)
    if topic is None:
        msg = f"No such topic as {topic_name}"
        raise UnknownTopicOrPartitionError(msg)
    partition = image.partition(topic_name, index)
    if partition is None:
        msg = f"No such partition as {topic_name}-{index}"
        raise UnknownTopicOrPartitionError(msg)
    led = partition.leader in image.brokers
    if led and (unclean or partition.leader == partition.replicas[0]):
        msg = "Leader election not needed for topic partition."
        raise KafkaError(msg, code=ErrorCode.ELECTION_NOT_NEEDED)
    return PartitionChangeRecord(index, topic.topic_id, None, _candidate(image, partition, unclean=unclean))


def _candidate(image: MetadataImage, partition: PartitionImage, *, unclean: bool) -> BrokerId:
    preferred = partition.replicas[0]
    if not unclean:
        if preferred in partition.isr and preferred in image.brokers:
            return preferred
        msg = "The preferred leader was not available."
        raise KafkaError(msg, code=ErrorCode.PREFERRED_LEADER_NOT_AVAILABLE)
    for candidate in (*partition.isr, *partition.replicas):
        if candidate in image.brokers:
            return candidate
    msg = "Eligible topic partition leaders are not available."
    raise KafkaError(msg, code=ErrorCode.ELIGIBLE_LEADERS_NOT_AVAILABLE)


def _check_move(image: MetadataImage, move: Reassignment) -> None:
    topic = image.topics.get(move.topic)
    if topic is None:
        msg = f"Unable to find a topic named {move.topic}."
        raise UnknownTopicOrPartitionError(msg)
    partition = image.partition(move.topic, move.partition)
    if partition is None:
        msg = f"Unable to find partition {move.topic}:{move.partition}."
        raise UnknownTopicOrPartitionError(msg)
    if move.replicas is None:
        raise KafkaError(code=ErrorCode.NO_REASSIGNMENT_IN_PROGRESS)
    check_replicas(image, move.replicas)
    if set(move.replicas) != set(partition.replicas):
        msg = f"replicas={move.replicas}: moving replicas from brokers {partition.replicas} is not supported"
        raise InvalidReplicaAssignmentError(msg)
    if move.replicas != partition.replicas:
        msg = f"replicas={move.replicas}: changing the order of replicas {partition.replicas} is not supported"
        raise InvalidRequestError(msg)
