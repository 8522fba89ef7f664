"""The controller's decisions on topics: create, delete, add partitions.

Codes and messages are those of Apache Kafka 4.3's ReplicationControlManager, tried against it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final
from uuid import UUID

from klamm.core.controller_requests import (
    CreatePartitions,
    CreateTopics,
    DeleteTopics,
    ManualAssignment,
    MorePartitions,
    NewTopic,
    TopicOutcome,
)
from klamm.core.metadata_image import MetadataImage, TopicImage
from klamm.core.metadata_records import (
    ConfigRecord,
    MetadataRecord,
    PartitionRecord,
    RemoveTopicRecord,
    TopicRecord,
)
from klamm.core.steps import Steps
from klamm.model.configs import ConfigResource, ResourceType
from klamm.model.configs_broker import BrokerConfig
from klamm.model.errors import (
    ErrorCode,
    InvalidConfigError,
    InvalidPartitionsError,
    InvalidReplicaAssignmentError,
    InvalidReplicationFactorError,
    InvalidRequestError,
    InvalidTopicError,
    KafkaError,
    PolicyViolationError,
    TopicAlreadyExistsError,
    UnknownTopicIdError,
    UnknownTopicOrPartitionError,
)
from klamm.model.ids import NO_TOPIC_ID, BrokerId, LeaderEpoch, PartitionIndex, TopicId, TopicName
from klamm.model.own_topics import OWN_TOPIC_CONFIGS, PROTECTED_TOPICS

TOPIC_NAME_LENGTH_MAX: Final = 249  # Kafka's: the folder name "topic-partition" must fit in 255 bytes
PARTITIONS_PER_REQUEST_MAX: Final = 10_000  # Kafka's ReplicationControlManager.MAX_PARTITIONS_PER_BATCH
CONSUMER_OFFSETS: Final = TopicName("__consumer_offsets")
TRANSACTION_STATE: Final = TopicName("__transaction_state")
CLUSTER_METADATA: Final = TopicName("__cluster_metadata")
INTERNAL_TOPICS: Final = frozenset({CONSUMER_OFFSETS, TRANSACTION_STATE}) | PROTECTED_TOPICS
_LEGAL_NAME: Final = re.compile(r"[a-zA-Z0-9._-]+")


def check_topic_name(name: str) -> None:
    """Raise InvalidTopicError if ``name`` cannot be a topic's."""
    if not name:
        reason = "the empty string is not allowed"
    elif name in {".", ".."}:
        reason = f"'{name}' is not allowed"
    elif len(name) > TOPIC_NAME_LENGTH_MAX:
        reason = f"the length of '{name}' is longer than the max allowed length {TOPIC_NAME_LENGTH_MAX}"
    elif _LEGAL_NAME.fullmatch(name) is None:
        reason = f"'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
    else:
        return
    msg = f"Topic name is invalid: {reason}"
    raise InvalidTopicError(msg)


def internal_topic(name: TopicName, config: BrokerConfig) -> NewTopic:
    """Return how ``name``, one of :data:`INTERNAL_TOPICS` or of klamm's own, is created, whoever asks for it first."""
    own = OWN_TOPIC_CONFIGS.get(name)
    if own is not None:
        return NewTopic(name, 1, 1, configs=own)
    extra: tuple[tuple[str, str], ...] = (("compression.type", "producer"),)
    if name == CONSUMER_OFFSETS:
        partitions, factor = config.offsets_topic_num_partitions, config.offsets_topic_replication_factor
        size = config.offsets_topic_segment_bytes
    else:
        assert name == TRANSACTION_STATE, f"{name} is no internal topic"
        partitions, factor = (
            config.transaction_state_log_num_partitions,
            config.transaction_state_log_replication_factor,
        )
        size = config.transaction_state_log_segment_bytes
        extra = (
            ("compression.type", "uncompressed"),
            ("min.insync.replicas", str(config.transaction_state_log_min_isr)),
            ("unclean.leader.election.enable", "false"),
        )
    configs = (("cleanup.policy", "compact"), ("segment.bytes", str(size)), *extra)
    return NewTopic(name, partitions, factor, configs=configs)


def create_topics(
    image: MetadataImage, request: CreateTopics, config: BrokerConfig, new_uuid: Callable[[], UUID]
) -> Steps[tuple[list[MetadataRecord], tuple[TopicOutcome, ...]]]:
    """Decide on each topic of ``request``: its records, if it can be created, and its outcome."""
    records: list[MetadataRecord] = []
    outcomes: list[TopicOutcome] = []
    counts = Counter(topic.name for topic in request.topics)
    collisions = _CollisionKeys(image)
    asked = sum(len(topic.assignments) or max(topic.num_partitions, 1) for topic in request.topics)
    for topic in {topic.name: topic for topic in request.topics}.values():
        yield
        try:
            if asked > PARTITIONS_PER_REQUEST_MAX:
                msg = "Excessively large number of partitions per request."
                raise PolicyViolationError(msg)
            if counts[topic.name] > 1:
                msg = "Duplicate topic name."
                raise InvalidRequestError(msg)
            _check_new_name(image, topic.name, collisions)
            created, outcome = _create_topic(image, topic, config, TopicId(new_uuid()))
        except KafkaError as error:
            outcomes.append(TopicOutcome(topic.name, error.error_code, error.message))
            continue
        collisions.add(topic.name)
        outcomes.append(outcome)
        records += created
    return ([] if request.validate_only else records), tuple(outcomes)


def delete_topics(
    image: MetadataImage, request: DeleteTopics, config: BrokerConfig
) -> Steps[tuple[list[MetadataRecord], tuple[TopicOutcome, ...]]]:
    """Decide on each topic of ``request``: by name, or by id if it has no name.

    A topic that is named both ways is refused once, under its name and id.
    """
    records: list[MetadataRecord] = []
    outcomes: list[TopicOutcome] = []
    counts = Counter(request.topics)
    by_id = {topic_id for name, topic_id in request.topics if name is None}
    by_name = {name for name, _ in request.topics if name is not None}
    for name, topic_id in dict.fromkeys(request.topics):
        yield
        try:
            _check_enabled(config)
            _check_named_once(name, topic_id, counts[name, topic_id])
            topic = _topic_to_delete(image, name, topic_id)
        except KafkaError as error:
            outcomes.append(TopicOutcome(name or "", error.error_code, error.message, topic_id))
            continue
        if topic.topic_id in by_id and topic.name in by_name:
            if name is not None:
                msg = "The provided topic name maps to an ID that was already supplied."
                outcomes.append(TopicOutcome(topic.name, InvalidRequestError.code, msg, topic.topic_id))
            continue
        records.append(RemoveTopicRecord(topic.topic_id))
        outcomes.append(TopicOutcome(topic.name, topic_id=topic.topic_id))
    return records, tuple(outcomes)


def create_partitions(
    image: MetadataImage, request: CreatePartitions
) -> Steps[tuple[list[MetadataRecord], tuple[TopicOutcome, ...]]]:
    """Decide on each topic of ``request`` that shall grow."""
    records: list[MetadataRecord] = []
    outcomes: list[TopicOutcome] = []
    counts = Counter(topic.topic for topic in request.topics)
    for wanted in {topic.topic: topic for topic in request.topics}.values():
        yield
        try:
            if counts[wanted.topic] > 1:
                msg = "Duplicate topic name."
                raise InvalidRequestError(msg)
            topic = image.topics.get(TopicName(wanted.topic))
            if topic is None:
                raise UnknownTopicOrPartitionError
            records += _grow(image, topic, wanted)
        except KafkaError as error:
            outcomes.append(TopicOutcome(wanted.topic, error.error_code, error.message or None))
            continue
        outcomes.append(TopicOutcome(wanted.topic, topic_id=topic.topic_id, num_partitions=wanted.total_count))
    return ([] if request.validate_only else records), tuple(outcomes)


def check_replicas(image: MetadataImage, replicas: Sequence[int], replication_factor: int | None = None) -> None:
    """Raise InvalidReplicaAssignmentError if a partition cannot be held by exactly these brokers."""
    assignment = "The manual partition assignment includes"
    if not replicas:
        msg = f"{assignment} an empty replica list."
        raise InvalidReplicaAssignmentError(msg)
    for replica in sorted(replicas):
        if BrokerId(replica) not in image.brokers:
            msg = f"{assignment} broker {replica}, but no such broker is registered."
            raise InvalidReplicaAssignmentError(msg)
        if replicas.count(replica) > 1:
            msg = f"{assignment} the broker {replica} more than once."
            raise InvalidReplicaAssignmentError(msg)
    if replication_factor is not None and len(replicas) != replication_factor:
        msg = (
            f"{assignment} a partition with {len(replicas)} replica(s), but this is not consistent with previous "
            f"partitions, which have {replication_factor} replica(s)."
        )
        raise InvalidReplicaAssignmentError(msg)


class _CollisionKeys:
    """Names in which ``.`` and ``_`` are one: two such topics would share a metric's name (KAFKA-2337)."""

    def __init__(self, image: MetadataImage) -> None:
        self._image = image
        self._names: dict[str, str] | None = None

    def existing(self, name: str) -> str | None:
        """Return the topic that ``name`` collides with, or None."""
        if "." not in name and "_" not in name:
            return None
        if self._names is None:
            self._names = {
                topic.replace(".", "_"): topic for topic in self._image.topics if "." in topic or "_" in topic
            }
        return self._names.get(name.replace(".", "_"))

    def add(self, name: str) -> None:
        """Take a topic that is being created."""
        if self._names is not None:
            self._names[name.replace(".", "_")] = name


def _check_new_name(image: MetadataImage, name: str, collisions: _CollisionKeys) -> None:
    check_topic_name(name)
    if name == CLUSTER_METADATA:
        msg = f"Creation of internal topic {name} is prohibited."
        raise InvalidRequestError(msg)
    if name in image.topics:
        msg = f"Topic '{name}' already exists."
        raise TopicAlreadyExistsError(msg)
    other = collisions.existing(name)
    if other is not None:
        msg = f"Topic '{name}' collides with existing topic: {other}"
        raise InvalidTopicError(msg)


def _create_topic(
    image: MetadataImage, topic: NewTopic, config: BrokerConfig, topic_id: TopicId
) -> tuple[list[MetadataRecord], TopicOutcome]:
    configs = _checked_configs(topic, config)
    if topic.assignments:
        placement = _manual_placement(image, topic)
    else:
        count = config.num_partitions if topic.num_partitions == -1 else topic.num_partitions
        factor = config.default_replication_factor if topic.replication_factor == -1 else topic.replication_factor
        _check_counts(image, count, factor)
        placement = _place(image, count, factor, first=len(image.topics))
    name = TopicName(topic.name)
    records: list[MetadataRecord] = [TopicRecord(name, topic_id)]
    records += [_new_partition(topic_id, index, replicas) for index, replicas in enumerate(placement)]
    resource = ConfigResource(ResourceType.TOPIC, name)
    records += [ConfigRecord(resource, key, value) for key, value in configs.items()]
    outcome = TopicOutcome(
        name,
        topic_id=topic_id,
        num_partitions=len(placement),
        replication_factor=len(placement[0]),
        configs=configs,
    )
    return records, outcome


def _checked_configs(topic: NewTopic, config: BrokerConfig) -> Mapping[str, str]:
    missing = [key for key, value in topic.configs if value is None]
    if missing:
        msg = f"Null value not supported for topic configs: {','.join(missing)}"
        raise InvalidConfigError(msg)
    configs = {key: value for key, value in topic.configs if value is not None}
    if configs:
        config.topic_defaults.check_overrides(configs)
    return configs


def _check_counts(image: MetadataImage, count: int, factor: int) -> None:
    if factor <= 0:
        msg = "Replication factor must be larger than 0, or -1 to use the default value."
        raise InvalidReplicationFactorError(msg)
    if count <= 0:
        msg = "Number of partitions was set to an invalid non-positive value."
        raise InvalidPartitionsError(msg)
    if factor > len(image.brokers):
        msg = (
            f"Unable to replicate the partition {factor} time(s): The target replication factor of {factor} cannot be "
            f"reached because only {len(image.brokers)} broker(s) are registered or some brokers have all their log "
            "directories cordoned."
        )
        raise InvalidReplicationFactorError(msg)


def _manual_placement(image: MetadataImage, topic: NewTopic) -> list[tuple[int, ...]]:
    given = "A manual partition assignment was specified, but"
    if topic.replication_factor != -1:
        msg = f"{given} replication factor was not set to -1."
        raise InvalidRequestError(msg)
    if topic.num_partitions != -1:
        msg = f"{given} numPartitions was not set to -1."
        raise InvalidRequestError(msg)
    placement: dict[int, ManualAssignment] = {}
    factor: int | None = None
    for assignment in topic.assignments:
        if assignment.partition in placement:
            msg = f"Found multiple manual partition assignments for partition {assignment.partition}"
            raise InvalidReplicaAssignmentError(msg)
        check_replicas(image, assignment.replicas, factor)
        factor = len(assignment.replicas)
        placement[assignment.partition] = assignment
    if set(placement) != set(range(len(placement))):
        msg = "partitions should be a consecutive 0-based integer sequence"
        raise InvalidReplicaAssignmentError(msg)
    return [placement[index].replicas for index in range(len(placement))]


def _place(image: MetadataImage, count: int, factor: int, first: int) -> list[tuple[int, ...]]:
    """Return replicas for ``count`` partitions: leaders in turn over the brokers, followers on those after them."""
    brokers = sorted(image.brokers)
    return [
        tuple(brokers[(first + index + replica) % len(brokers)] for replica in range(factor)) for index in range(count)
    ]


def _new_partition(topic_id: TopicId, index: int, replicas: Sequence[int]) -> PartitionRecord:
    holders = tuple(BrokerId(replica) for replica in replicas)
    return PartitionRecord(PartitionIndex(index), topic_id, holders, holders, holders[0], LeaderEpoch(0), 0)


def _check_enabled(config: BrokerConfig) -> None:
    if not config.delete_topic_enable:
        raise KafkaError(code=ErrorCode.TOPIC_DELETION_DISABLED)


def _check_named_once(name: str | None, topic_id: TopicId, count: int) -> None:
    if name is not None and topic_id != NO_TOPIC_ID:
        msg = "You may not specify both topic name and topic id."
        raise InvalidRequestError(msg)
    if name is None and topic_id == NO_TOPIC_ID:
        msg = "Neither topic name nor id were specified."
        raise InvalidRequestError(msg)
    if count > 1:
        msg = "Duplicate topic id." if name is None else "Duplicate topic name."
        raise InvalidRequestError(msg)


def _topic_to_delete(image: MetadataImage, name: str | None, topic_id: TopicId) -> TopicImage:
    topic = image.topic_by_id(topic_id) if name is None else image.topics.get(TopicName(name))
    if topic is not None:
        return topic
    if name is None:
        msg = "This server does not host this topic ID."
        raise UnknownTopicIdError(msg)
    msg = "This server does not host this topic-partition."
    raise UnknownTopicOrPartitionError(msg)


def _grow(image: MetadataImage, topic: TopicImage, wanted: MorePartitions) -> list[MetadataRecord]:
    current = len(topic.partitions)
    if wanted.total_count == current:
        msg = f"Topic already has {current} partition(s)."
        raise InvalidPartitionsError(msg)
    if wanted.total_count < current:
        msg = (
            f"The topic {topic.name} currently has {current} partition(s); "
            f"{wanted.total_count} would not be an increase."
        )
        raise InvalidPartitionsError(msg)
    added = wanted.total_count - current
    if added > PARTITIONS_PER_REQUEST_MAX:
        msg = "Excessively large number of partitions per request."
        raise PolicyViolationError(msg)
    factor = topic.replication_factor
    if wanted.assignments is None:
        _check_counts(image, added, factor)
        placement = _place(image, added, factor, first=current)
    else:
        if len(wanted.assignments) != added:
            msg = (
                f"Attempted to add {added} additional partition(s), but only {len(wanted.assignments)} assignment(s) "
                "were specified."
            )
            raise InvalidReplicaAssignmentError(msg)
        for replicas in wanted.assignments:
            check_replicas(image, replicas, factor)
        placement = list(wanted.assignments)
    return [_new_partition(topic.topic_id, current + index, replicas) for index, replicas in enumerate(placement)]
