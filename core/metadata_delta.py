"""What changed between two metadata images: what a broker acts on when records are committed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from klamm.core.effective_configs import EffectiveConfigs
from klamm.core.metadata_image import EMPTY_IMAGE, MetadataImage, PartitionImage, TopicImage
from klamm.core.metadata_records import (
    ConfigRecord,
    MetadataRecord,
    PartitionChangeRecord,
    PartitionRecord,
    RegisterBrokerRecord,
    RemoveTopicRecord,
    TopicRecord,
    UnregisterBrokerRecord,
)
from klamm.core.steps import Steps, to_end
from klamm.model.configs import ConfigResource, ResourceType
from klamm.model.configs_broker import BrokerConfig
from klamm.model.configs_topic import TopicSettings
from klamm.model.ids import TopicId, TopicName


class MetadataDelta(NamedTuple):
    """A committed change of the metadata.

    Attributes:
        image: The metadata after it.
        topics_created: In the order of creation.
        topics_deleted: As they were; a topic deleted and created anew under its name is in both, with two ids.
        partitions_created: Those of new topics, and those added to old ones.
        partitions_changed: Whose leader, replicas or ISR changed.
        topic_settings: The settings of every topic with new partitions, and of every other one whose settings changed.
        broker_config: This broker's config if it changed, else None.
        configs_changed: The resources of which any config was set or taken away.
        brokers_changed: Whether a broker was registered or went.
    """

    image: MetadataImage
    topics_created: tuple[TopicImage, ...] = ()
    topics_deleted: tuple[TopicImage, ...] = ()
    partitions_created: tuple[tuple[TopicImage, PartitionImage], ...] = ()
    partitions_changed: tuple[tuple[TopicImage, PartitionImage], ...] = ()
    topic_settings: Mapping[TopicName, TopicSettings] = {}
    broker_config: BrokerConfig | None = None
    configs_changed: frozenset[ConfigResource] = frozenset()
    brokers_changed: bool = False

    def touches(self, name: TopicName) -> bool:
        """Whether that topic was made or deleted, or its partitions are other ones, or led or held by others."""
        topics = (*self.topics_created, *self.topics_deleted)
        partitions = (*self.partitions_created, *self.partitions_changed)
        return any(topic.name == name for topic in topics) or any(topic.name == name for topic, _ in partitions)


def delta_between(
    before: MetadataImage, after: MetadataImage, records: Iterable[MetadataRecord], configs: EffectiveConfigs
) -> Steps[MetadataDelta]:
    """Return what ``records``, which lead from ``before`` to ``after``, change. Brings ``configs`` up to ``after``."""
    topic_ids: dict[TopicId, None] = {}  # a dict keeps the order of creation
    resources: set[ConfigResource] = set()
    brokers_changed = False
    for record in records:
        match record:
            case PartitionRecord() | TopicRecord() | PartitionChangeRecord() | RemoveTopicRecord():
                topic_ids[record.topic_id] = None
            case ConfigRecord():
                resources.add(record.resource)
            case RegisterBrokerRecord() | UnregisterBrokerRecord():
                brokers_changed = True
            case _:
                pass
    pairs = [(before.topic_by_id(topic_id), after.topic_by_id(topic_id)) for topic_id in topic_ids]
    created = tuple(new for old, new in pairs if old is None and new is not None)
    partitions_created = _partitions(pairs, created=True)
    old_broker = configs.broker
    old_settings = yield from _settings(configs, before, _settings_at_stake(before, after, resources))
    broker_changed = configs.update(after)
    new_settings = yield from _settings(configs, after, old_settings)
    created_settings = yield from _settings(configs, after, {topic.name: None for topic, _ in partitions_created})
    return MetadataDelta(
        image=after,
        topics_created=created,
        topics_deleted=tuple(old for old, new in pairs if old is not None and new is None),
        partitions_created=partitions_created,
        partitions_changed=_partitions(pairs, created=False),
        topic_settings={**_changed(old_settings, new_settings), **created_settings},
        broker_config=configs.broker if broker_changed and configs.broker != old_broker else None,
        configs_changed=frozenset(resources),
        brokers_changed=brokers_changed,
    )


def delta_from_nothing(image: MetadataImage, configs: EffectiveConfigs) -> MetadataDelta:
    """Return what a broker that starts with ``image`` has to do: everything in it is new."""
    return to_end(delta_between(EMPTY_IMAGE, image, image.to_records(), configs))


def _settings(
    configs: EffectiveConfigs, image: MetadataImage, names: Iterable[TopicName]
) -> Steps[dict[TopicName, TopicSettings]]:
    settings: dict[TopicName, TopicSettings] = {}
    for name in names:
        settings[name] = configs.topic(image, name)
        yield
    return settings


def _settings_at_stake(
    before: MetadataImage, after: MetadataImage, resources: Iterable[ConfigResource]
) -> Iterable[TopicName]:
    if any(resource.type is ResourceType.BROKER for resource in resources):
        return [name for name in before.topics if name in after.topics]
    return [
        TopicName(resource.name)
        for resource in resources
        if resource.type is ResourceType.TOPIC and resource.name in before.topics and resource.name in after.topics
    ]


def _changed(
    before: Mapping[TopicName, TopicSettings], after: Mapping[TopicName, TopicSettings]
) -> Mapping[TopicName, TopicSettings]:
    """Return the settings that are others now. Most topics share theirs: each two are compared once."""
    differ: dict[tuple[int, int], bool] = {}
    changed: dict[TopicName, TopicSettings] = {}
    for name, new in after.items():
        pair = id(before[name]), id(new)
        if pair not in differ:
            differ[pair] = before[name] != new
        if differ[pair]:
            changed[name] = new
    return changed


def _partitions(
    pairs: list[tuple[TopicImage | None, TopicImage | None]], *, created: bool
) -> tuple[tuple[TopicImage, PartitionImage], ...]:
    found: list[tuple[TopicImage, PartitionImage]] = []
    for old, new in pairs:
        if new is None:
            continue
        known = () if old is None else old.partitions
        if created:
            found += [(new, partition) for partition in new.partitions[len(known) :]]
        else:
            found += [(new, after) for was, after in zip(known, new.partitions, strict=False) if after != was]
    return tuple(found)
