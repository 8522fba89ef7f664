"""What becomes of requests to alter configs; codes and messages as Apache Kafka 4.3.1 answered them."""

import pytest

from klamm.core.controller_requests import AlterConfigs, ConfigOperation, ResourceAlteration, ResourceOutcome
from klamm.model.configs import ConfigResource, ResourceType
from klamm.model.errors import ErrorCode
from tests.core.controllers import apply, with_topic

SET, DELETE, APPEND, SUBTRACT = range(4)
TOPIC = int(ResourceType.TOPIC)
BROKER = int(ResourceType.BROKER)
GROUP = int(ResourceType.GROUP)
METRICS = int(ResourceType.CLIENT_METRICS)
Operations = tuple[tuple[str, int, str | None], ...]


def alteration(resource_type: int, name: str, *operations: tuple[str, int, str | None]) -> ResourceAlteration:
    """Return the alteration of one resource."""
    return ResourceAlteration(resource_type, name, tuple(ConfigOperation(*operation) for operation in operations))


@pytest.mark.parametrize(
    ("resource_type", "name", "operations", "code", "message"),
    [
        (TOPIC, "", (("retention.ms", SET, "1"),), 42, "Default topic resources are not allowed."),
        (GROUP, "", (("consumer.session.timeout.ms", SET, "50000"),), 42, "Default group resources are not allowed."),
        (METRICS, "", (("interval.ms", SET, "5000"),), 42, "Subscription name can't be empty"),
        (TOPIC, "no", (), 3, "The topic 'no' does not exist."),
        (TOPIC, "no", (("nope", SET, "1"),), 40, "Unknown topic config name: nope"),
        (TOPIC, "t", (("retention.ms", SET, None),), 42, "Null value not supported for : retention.ms"),
        (
            TOPIC,
            "t",
            (("retention.ms", SET, "x"),),
            40,
            "Invalid value x for configuration retention.ms: Not a number of type LONG",
        ),
        (
            TOPIC,
            "t",
            (("retention.ms", APPEND, "1"),),
            40,
            "Can't APPEND to key retention.ms because its type is not LIST.",
        ),
        (
            TOPIC,
            "t",
            (("retention.ms", SUBTRACT, "1"),),
            40,
            "Can't SUBTRACT to key retention.ms because its type is not LIST.",
        ),
        (
            TOPIC,
            "t",
            (("retention.ms", SET, "1"), ("retention.ms", SET, "2")),
            42,
            "Error due to duplicate config keys",
        ),
        (TOPIC, "t", (("retention.ms", 9, "1"),), 42, "Unknown operation type 9 for retention.ms"),
        (
            TOPIC,
            "t",
            (("remote.storage.enable", SET, "true"),),
            40,
            (
                "Tiered Storage functionality is disabled in the broker. "
                "Topic cannot be configured with remote log storage."
            ),
        ),
        (BROKER, "2", (), 42, "Unexpected broker id, expected 1, but received 2"),
        (BROKER, "x", (), 42, "Node id must be an integer, but it is: x"),
        (BROKER, "1", (("node.id", SET, "3"),), 42, "Cannot update these configs dynamically: [node.id]"),
        (
            BROKER,
            "1",
            (("log.retention.ms", SET, "abc"),),
            42,
            "Invalid value abc for configuration log.retention.ms: Not a number of type LONG",
        ),
        (
            BROKER,
            "",
            (("num.io.threads", SET, "0"),),
            42,
            "Invalid value 0 for configuration num.io.threads: Value must be at least 1",
        ),
        (8, "1", (("root", SET, "INFO"),), 40, "Logger root does not exist!"),
        (99, "1", (), 42, "Unknown resource type 99"),
        (0, "", (), 42, "Unknown resource type 0"),
        (GROUP, "g", (("nope", SET, "5"),), 40, "Unknown group config name: nope"),
        (
            GROUP,
            "g",
            (("consumer.session.timeout.ms", SET, "5"),),
            40,
            "consumer.session.timeout.ms must be greater than or equal to group.consumer.min.session.timeout.ms",
        ),
        (METRICS, "s", (("nope", SET, "5"),), 42, "Unknown client metrics configuration: nope"),
        (
            METRICS,
            "s",
            (("interval.ms", SET, "5"),),
            42,
            "Invalid value 5 for interval.ms, interval must be between 100 and 3600000 (1 hour)",
        ),
        (METRICS, "s", (("match", SET, "zz"),), 40, "Illegal client matching pattern: zz"),
    ],
)
def test_an_alteration_that_cannot_be_is_refused_as_kafka_refuses_it(
    resource_type: int, name: str, operations: Operations, code: int, message: str
) -> None:
    one = with_topic()
    outcomes, delta = apply(one, AlterConfigs((alteration(resource_type, name, *operations),)))
    assert outcomes == (ResourceOutcome(resource_type, name, ErrorCode(code), message),)
    assert delta is None


def altered(*operations: tuple[str, int, str | None], start: tuple[tuple[str, str], ...] = ()) -> dict[str, str]:
    """Return the configs of a topic that had ``start``, after ``operations``."""
    one = with_topic()
    apply(one, AlterConfigs((alteration(TOPIC, "t", *((name, SET, value) for name, value in start)),)))
    outcomes, _ = apply(one, AlterConfigs((alteration(TOPIC, "t", *operations),)))
    assert outcomes == (ResourceOutcome(TOPIC, "t"),)
    return dict(one.image.config(ConfigResource(ResourceType.TOPIC, "t")))


def test_operations_do_what_they_say() -> None:
    assert altered(("retention.ms", SET, "5")) == {"retention.ms": "5"}
    assert altered(("retention.ms", DELETE, None), start=(("retention.ms", "5"),)) == {}
    assert altered(("nope", DELETE, None)) == {}
    assert altered(("cleanup.policy", APPEND, "compact")) == {"cleanup.policy": "delete,compact"}
    assert altered(("cleanup.policy", APPEND, "delete")) == {"cleanup.policy": "delete"}
    assert altered(("cleanup.policy", SUBTRACT, "delete")) == {"cleanup.policy": ""}
    start = (("cleanup.policy", "delete,compact"),)
    assert altered(("cleanup.policy", SUBTRACT, "delete"), start=start) == {"cleanup.policy": "compact"}


def test_what_is_set_to_what_it_is_writes_nothing() -> None:
    one = with_topic()
    request = AlterConfigs((alteration(TOPIC, "t", ("retention.ms", SET, "5")),))
    assert apply(one, request)[1] is not None
    assert apply(one, request)[1] is None


def test_all_of_a_resource_is_altered_or_nothing() -> None:
    one = with_topic()
    both = alteration(TOPIC, "t", ("retention.ms", SET, "5"), ("segment.bytes", SET, "1"))
    apply(one, AlterConfigs((both,)))
    assert not one.image.configs


def test_one_refused_resource_does_not_keep_the_others_from_being_altered() -> None:
    one = with_topic()
    request = AlterConfigs(
        (alteration(TOPIC, "no", ("retention.ms", SET, "5")), alteration(TOPIC, "t", ("retention.ms", SET, "5")))
    )
    outcomes, _ = apply(one, request)
    assert isinstance(outcomes, tuple)
    assert [each.error for each in outcomes] == [ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, ErrorCode.NONE]


def test_a_resource_named_twice_is_refused_both_times() -> None:
    twice = (alteration(TOPIC, "t", ("retention.ms", SET, "5")), alteration(TOPIC, "t", ("segment.ms", SET, "5")))
    outcomes, delta = apply(with_topic(), AlterConfigs(twice))
    message = "Each resource must appear at most once."
    assert outcomes == (ResourceOutcome(TOPIC, "t", ErrorCode.INVALID_REQUEST, message),) * 2
    assert delta is None


def test_validating_only_refuses_alike_and_changes_nothing() -> None:
    one = with_topic()
    good = alteration(TOPIC, "t", ("retention.ms", SET, "5"))
    assert apply(one, AlterConfigs((good,), validate_only=True)) == ((ResourceOutcome(TOPIC, "t"),), None)
    bad = alteration(TOPIC, "t", ("retention.ms", SET, "-5"))
    outcomes, _ = apply(one, AlterConfigs((bad,), validate_only=True))
    assert isinstance(outcomes, tuple)
    assert outcomes[0].error is ErrorCode.INVALID_CONFIG


def test_replacing_takes_away_what_is_not_named() -> None:
    one = with_topic()
    apply(one, AlterConfigs((alteration(TOPIC, "t", ("retention.ms", SET, "5"), ("segment.ms", SET, "6")),)))
    apply(one, AlterConfigs((alteration(TOPIC, "t", ("segment.ms", SET, "7")),), replace=True))
    assert one.image.config(ConfigResource(ResourceType.TOPIC, "t")) == {"segment.ms": "7"}
    apply(one, AlterConfigs((alteration(TOPIC, "t"),), replace=True))
    assert not one.image.configs


def test_a_broker_config_that_no_table_names_is_kept() -> None:
    one = with_topic()
    apply(one, AlterConfigs((alteration(BROKER, "1", ("some.plugin.key", SET, "1")),)))
    assert one.image.config(ConfigResource(ResourceType.BROKER, "1")) == {"some.plugin.key": "1"}


def test_an_override_that_contradicts_a_broker_default_is_refused() -> None:
    one = with_topic(log_cleaner_max_compaction_lag_ms="50")
    outcomes, _ = apply(one, AlterConfigs((alteration(TOPIC, "t", ("min.compaction.lag.ms", SET, "60")),)))
    assert isinstance(outcomes, tuple)
    assert outcomes[0].error is ErrorCode.INVALID_CONFIG
