"""Deciding, committing, abandoning; and the image that replay gives."""

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from klamm.core.controller_requests import (
    AllocateProducerIds,
    AlterConfigs,
    AlterPartition,
    ConfigOperation,
    CreatePartitions,
    CreateTopics,
    DeleteTopics,
    MorePartitions,
    NewTopic,
    ResourceAlteration,
    TopicOutcome,
)
from klamm.core.metadata_image import EMPTY_IMAGE
from klamm.core.metadata_records import (
    ConfigRecord,
    Endpoint,
    FeatureLevelRecord,
    MetadataFormatError,
    MetadataRecord,
    PartitionChangeRecord,
    PartitionRecord,
    ProducerIdsRecord,
    RegisterBrokerRecord,
    RemoveTopicRecord,
    SnapshotFooterRecord,
    TopicRecord,
    UnregisterBrokerRecord,
    decode_record,
    encode_record,
)
from klamm.model.configs import ConfigResource, ResourceType
from klamm.model.errors import ErrorCode, KafkaError
from klamm.model.ids import NO_TOPIC_ID, BrokerId, LeaderEpoch, PartitionIndex, TopicId, TopicName
from tests.core.controllers import apply, controller, register, with_topic

INTEGERS = st.integers(-(2**63), 2**63 - 1)
INTS = st.lists(INTEGERS, max_size=4).map(tuple)
RECORDS = st.one_of(
    st.builds(
        RegisterBrokerRecord,
        INTEGERS,
        st.uuids(),
        INTEGERS,
        st.lists(st.builds(Endpoint, st.text(), st.text(), INTEGERS, st.text()), max_size=3).map(tuple),
        st.none() | st.text(),
    ),
    st.builds(UnregisterBrokerRecord, INTEGERS, INTEGERS),
    st.builds(TopicRecord, st.text(), st.uuids()),
    st.builds(PartitionRecord, INTEGERS, st.uuids(), INTS, INTS, INTEGERS, INTEGERS, INTEGERS),
    st.builds(
        ConfigRecord,
        st.builds(ConfigResource, st.sampled_from(ResourceType), st.text()),
        st.text(),
        st.none() | st.text(),
    ),
    st.builds(PartitionChangeRecord, INTEGERS, st.uuids(), st.none() | INTS, INTEGERS),
    st.builds(RemoveTopicRecord, st.uuids()),
    st.builds(FeatureLevelRecord, st.text(), INTEGERS),
    st.builds(ProducerIdsRecord, INTEGERS, INTEGERS, INTEGERS),
    st.builds(SnapshotFooterRecord, INTEGERS),
)


@given(RECORDS)
def test_a_record_is_what_its_bytes_say(record: MetadataRecord) -> None:
    assert decode_record(encode_record(record)) == record


@given(RECORDS, st.data())
def test_a_record_cut_short_is_refused(record: MetadataRecord, data: st.DataObject) -> None:
    encoded = encode_record(record)
    cut = data.draw(st.integers(0, len(encoded) - 1))
    with pytest.raises(MetadataFormatError):
        decode_record(encoded[:cut])


@given(st.binary(max_size=40))
def test_any_bytes_are_a_record_or_refused(value: bytes) -> None:
    try:
        decode_record(value)
    except MetadataFormatError:
        return


def test_a_record_of_a_newer_version_is_refused() -> None:
    with pytest.raises(MetadataFormatError, match="version=1 is not known here"):
        decode_record(bytes((2, 4, 2)))


def test_a_decision_is_visible_to_the_next_and_to_nobody_else_until_it_is_committed() -> None:
    one = controller()
    one.decide(CreateTopics((NewTopic("t"),)), 1)
    outcomes = one.decide(CreateTopics((NewTopic("t"),)), 3).outcome
    assert outcomes == (TopicOutcome("t", ErrorCode.TOPIC_ALREADY_EXISTS, "Topic 't' already exists."),)
    assert not one.committed.topics
    delta = one.commit(1)
    assert [topic.name for topic in delta.topics_created] == ["t"]
    assert one.committed is one.image


def test_an_abandoned_decision_leaves_no_trace() -> None:
    one = controller()
    one.decide(CreateTopics((NewTopic("kept"),)), 1)
    one.decide(CreateTopics((NewTopic("lost"),)), 3)
    one.abandon(1)
    assert list(one.image.topics) == ["kept"]
    one.commit(1)
    assert list(one.committed.topics) == ["kept"]


def test_committing_twice_what_was_decided_twice_gives_one_delta() -> None:
    one = controller()
    one.decide(CreateTopics((NewTopic("a"), NewTopic("b"))), 1)
    one.decide(DeleteTopics((("a", NO_TOPIC_ID),)), 5)
    delta = one.commit(2)
    assert [topic.name for topic in delta.topics_created] == ["b"]
    assert not delta.topics_deleted


def test_a_topic_deleted_and_created_anew_is_in_both() -> None:
    one = with_topic()
    first = one.image.topics[TopicName("t")].topic_id
    one.decide(DeleteTopics((("t", NO_TOPIC_ID),)), 10)
    one.decide(CreateTopics((NewTopic("t"),)), 11)
    delta = one.commit(2)
    assert [topic.topic_id for topic in delta.topics_deleted] == [first]
    assert (delta.touches(TopicName("t")), delta.touches(TopicName("u"))) == (True, False)
    assert [topic.topic_id for topic in delta.topics_created] != [first]
    assert TopicName("t") in delta.topic_settings


def test_new_partitions_of_an_old_topic_come_with_its_settings() -> None:
    one = with_topic(partitions=1)
    _, delta = apply(one, CreatePartitions((MorePartitions("t", 3),)))
    assert delta is not None
    assert [partition.partition for _, partition in delta.partitions_created] == [1, 2]
    assert TopicName("t") in delta.topic_settings
    assert not delta.topics_created


def test_an_image_that_was_taken_never_changes() -> None:
    one = with_topic()
    taken = one.committed
    before = (dict(taken.topics), dict(taken.configs), taken.end_offset)
    apply(one, DeleteTopics((("t", NO_TOPIC_ID),)))
    assert (dict(taken.topics), dict(taken.configs), taken.end_offset) == before


def alteration(resource_type: ResourceType, name: str, key: str, value: str | None) -> AlterConfigs:
    operation = ConfigOperation(key, 0 if value is not None else 1, value)
    return AlterConfigs((ResourceAlteration(resource_type, name, (operation,)),))


def test_a_topic_config_changes_the_settings_of_its_topic_only() -> None:
    one = with_topic()
    apply(one, CreateTopics((NewTopic("other"),)))
    _, delta = apply(one, alteration(ResourceType.TOPIC, "t", "retention.ms", "5"))
    assert delta is not None
    assert {name: settings.retention_ms for name, settings in delta.topic_settings.items()} == {"t": 5}


def test_a_dynamic_broker_config_changes_the_settings_of_topics_that_do_not_say() -> None:
    one = with_topic()
    apply(one, CreateTopics((NewTopic("other", configs=(("retention.ms", "7"),)),)))
    _, delta = apply(one, alteration(ResourceType.BROKER, "", "log.retention.ms", "5"))
    assert delta is not None
    assert {name: settings.retention_ms for name, settings in delta.topic_settings.items()} == {"t": 5}
    assert delta.broker_config is not None
    _, delta = apply(one, alteration(ResourceType.BROKER, "1", "log.retention.ms", "6"))
    assert delta is not None
    assert delta.topic_settings[TopicName("t")].retention_ms == 6


def test_a_config_of_another_broker_changes_nothing_here() -> None:
    one = with_topic()
    image = one.image.replay([ConfigRecord(ConfigResource(ResourceType.BROKER, "2"), "log.retention.ms", "5")])
    one.configs.update(image)
    assert one.configs.topic(image, TopicName("t")).retention_ms == 604_800_000


def test_what_is_loaded_is_published_as_new() -> None:
    one = with_topic(partitions=3)
    other = controller(brokers=0)
    other.load(one.committed)
    delta = other.loaded()
    assert [topic.name for topic in delta.topics_created] == ["t"]
    assert len(delta.partitions_created) == 3
    assert delta.image is one.committed


def test_loaded_dynamic_configs_are_in_effect() -> None:
    one = with_topic()
    apply(one, alteration(ResourceType.BROKER, "", "log.retention.ms", "5"))
    other = controller(brokers=0)
    other.load(one.committed)
    delta = other.loaded()
    assert delta.topic_settings[TopicName("t")].retention_ms == 5
    assert delta.broker_config is not None


def test_the_records_of_an_image_give_the_image() -> None:
    one = with_topic(brokers=3, partitions=5)
    apply(one, alteration(ResourceType.TOPIC, "t", "retention.ms", "5"))
    apply(one, alteration(ResourceType.GROUP, "g", "consumer.session.timeout.ms", "50000"))
    apply(one, AllocateProducerIds(BrokerId(1)))
    again = EMPTY_IMAGE.replay(one.committed.to_records())
    assert again._replace(end_offset=one.committed.end_offset) == one.committed


def test_the_footer_of_an_image_counts_its_records() -> None:
    *records, footer = with_topic().committed.to_records()
    assert footer == SnapshotFooterRecord(len(records))


def test_no_two_brokers_get_the_same_producer_ids() -> None:
    one = controller(brokers=2)
    blocks = [apply(one, AllocateProducerIds(BrokerId(broker)))[0] for broker in (1, 2, 1)]
    assert blocks == [(0, 1000), (1000, 1000), (2000, 1000)]


def test_a_broker_that_is_not_registered_gets_no_producer_ids() -> None:
    with pytest.raises(KafkaError) as refusal:
        controller().decide(AllocateProducerIds(BrokerId(9)), 5)
    assert refusal.value.error_code is ErrorCode.BROKER_ID_NOT_REGISTERED


def test_each_registration_has_a_larger_broker_epoch() -> None:
    one = controller()
    first = one.image.brokers[BrokerId(1)].broker_epoch
    apply(one, register(1))
    assert one.image.brokers[BrokerId(1)].broker_epoch > first


def test_leader_epochs_rise_after_a_crash_and_stay_after_a_clean_stop() -> None:
    one = with_topic()
    apply(one, register(1, clean=True))
    assert {partition.leader_epoch for partition in one.image.topics[TopicName("t")].partitions} == {0}
    _, delta = apply(one, register(1, clean=False))
    assert {partition.leader_epoch for partition in one.image.topics[TopicName("t")].partitions} == {1}
    assert delta is not None
    assert len(delta.partitions_changed) == 2
    assert (delta.touches(TopicName("t")), delta.touches(TopicName("u"))) == (True, False)


def test_a_leader_changes_the_isr_once_for_each_partition_epoch() -> None:
    one = with_topic(brokers=3, partitions=1, default_replication_factor="3")
    topic = one.image.topics[TopicName("t")]
    before = topic.partitions[0]
    wanted = AlterPartition(
        before.leader, topic.topic_id, PartitionIndex(0), before.leader_epoch, before.partition_epoch, (before.leader,)
    )
    apply(one, wanted)
    after = one.image.topics[TopicName("t")].partitions[0]
    assert (after.isr, after.leader_epoch, after.partition_epoch) == ((before.leader,), before.leader_epoch, 1)
    with pytest.raises(KafkaError) as refusal:
        one.decide(wanted, 100)
    assert refusal.value.error_code is ErrorCode.INVALID_UPDATE_VERSION


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"leader_epoch": LeaderEpoch(7)}, ErrorCode.FENCED_LEADER_EPOCH),
        ({"broker_id": BrokerId(9)}, ErrorCode.FENCED_LEADER_EPOCH),
        ({"isr": (BrokerId(1), BrokerId(9))}, ErrorCode.INELIGIBLE_REPLICA),
        ({"isr": ()}, ErrorCode.INELIGIBLE_REPLICA),
        ({"topic_id": TopicId(UUID(int=99))}, ErrorCode.UNKNOWN_TOPIC_ID),
        ({"partition": PartitionIndex(9)}, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
    ],
)
def test_an_isr_that_cannot_be_is_refused(change: dict[str, Any], code: ErrorCode) -> None:
    one = with_topic(partitions=1)
    topic = one.image.topics[TopicName("t")]
    wanted = AlterPartition(BrokerId(1), topic.topic_id, PartitionIndex(0), LeaderEpoch(0), 0, (BrokerId(1),))
    with pytest.raises(KafkaError) as refusal:
        one.decide(wanted._replace(**change), 100)
    assert refusal.value.error_code is code
