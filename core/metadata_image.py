"""The cluster as the metadata log says: an immutable picture, and what changed between two of them.

:meth:`MetadataImage.replay` is the only way from records to state, live, at start-up and from a snapshot alike. It
returns a new image and shares what did not change with the old one, so a reader may keep an image as long as it likes
and the controller may drop one whose records could not be written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple
from uuid import UUID

from klamm.core.metadata_records import (
    NO_CHANGE,
    ConfigRecord,
    Endpoint,
    FeatureLevelRecord,
    MetadataRecord,
    PartitionChangeRecord,
    PartitionRecord,
    ProducerIdsRecord,
    RegisterBrokerRecord,
    RemoveTopicRecord,
    SnapshotFooterRecord,
    TopicRecord,
    UnregisterBrokerRecord,
)
from klamm.core.steps import Steps, to_end
from klamm.model.configs import NO_CONFIGS, ConfigResource, ResourceType
from klamm.model.ids import BrokerId, LeaderEpoch, PartitionIndex, TopicId, TopicName


class PartitionImage(NamedTuple):
    """A partition: who holds it, who leads it, and since which epochs."""

    partition: PartitionIndex
    replicas: tuple[BrokerId, ...]
    isr: tuple[BrokerId, ...]
    leader: BrokerId
    leader_epoch: LeaderEpoch
    partition_epoch: int


class TopicImage(NamedTuple):
    """A topic; ``partitions[i]`` is partition ``i``."""

    name: TopicName
    topic_id: TopicId
    partitions: tuple[PartitionImage, ...] = ()

    @property
    def replication_factor(self) -> int:
        """Replicas of the first partition, as Kafka reports it."""
        return len(self.partitions[0].replicas) if self.partitions else 0


class BrokerImage(NamedTuple):
    """A registered broker."""

    broker_id: BrokerId
    incarnation_id: UUID
    broker_epoch: int
    endpoints: tuple[Endpoint, ...]
    rack: str | None


class MetadataImage(NamedTuple):
    """Everything the metadata log has said so far. Never changed in place.

    Invariant: ``topics`` and ``topic_ids`` name the same topics. ``end_offset`` is the offset in the metadata log
    after the last record replayed.
    """

    topics: Mapping[TopicName, TopicImage] = {}
    topic_ids: Mapping[TopicId, TopicName] = {}
    configs: Mapping[ConfigResource, Mapping[str, str]] = {}
    brokers: Mapping[BrokerId, BrokerImage] = {}
    features: Mapping[str, int] = {}
    next_producer_id: int = 0
    end_offset: int = 0

    def topic_by_id(self, topic_id: TopicId) -> TopicImage | None:
        """Return the topic with this id, or None."""
        name = self.topic_ids.get(topic_id)
        return None if name is None else self.topics[name]

    def partition(self, topic: TopicName, partition: PartitionIndex) -> PartitionImage | None:
        """Return a partition, or None if the topic or the partition is not there."""
        found = self.topics.get(topic)
        if found is None or not 0 <= partition < len(found.partitions):
            return None
        return found.partitions[partition]

    def config(self, resource: ConfigResource) -> Mapping[str, str]:
        """Return what is set for a resource itself; nothing of defaults."""
        return self.configs.get(resource, NO_CONFIGS)

    def topic_config(self, topic: TopicName) -> Mapping[str, str]:
        """Return what is set for a topic itself."""
        return self.configs.get(ConfigResource(ResourceType.TOPIC, topic), NO_CONFIGS)

    def replay(self, records: Iterable[MetadataRecord]) -> MetadataImage:
        """Return the image after ``records``.

        Raises:
            AssertionError: A record contradicts the image. The log then holds what no controller decides.
        """
        return to_end(self.replay_in_steps(records))

    def replay_in_steps(self, records: Iterable[MetadataRecord]) -> Steps[MetadataImage]:
        """Return what :meth:`replay` returns, with a step for each record."""
        changing = _Changing(self)
        count = 0
        for record in records:
            changing.replay(record)
            count += 1
            yield
        return changing.image(self.end_offset + count)

    def to_records(self) -> Iterator[MetadataRecord]:
        """Yield records whose replay on an empty image gives this one, the footer last."""
        count = 0
        for record in self._records():
            count += 1
            yield record
        yield SnapshotFooterRecord(count)

    def _records(self) -> Iterator[MetadataRecord]:
        for name, level in self.features.items():
            yield FeatureLevelRecord(name, level)
        for broker in self.brokers.values():
            yield RegisterBrokerRecord(*broker)
        for topic in self.topics.values():
            yield TopicRecord(topic.name, topic.topic_id)
            for one in topic.partitions:
                yield PartitionRecord(
                    one.partition,
                    topic.topic_id,
                    one.replicas,
                    one.isr,
                    one.leader,
                    one.leader_epoch,
                    one.partition_epoch,
                )
        for resource, config in self.configs.items():
            for name, value in config.items():
                yield ConfigRecord(resource, name, value)
        if self.next_producer_id:
            yield ProducerIdsRecord(BrokerId(-1), -1, self.next_producer_id)


EMPTY_IMAGE: Final = MetadataImage()


class _Changing:
    """Copies of an image's tables, each made when it is first written to."""

    def __init__(self, image: MetadataImage) -> None:
        self._before = image
        self._topics: dict[TopicName, TopicImage] | None = None
        self._topic_ids: dict[TopicId, TopicName] | None = None
        self._configs: dict[ConfigResource, Mapping[str, str]] | None = None
        self._brokers: dict[BrokerId, BrokerImage] | None = None
        self._features: dict[str, int] | None = None
        self._next_producer_id = image.next_producer_id
        # Partitions of topics that grow: a tuple each would make 10,000 partitions cost 10,000 squared.
        self._partitions: dict[TopicId, list[PartitionImage]] = {}

    def image(self, end_offset: int) -> MetadataImage:
        before = self._before
        topics = before.topics if self._topics is None else self._topics
        if self._partitions:
            self._topics = dict(topics) if self._topics is None else self._topics
            ids = before.topic_ids if self._topic_ids is None else self._topic_ids
            for topic_id, partitions in self._partitions.items():
                name = ids[topic_id]
                self._topics[name] = TopicImage(name, topic_id, tuple(partitions))
            topics = self._topics
        return MetadataImage(
            topics,
            before.topic_ids if self._topic_ids is None else self._topic_ids,
            before.configs if self._configs is None else self._configs,
            before.brokers if self._brokers is None else self._brokers,
            before.features if self._features is None else self._features,
            self._next_producer_id,
            end_offset,
        )

    def replay(self, record: MetadataRecord) -> None:  # noqa: C901 - one case for each kind of record
        match record:
            case PartitionRecord():
                self._add_partition(record)
            case TopicRecord():
                self._add_topic(record)
            case ConfigRecord():
                self._set_config(record)
            case PartitionChangeRecord():
                self._change_partition(record)
            case RemoveTopicRecord(topic_id):
                self._remove_topic(topic_id)
            case RegisterBrokerRecord():
                self._broker_table()[record.broker_id] = BrokerImage(*record)
            case UnregisterBrokerRecord(broker_id):
                self._broker_table().pop(broker_id, None)
            case FeatureLevelRecord(name, level):
                self._features = {**(self._before.features if self._features is None else self._features), name: level}
            case ProducerIdsRecord():
                self._next_producer_id = record.next_producer_id
            case SnapshotFooterRecord():
                pass

    def _topic_tables(self) -> tuple[dict[TopicName, TopicImage], dict[TopicId, TopicName]]:
        if self._topics is None:
            self._topics = dict(self._before.topics)
        if self._topic_ids is None:
            self._topic_ids = dict(self._before.topic_ids)
        return self._topics, self._topic_ids

    def _broker_table(self) -> dict[BrokerId, BrokerImage]:
        if self._brokers is None:
            self._brokers = dict(self._before.brokers)
        return self._brokers

    def _config_table(self) -> dict[ConfigResource, Mapping[str, str]]:
        if self._configs is None:
            self._configs = dict(self._before.configs)
        return self._configs

    def _add_topic(self, record: TopicRecord) -> None:
        topics, ids = self._topic_tables()
        assert record.name not in topics, f"topic {record.name} is there already"
        topics[record.name] = TopicImage(record.name, record.topic_id)
        ids[record.topic_id] = record.name

    def _remove_topic(self, topic_id: TopicId) -> None:
        topics, ids = self._topic_tables()
        name = ids.pop(topic_id, None)
        assert name is not None, f"topic id {topic_id} is not there"
        del topics[name]
        self._partitions.pop(topic_id, None)
        self._config_table().pop(ConfigResource(ResourceType.TOPIC, name), None)

    def _partition_list(self, topic_id: TopicId) -> list[PartitionImage]:
        found = self._partitions.get(topic_id)
        if found is None:
            topics = self._before.topics if self._topics is None else self._topics
            ids = self._before.topic_ids if self._topic_ids is None else self._topic_ids
            name = ids.get(topic_id)
            assert name is not None, f"topic id {topic_id} is not there"
            found = self._partitions[topic_id] = list(topics[name].partitions)
        return found

    def _add_partition(self, record: PartitionRecord) -> None:
        partitions = self._partition_list(record.topic_id)
        assert record.partition == len(partitions), f"partition={record.partition} after {len(partitions)}"
        partitions.append(
            PartitionImage(
                record.partition,
                record.replicas,
                record.isr,
                record.leader,
                record.leader_epoch,
                record.partition_epoch,
            )
        )

    def _change_partition(self, record: PartitionChangeRecord) -> None:
        partitions = self._partition_list(record.topic_id)
        before = partitions[record.partition]
        elected = record.leader != NO_CHANGE
        partitions[record.partition] = before._replace(
            isr=before.isr if record.isr is None else record.isr,
            leader=record.leader if elected else before.leader,
            leader_epoch=LeaderEpoch(before.leader_epoch + elected),
            partition_epoch=before.partition_epoch + 1,
        )

    def _set_config(self, record: ConfigRecord) -> None:
        configs = self._config_table()
        config = dict(configs.get(record.resource, NO_CONFIGS))
        if record.value is None:
            config.pop(record.name, None)
        else:
            config[record.name] = record.value
        if config:
            configs[record.resource] = config
        else:
            configs.pop(record.resource, None)
