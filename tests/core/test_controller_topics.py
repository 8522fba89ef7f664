"""What becomes of requests to create, delete and grow topics; codes and messages are Apache Kafka 4.3.1's answers."""

from uuid import UUID

import pytest

from klamm.core.controller_requests import (
    CreatePartitions,
    CreateTopics,
    DeleteTopics,
    ElectLeaders,
    ManualAssignment,
    MorePartitions,
    NewTopic,
    Reassignment,
    ReassignPartitions,
    TopicOutcome,
)
from klamm.core.controller_topics import CONSUMER_OFFSETS, TRANSACTION_STATE, internal_topic
from klamm.model.errors import ErrorCode
from klamm.model.ids import NO_TOPIC_ID, PartitionIndex, TopicId, TopicName
from tests.core.controllers import apply, controller, with_topic

ASSIGNED = "The manual partition assignment includes"
TOPIC = TopicName("t")
FIRST = PartitionIndex(0)


def outcome(request: object, brokers: int = 1, partitions: int = 2) -> TopicOutcome:
    """Return what becomes of the one topic of ``request``, where the topic ``t`` is there."""
    outcomes, _ = apply(with_topic(brokers, partitions), request)
    assert isinstance(outcomes, tuple)
    (only,) = outcomes
    assert isinstance(only, TopicOutcome)
    return only


@pytest.mark.parametrize(
    ("topic", "code", "message"),
    [
        (NewTopic("t"), ErrorCode.TOPIC_ALREADY_EXISTS, "Topic 't' already exists."),
        (
            NewTopic("n", 0),
            ErrorCode.INVALID_PARTITIONS,
            "Number of partitions was set to an invalid non-positive value.",
        ),
        (
            NewTopic("n", -2),
            ErrorCode.INVALID_PARTITIONS,
            "Number of partitions was set to an invalid non-positive value.",
        ),
        (
            NewTopic("n", 1, 2),
            ErrorCode.INVALID_REPLICATION_FACTOR,
            (
                "Unable to replicate the partition 2 time(s): The target replication factor of 2 cannot be reached "
                "because only 1 broker(s) are registered or some brokers have all their log directories cordoned."
            ),
        ),
        (
            NewTopic("n", 1, 0),
            ErrorCode.INVALID_REPLICATION_FACTOR,
            "Replication factor must be larger than 0, or -1 to use the default value.",
        ),
        (
            NewTopic("bad name"),
            ErrorCode.INVALID_TOPIC_EXCEPTION,
            (
                "Topic name is invalid: 'bad name' contains one or more characters other than ASCII "
                "alphanumerics, '.', '_' and '-'"
            ),
        ),
        (
            NewTopic(""),
            ErrorCode.INVALID_TOPIC_EXCEPTION,
            "Topic name is invalid: the empty string is not allowed",
        ),
        (NewTopic(".."), ErrorCode.INVALID_TOPIC_EXCEPTION, "Topic name is invalid: '..' is not allowed"),
        (
            NewTopic("x" * 250),
            ErrorCode.INVALID_TOPIC_EXCEPTION,
            f"Topic name is invalid: the length of '{'x' * 250}' is longer than the max allowed length 249",
        ),
        (
            NewTopic("__cluster_metadata"),
            ErrorCode.INVALID_REQUEST,
            "Creation of internal topic __cluster_metadata is prohibited.",
        ),
        (
            NewTopic("n", 100_000),
            ErrorCode.POLICY_VIOLATION,
            "Excessively large number of partitions per request.",
        ),
        (
            NewTopic("n", 1, -1, (ManualAssignment(0, (1,)),)),
            ErrorCode.INVALID_REQUEST,
            "A manual partition assignment was specified, but numPartitions was not set to -1.",
        ),
        (
            NewTopic("n", -1, 1, (ManualAssignment(0, (1,)),)),
            ErrorCode.INVALID_REQUEST,
            "A manual partition assignment was specified, but replication factor was not set to -1.",
        ),
        (
            NewTopic("n", assignments=(ManualAssignment(1, (1,)),)),
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            "partitions should be a consecutive 0-based integer sequence",
        ),
        (
            NewTopic("n", assignments=(ManualAssignment(0, (1,)), ManualAssignment(0, (1,)))),
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            "Found multiple manual partition assignments for partition 0",
        ),
        (
            NewTopic("n", assignments=(ManualAssignment(0, (2,)),)),
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            f"{ASSIGNED} broker 2, but no such broker is registered.",
        ),
        (
            NewTopic("n", assignments=(ManualAssignment(0, (1, 1)),)),
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            f"{ASSIGNED} the broker 1 more than once.",
        ),
        (
            NewTopic("n", assignments=(ManualAssignment(0, ()),)),
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            f"{ASSIGNED} an empty replica list.",
        ),
        (
            NewTopic("n", configs=(("nope", "5"),)),
            ErrorCode.INVALID_CONFIG,
            "Unknown topic config name: nope",
        ),
        (
            NewTopic("n", configs=(("retention.ms", None),)),
            ErrorCode.INVALID_CONFIG,
            "Null value not supported for topic configs: retention.ms",
        ),
    ],
)
def test_a_topic_that_cannot_be_is_refused_as_kafka_refuses_it(topic: NewTopic, code: ErrorCode, message: str) -> None:
    refused = outcome(CreateTopics((topic,)))
    assert (refused.error, refused.message) == (code, message)


def test_one_bad_topic_does_not_keep_the_others_from_being_created() -> None:
    one = controller()
    outcomes, delta = apply(one, CreateTopics((NewTopic("a", 0), NewTopic("b"), NewTopic("c"), NewTopic("c"))))
    assert isinstance(outcomes, tuple)
    assert [(each.name, each.error) for each in outcomes] == [
        ("a", ErrorCode.INVALID_PARTITIONS),
        ("b", ErrorCode.NONE),
        ("c", ErrorCode.INVALID_REQUEST),
    ]
    assert delta is not None
    assert [topic.name for topic in delta.topics_created] == ["b"]


@pytest.mark.parametrize("name", ["a_b", "a.b"])
def test_names_that_differ_by_dot_and_underscore_only_collide(name: str) -> None:
    other = {"a_b": "a.b", "a.b": "a_b"}[name]
    one = controller()
    apply(one, CreateTopics((NewTopic(other),)))
    outcomes, _ = apply(one, CreateTopics((NewTopic(name),)))
    message = f"Topic '{name}' collides with existing topic: {other}"
    assert outcomes == (TopicOutcome(name, ErrorCode.INVALID_TOPIC_EXCEPTION, message),)


def test_a_name_collides_with_one_of_the_same_request() -> None:
    outcomes, _ = apply(controller(), CreateTopics((NewTopic("a.b"), NewTopic("a_b"))))
    assert isinstance(outcomes, tuple)
    assert [each.error for each in outcomes] == [ErrorCode.NONE, ErrorCode.INVALID_TOPIC_EXCEPTION]


def test_a_deleted_name_collides_no_more() -> None:
    one = controller()
    apply(one, CreateTopics((NewTopic("a.b"),)))
    apply(one, DeleteTopics((("a.b", NO_TOPIC_ID),)))
    outcomes, _ = apply(one, CreateTopics((NewTopic("a_b"),)))
    assert isinstance(outcomes, tuple)
    assert outcomes[0].error is ErrorCode.NONE


def test_defaults_are_the_brokers() -> None:
    one = controller(3, num_partitions="4", default_replication_factor="2")
    apply(one, CreateTopics((NewTopic("n"),)))
    topic = one.image.topics[TopicName("n")]
    assert [len(partition.replicas) for partition in topic.partitions] == [2, 2, 2, 2]


def test_leaders_and_replicas_are_spread_over_the_brokers() -> None:
    one = controller(3)
    apply(one, CreateTopics((NewTopic("n", 6, 3),)))
    partitions = one.image.topics[TopicName("n")].partitions
    assert sorted(partition.leader for partition in partitions) == [1, 1, 2, 2, 3, 3]
    for partition in partitions:
        assert partition.replicas == partition.isr
        assert sorted(partition.replicas) == [1, 2, 3]
        assert partition.leader == partition.replicas[0]


def test_a_manual_assignment_is_obeyed() -> None:
    one = controller(3)
    apply(one, CreateTopics((NewTopic("n", assignments=(ManualAssignment(1, (3, 1)), ManualAssignment(0, (2, 1)))),)))
    assert [partition.replicas for partition in one.image.topics[TopicName("n")].partitions] == [(2, 1), (3, 1)]


def test_replication_factors_of_a_manual_assignment_must_be_one() -> None:
    topic = NewTopic("n", assignments=(ManualAssignment(0, (1, 2)), ManualAssignment(1, (1,))))
    refused = outcome(CreateTopics((topic,)), brokers=2)
    assert refused.error is ErrorCode.INVALID_REPLICA_ASSIGNMENT
    assert "not consistent with previous partitions" in (refused.message or "")


def test_validating_only_answers_alike_and_changes_nothing() -> None:
    one = controller()
    configs = (("retention.ms", "5"),)
    outcomes, delta = apply(one, CreateTopics((NewTopic("n", 3, configs=configs),), validate_only=True))
    assert delta is None
    assert isinstance(outcomes, tuple)
    assert (outcomes[0].num_partitions, outcomes[0].replication_factor, outcomes[0].configs) == (3, 1, dict(configs))


def test_internal_topics_are_created_compacted_with_their_own_partition_count() -> None:
    one = controller(offsets_topic_num_partitions="7", transaction_state_log_num_partitions="3")
    for name in (CONSUMER_OFFSETS, TRANSACTION_STATE):
        apply(one, CreateTopics((internal_topic(name, one.configs.broker),)))
    assert len(one.image.topics[CONSUMER_OFFSETS].partitions) == 7
    assert len(one.image.topics[TRANSACTION_STATE].partitions) == 3
    assert one.configs.topic(one.image, CONSUMER_OFFSETS).cleanup_policy == ("compact",)


def test_a_topic_is_deleted_with_its_configs_by_name_or_id() -> None:
    for by_id in (False, True):
        one = controller()
        apply(one, CreateTopics((NewTopic("n", configs=(("retention.ms", "5"),)),)))
        topic_id = one.image.topics[TopicName("n")].topic_id
        request = DeleteTopics(((None, topic_id),)) if by_id else DeleteTopics((("n", NO_TOPIC_ID),))
        outcomes, delta = apply(one, request)
        assert outcomes == (TopicOutcome("n", topic_id=topic_id),)
        assert delta is not None
        assert [topic.topic_id for topic in delta.topics_deleted] == [topic_id]
        assert not one.image.topics
        assert not one.image.topic_ids
        assert not one.image.configs


def test_topics_that_cannot_be_deleted_are_refused_as_kafka_refuses_them() -> None:
    one = with_topic()
    topic_id = one.image.topics[TOPIC].topic_id
    unknown = TopicId(UUID(int=77))
    outcomes, delta = apply(
        one,
        DeleteTopics(
            (
                ("no", NO_TOPIC_ID),
                (None, unknown),
                (None, NO_TOPIC_ID),
                ("t", topic_id),
                ("twice", NO_TOPIC_ID),
                ("twice", NO_TOPIC_ID),
            )
        ),
    )
    assert delta is None
    assert isinstance(outcomes, tuple)
    assert [(each.error, each.message) for each in outcomes] == [
        (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, "This server does not host this topic-partition."),
        (ErrorCode.UNKNOWN_TOPIC_ID, "This server does not host this topic ID."),
        (ErrorCode.INVALID_REQUEST, "Neither topic name nor id were specified."),
        (ErrorCode.INVALID_REQUEST, "You may not specify both topic name and topic id."),
        (ErrorCode.INVALID_REQUEST, "Duplicate topic name."),
    ]


@pytest.mark.parametrize("id_first", [True, False])
def test_a_topic_that_is_named_both_ways_is_refused_once_and_stays(id_first: bool) -> None:  # noqa: FBT001 - a case
    one = with_topic()
    topic_id = one.image.topics[TOPIC].topic_id
    named = ((None, topic_id), ("t", NO_TOPIC_ID))
    outcomes, _ = apply(one, DeleteTopics(named if id_first else named[::-1]))
    assert isinstance(outcomes, tuple)
    assert [(each.name, each.topic_id, each.error) for each in outcomes] == [("t", topic_id, ErrorCode.INVALID_REQUEST)]
    assert outcomes[0].message == "The provided topic name maps to an ID that was already supplied."
    assert TOPIC in one.image.topics


def test_topics_stay_where_deletion_is_disabled() -> None:
    one = with_topic(delete_topic_enable="false")
    outcomes, _ = apply(one, DeleteTopics((("t", NO_TOPIC_ID),)))
    assert isinstance(outcomes, tuple)
    assert outcomes[0].error is ErrorCode.TOPIC_DELETION_DISABLED
    assert TOPIC in one.image.topics


@pytest.mark.parametrize(
    ("wanted", "code", "message"),
    [
        (MorePartitions("t", 2), ErrorCode.INVALID_PARTITIONS, "Topic already has 2 partition(s)."),
        (
            MorePartitions("t", 1),
            ErrorCode.INVALID_PARTITIONS,
            "The topic t currently has 2 partition(s); 1 would not be an increase.",
        ),
        (MorePartitions("no", 5), ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, None),
        (
            MorePartitions("t", 4, ((1,),)),
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            "Attempted to add 2 additional partition(s), but only 1 assignment(s) were specified.",
        ),
        (
            MorePartitions("t", 3, ((2,),)),
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            f"{ASSIGNED} broker 2, but no such broker is registered.",
        ),
        (
            MorePartitions("t", 3, ((),)),
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            f"{ASSIGNED} an empty replica list.",
        ),
    ],
)
def test_a_growth_that_cannot_be_is_refused_as_kafka_refuses_it(
    wanted: MorePartitions, code: ErrorCode, message: str | None
) -> None:
    refused = outcome(CreatePartitions((wanted,)))
    assert (refused.error, refused.message) == (code, message)


def test_a_topic_grows_by_what_is_missing() -> None:
    one = with_topic(partitions=2)
    _, delta = apply(one, CreatePartitions((MorePartitions("t", 5),)))
    assert delta is not None
    assert [partition.partition for _, partition in delta.partitions_created] == [2, 3, 4]
    assert len(one.image.topics[TOPIC].partitions) == 5


def test_no_partition_needs_an_election_while_its_preferred_leader_leads() -> None:
    one = with_topic()
    asked = ElectLeaders(((TOPIC, FIRST), (TOPIC, PartitionIndex(9)), (TopicName("no"), FIRST)))
    outcomes, delta = apply(one, asked)
    assert delta is None
    assert isinstance(outcomes, tuple)
    assert [(each.error, each.message) for each in outcomes] == [
        (ErrorCode.ELECTION_NOT_NEEDED, "Leader election not needed for topic partition."),
        (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, "No such partition as t-9"),
        (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, "No such topic as no"),
    ]
    assert apply(one, ElectLeaders(None))[0] == ()


def test_a_partition_moves_nowhere_or_is_refused() -> None:
    one = with_topic(brokers=2)
    here = tuple(int(replica) for replica in one.image.topics[TOPIC].partitions[0].replicas)
    other = tuple({1, 2} - set(here))
    moves = (
        Reassignment(TOPIC, FIRST, here),
        Reassignment(TOPIC, FIRST, other),
        Reassignment(TOPIC, FIRST, (7,)),
        Reassignment(TOPIC, FIRST, None),
        Reassignment(TOPIC, PartitionIndex(9), here),
        Reassignment(TopicName("no"), FIRST, here),
    )
    outcomes, delta = apply(one, ReassignPartitions(moves))
    assert delta is None
    assert isinstance(outcomes, tuple)
    assert [each.error for each in outcomes] == [
        ErrorCode.NONE,
        ErrorCode.INVALID_REPLICA_ASSIGNMENT,
        ErrorCode.INVALID_REPLICA_ASSIGNMENT,
        ErrorCode.NO_REASSIGNMENT_IN_PROGRESS,
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    ]
