"""The rules of KIP-714, without a wire."""

from __future__ import annotations

import itertools
from uuid import UUID

import pytest

from klamm.core.client_metrics import INSTANCES_MAX, INTERVAL_MS_DEFAULT, ClientMetrics, Push
from klamm.model.errors import ErrorCode, KafkaError

CLIENT = {"client_id": "checkout", "client_software_name": "librdkafka", "client_software_version": "2.12"}
SOME = UUID(int=77)


def _metrics(**subscriptions: dict[str, str]) -> ClientMetrics:
    numbers = itertools.count(0)  # the first two are reserved
    metrics = ClientMetrics(1000, lambda: UUID(int=next(numbers)))
    metrics.configure(subscriptions)
    return metrics


def _push(subscription_id: int, *, terminating: bool = False, codec: int = 0, size: int = 10) -> Push:
    return Push(SOME, subscription_id, terminating, codec, size)


def _refused(metrics: ClientMetrics, push: Push, now_ms: int) -> ErrorCode:
    with pytest.raises(KafkaError) as refused:
        metrics.push(push, CLIENT, now_ms)
    return refused.value.error_code


def test_a_client_without_an_id_is_given_one_that_is_not_reserved() -> None:
    given = _metrics().get(None, CLIENT, 1)
    assert given.client_instance_id == UUID(int=2)
    assert given.subscription.metrics == ()
    assert given.subscription.interval_ms == INTERVAL_MS_DEFAULT


def test_a_client_is_to_push_what_all_matching_subscriptions_name_at_the_shortest_interval() -> None:
    metrics = _metrics(
        one={"metrics": "org.b,org.a", "interval.ms": "5000", "match": "client_id=check.*,client_software_name=lib.*"},
        two={"metrics": "org.c", "interval.ms": "9000"},
        other={"metrics": "*", "interval.ms": "100", "match": "client_id=check"},
    )
    subscription = metrics.get(SOME, CLIENT, 1).subscription
    assert (subscription.metrics, subscription.interval_ms) == (("org.a", "org.b", "org.c"), 5000)


def test_all_metrics_are_a_star_whatever_else_is_named() -> None:
    assert _metrics(one={"metrics": "a,*"}, two={"metrics": "b"}).get(SOME, CLIENT, 1).subscription.metrics == ("*",)


def test_a_selector_that_is_no_expression_matches_nobody() -> None:
    assert _metrics(one={"metrics": "a", "match": "client_id=("}).get(SOME, CLIENT, 1).subscription.metrics == ()


def test_a_push_is_taken_once_an_interval_and_the_first_after_a_get_at_any_time() -> None:
    metrics = _metrics(one={"metrics": "a", "interval.ms": "1000"})
    number = metrics.get(SOME, CLIENT, 1000).subscription.subscription_id
    metrics.push(_push(number), CLIENT, 1100)
    assert _refused(metrics, _push(number), 2000) is ErrorCode.THROTTLING_QUOTA_EXCEEDED
    metrics.push(_push(number), CLIENT, 2100)
    metrics.push(_push(number, terminating=True), CLIENT, 2200)
    assert _refused(metrics, _push(number), 9000) is ErrorCode.INVALID_REQUEST


def test_asking_again_too_soon_is_throttled_unless_the_last_push_said_to() -> None:
    metrics = _metrics(one={"metrics": "a", "interval.ms": "1000"})
    metrics.get(SOME, CLIENT, 1000)
    with pytest.raises(KafkaError) as refused:
        metrics.get(SOME, CLIENT, 1500)
    assert refused.value.error_code is ErrorCode.THROTTLING_QUOTA_EXCEEDED
    assert _refused(metrics, _push(12345), 1600) is ErrorCode.UNKNOWN_SUBSCRIPTION_ID
    metrics.get(SOME, CLIENT, 1700)


def test_another_subscription_makes_the_old_one_unknown() -> None:
    metrics = _metrics(one={"metrics": "a", "interval.ms": "1000"})
    number = metrics.get(SOME, CLIENT, 1000).subscription.subscription_id
    metrics.configure({"one": {"metrics": "b", "interval.ms": "1000"}})
    assert _refused(metrics, _push(number), 2500) is ErrorCode.UNKNOWN_SUBSCRIPTION_ID
    again = metrics.get(SOME, CLIENT, 2600).subscription
    assert again.metrics == ("b",)
    metrics.push(_push(again.subscription_id), CLIENT, 2700)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"client_instance_id": None}, ErrorCode.INVALID_REQUEST),
        ({"client_instance_id": UUID(int=1)}, ErrorCode.INVALID_REQUEST),
        ({"codec": 9}, ErrorCode.UNSUPPORTED_COMPRESSION_TYPE),
        ({"size": 1001}, ErrorCode.TELEMETRY_TOO_LARGE),
    ],
)
def test_what_cannot_be_taken_is_refused_as_kafka_does(change: dict[str, object], code: ErrorCode) -> None:
    metrics = _metrics(one={"metrics": "a", "interval.ms": "1000"})
    number = metrics.get(SOME, CLIENT, 1000).subscription.subscription_id
    assert _refused(metrics, _push(number)._replace(**change), 1100) is code  # type: ignore[arg-type]


def test_the_instances_that_are_remembered_are_bounded() -> None:
    metrics = _metrics()
    for number in range(2, INSTANCES_MAX + 10):
        metrics.get(UUID(int=number), CLIENT, 1000)
    assert len(metrics._instances) == INSTANCES_MAX
