"""What the controller is asked, and what it answers. No wire format: ``klamm.server`` translates.

Outcomes of requests with many items come item by item, in the order of the request: one topic that cannot be created
does not keep the others from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import NamedTuple
from uuid import UUID

from klamm.core.metadata_records import Endpoint
from klamm.model.configs import NO_CONFIGS
from klamm.model.errors import ErrorCode
from klamm.model.ids import NO_TOPIC_ID, BrokerId, LeaderEpoch, PartitionIndex, TopicId, TopicName


class ManualAssignment(NamedTuple):
    """Which brokers shall hold a partition, the preferred leader first."""

    partition: int
    replicas: tuple[int, ...]


class NewTopic(NamedTuple):
    """A topic to create; -1 for the broker's default."""

    name: str
    num_partitions: int = -1
    replication_factor: int = -1
    assignments: tuple[ManualAssignment, ...] = ()
    configs: tuple[tuple[str, str | None], ...] = ()


class CreateTopics(NamedTuple):
    """Create topics. Answered with one :class:`TopicOutcome` each."""

    topics: tuple[NewTopic, ...]
    validate_only: bool = False


class TopicOutcome(NamedTuple):
    """What became of one topic. ``configs`` are its overrides."""

    name: str
    error: ErrorCode = ErrorCode.NONE
    message: str | None = None
    topic_id: TopicId = NO_TOPIC_ID
    num_partitions: int = -1
    replication_factor: int = -1
    configs: Mapping[str, str] = NO_CONFIGS


class DeleteTopics(NamedTuple):
    """Delete topics, each named by its name or, if that is None, by its id. Answered with :class:`TopicOutcome`."""

    topics: tuple[tuple[str | None, TopicId], ...]


class MorePartitions(NamedTuple):
    """A topic to grow to ``total_count`` partitions; ``assignments`` are those of the new ones."""

    topic: str
    total_count: int
    assignments: tuple[tuple[int, ...], ...] | None = None


class CreatePartitions(NamedTuple):
    """Add partitions to topics. Answered with one :class:`TopicOutcome` each."""

    topics: tuple[MorePartitions, ...]
    validate_only: bool = False


class ConfigOperationType(IntEnum):
    """What to do with a config, with its code on the wire (KIP-339)."""

    SET = 0
    DELETE = 1
    APPEND = 2
    SUBTRACT = 3


class ConfigOperation(NamedTuple):
    """One config to alter."""

    name: str
    operation: int
    value: str | None


class ResourceAlteration(NamedTuple):
    """The configs of one resource to alter, all or none. The type is the peer's number, which may be none of ours."""

    resource_type: int
    resource_name: str
    operations: tuple[ConfigOperation, ...]


class AlterConfigs(NamedTuple):
    """Alter configs. Answered with one :class:`ResourceOutcome` each.

    ``replace``: what the operations do not name goes (the older AlterConfigs API).
    """

    resources: tuple[ResourceAlteration, ...]
    validate_only: bool = False
    replace: bool = False


class ResourceOutcome(NamedTuple):
    """What became of the configs of one resource."""

    resource_type: int
    resource_name: str
    error: ErrorCode = ErrorCode.NONE
    message: str | None = None


class RegisterBroker(NamedTuple):
    """A broker has started.

    ``clean_shutdown``: it lost nothing when it stopped; otherwise the leader epochs of what it leads go up, so that a
    consumer which read what is gone finds out (KIP-320). Answered with :class:`BrokerRegistered`.
    """

    broker_id: BrokerId
    incarnation_id: UUID
    endpoints: tuple[Endpoint, ...]
    rack: str | None = None
    clean_shutdown: bool = True


class BrokerRegistered(NamedTuple):
    """The broker's epoch: larger than that of any registration before."""

    broker_epoch: int


class AllocateProducerIds(NamedTuple):
    """A broker needs producer ids to give away. Answered with :class:`ProducerIdBlock`."""

    broker_id: BrokerId


class ProducerIdBlock(NamedTuple):
    """Producer ids from ``first`` on, ``size`` of them, that nobody else gets."""

    first: int
    size: int


class AlterPartition(NamedTuple):
    """A leader wants another ISR (KIP-497). Answered with the :class:`PartitionOutcome`."""

    broker_id: BrokerId
    topic_id: TopicId
    partition: PartitionIndex
    leader_epoch: LeaderEpoch
    partition_epoch: int
    isr: tuple[BrokerId, ...]


class PartitionOutcome(NamedTuple):
    """What became of one partition."""

    topic: str
    partition: int
    error: ErrorCode = ErrorCode.NONE
    message: str | None = None


class ElectLeaders(NamedTuple):
    """Elect leaders: preferred ones, or unclean ones. ``partitions`` None: all. Answered with PartitionOutcomes."""

    partitions: tuple[tuple[TopicName, PartitionIndex], ...] | None
    unclean: bool = False


class Reassignment(NamedTuple):
    """A partition to move to ``replicas``; None cancels a move under way."""

    topic: TopicName
    partition: PartitionIndex
    replicas: tuple[int, ...] | None


class ReassignPartitions(NamedTuple):
    """Move partitions. Answered with PartitionOutcomes."""

    partitions: tuple[Reassignment, ...]


ControllerRequest = (
    CreateTopics
    | DeleteTopics
    | CreatePartitions
    | AlterConfigs
    | RegisterBroker
    | AllocateProducerIds
    | AlterPartition
    | ElectLeaders
    | ReassignPartitions
)
ControllerOutcome = (
    tuple[TopicOutcome, ...]
    | tuple[ResourceOutcome, ...]
    | tuple[PartitionOutcome, ...]
    | BrokerRegistered
    | ProducerIdBlock
)
