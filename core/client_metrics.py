"""Client metrics subscriptions (KIP-714): who is to push what, how often, and which pushes are accepted.

Rules, codes and messages are those of Apache Kafka 4.3's ``ClientMetricsManager`` and ``ClientMetricsInstance``. A
client asks for its subscription, pushes at its interval, and asks again when it is told that the subscription is
another one. An instance that is not known, because the broker started anew or forgot it, is taken in as it comes.
"""

from __future__ import annotations

import base64
import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple
from uuid import UUID

from klamm.core.groups.regex import InvalidRegularExpressionError, matches
from klamm.model.errors import ErrorCode, InvalidRequestError, KafkaError
from klamm.records.compression import Codec

INTERVAL_MS_DEFAULT: Final = 300_000
ALL_METRICS: Final = "*"
INSTANCES_MAX: Final = 16_384
"""Kafka's ``CACHE_MAX_SIZE``: the one that was not heard of for the longest time is forgotten."""

ACCEPTED_CODECS: Final = (Codec.ZSTD, Codec.LZ4, Codec.GZIP, Codec.SNAPPY)
"""In the order in which clients should prefer them."""

RESERVED_IDS: Final = frozenset({UUID(int=0), UUID(int=1)})

Client = Mapping[str, str]
"""What a selector may ask of a client, by Kafka's names: ``client_id``, ``client_software_name`` …"""


class Subscription(NamedTuple):
    """What a client is to push: prefixes of metrics' names (``*``: all), how often."""

    subscription_id: int
    metrics: tuple[str, ...]
    interval_ms: int


class GivenSubscription(NamedTuple):
    """The answer to GetTelemetrySubscriptions."""

    client_instance_id: UUID
    subscription: Subscription


@dataclass(slots=True)
class _Instance:
    subscription: Subscription
    version: int
    got_ms: int = 0
    pushed_ms: int = 0
    last_error: ErrorCode = ErrorCode.NONE
    terminating: bool = False


class ClientMetrics:
    """The subscriptions, and the client instances that were seen.

    Args:
        size_max: ``telemetry.max.bytes``: the largest push that is taken.
        new_id: Makes a random id.
    """

    def __init__(self, size_max: int, new_id: Callable[[], UUID]) -> None:
        self.size_max = size_max
        self._new_id = new_id
        self._configs: Mapping[str, Mapping[str, str]] = {}
        self._version = 0
        self._instances: OrderedDict[UUID, _Instance] = OrderedDict()

    def configure(self, configs: Mapping[str, Mapping[str, str]]) -> None:
        """Take the configs of all ``client-metrics`` resources, by name."""
        if configs != self._configs:
            self._configs = configs
            self._version += 1

    def get(self, client_instance_id: UUID | None, client: Client, now_ms: int) -> GivenSubscription:
        """Answer GetTelemetrySubscriptions; ``now_ms`` never goes back.

        Raises:
            KafkaError: THROTTLING_QUOTA_EXCEEDED: it asked again too soon.
        """
        if client_instance_id is None or not client_instance_id.int:
            client_instance_id = self._new_id()
            while client_instance_id in RESERVED_IDS:
                client_instance_id = self._new_id()
        instance = self._instance(client_instance_id, client)
        elapsed_ms = now_ms - max(instance.got_ms, instance.pushed_ms)
        retries = instance.last_error in (ErrorCode.UNKNOWN_SUBSCRIPTION_ID, ErrorCode.UNSUPPORTED_COMPRESSION_TYPE)
        if (instance.got_ms or instance.pushed_ms) and elapsed_ms < instance.subscription.interval_ms and not retries:
            msg = f"Request from the client [{client_instance_id}] arrived before the next push interval time"
            raise KafkaError(msg, code=ErrorCode.THROTTLING_QUOTA_EXCEEDED)
        instance.got_ms = now_ms
        instance.last_error = ErrorCode.NONE
        return GivenSubscription(client_instance_id, instance.subscription)

    def push(self, push: Push, client: Client, now_ms: int) -> None:
        """Accept or refuse a PushTelemetry; what is in it is looked at elsewhere, and may be :meth:`refused` later.

        Raises:
            KafkaError: INVALID_REQUEST, THROTTLING_QUOTA_EXCEEDED, UNKNOWN_SUBSCRIPTION_ID,
                UNSUPPORTED_COMPRESSION_TYPE, TELEMETRY_TOO_LARGE.
        """
        client_instance_id = push.client_instance_id
        if client_instance_id is None or client_instance_id in RESERVED_IDS:
            msg = f"Invalid request from the client [{client_instance_id}], invalid client instance id"
            raise InvalidRequestError(msg)
        instance = self._instance(client_instance_id, client)
        try:
            self._check(instance, push, now_ms)
        except KafkaError as error:
            instance.last_error = error.error_code
            raise
        finally:
            instance.terminating = push.terminating
        instance.last_error = ErrorCode.NONE

    def refused(self, client_instance_id: UUID | None, error: ErrorCode) -> None:
        """Note that an accepted push could not be read after all."""
        instance = None if client_instance_id is None else self._instances.get(client_instance_id)
        if instance is not None:
            instance.last_error = error

    def _check(self, instance: _Instance, push: Push, now_ms: int) -> None:
        client_instance_id = push.client_instance_id
        if instance.terminating:
            msg = f"Client [{client_instance_id}] sent push request while client is already in terminating state"
            raise InvalidRequestError(msg)
        # A first push after a get may come early: clients spread theirs over half to one and a half intervals.
        early = instance.got_ms <= instance.pushed_ms and instance.pushed_ms
        if early and now_ms - instance.pushed_ms < instance.subscription.interval_ms and not push.terminating:
            msg = f"Request from the client [{client_instance_id}] arrived before the next push interval time"
            raise KafkaError(msg, code=ErrorCode.THROTTLING_QUOTA_EXCEEDED)
        instance.pushed_ms = now_ms
        if push.subscription_id != instance.subscription.subscription_id:
            msg = f"Unknown client subscription id for the client [{client_instance_id}]"
            raise KafkaError(msg, code=ErrorCode.UNKNOWN_SUBSCRIPTION_ID)
        if push.codec not in {0, *ACCEPTED_CODECS}:
            msg = f"Unknown compression type for the client [{client_instance_id}]"
            raise KafkaError(msg, code=ErrorCode.UNSUPPORTED_COMPRESSION_TYPE)
        if push.size > self.size_max:
            msg = (
                f"Telemetry request from the client [{client_instance_id}] is larger than the maximum allowed size "
                f"{self.size_max}"
            )
            raise KafkaError(msg, code=ErrorCode.TELEMETRY_TOO_LARGE)

    def _instance(self, client_instance_id: UUID, client: Client) -> _Instance:
        """Return what is known of a client instance, its subscription up to date."""
        instance = self._instances.get(client_instance_id)
        if instance is None or instance.version != self._version:
            subscription = self._subscription(client_instance_id, client)
            if instance is None:
                instance = _Instance(subscription, self._version)
                self._instances[client_instance_id] = instance
            else:
                instance.subscription, instance.version = subscription, self._version
        self._instances.move_to_end(client_instance_id)
        if len(self._instances) > INSTANCES_MAX:
            self._instances.popitem(last=False)
        return instance

    def _subscription(self, client_instance_id: UUID, client: Client) -> Subscription:
        """Return the union of all subscriptions that match a client, at the shortest of their intervals."""
        metrics: set[str] = set()
        interval_ms = INTERVAL_MS_DEFAULT
        facts = {**client, "client_instance_id": _kafka_text(client_instance_id)}
        for configs in self._configs.values():
            if not _matches(configs.get("match", ""), facts):
                continue
            metrics.update(_elements(configs.get("metrics", "")))
            interval_ms = min(interval_ms, int(configs.get("interval.ms", INTERVAL_MS_DEFAULT)))
        wanted = (ALL_METRICS,) if ALL_METRICS in metrics else tuple(sorted(metrics))
        text = f"{','.join(wanted)}|{interval_ms}|{client_instance_id}".encode()
        number = zlib.crc32(text)
        return Subscription(number - 2**32 if number >= 2**31 else number, wanted, interval_ms)


class Push(NamedTuple):
    """What a PushTelemetry says, but for the metrics themselves, of which it has ``size`` bytes."""

    client_instance_id: UUID | None
    subscription_id: int
    terminating: bool
    codec: int
    size: int


def _matches(selectors: str, facts: Client) -> bool:
    """Whether every selector's expression matches its fact as a whole; without selectors every client is meant."""
    for selector in _elements(selectors):
        name, _, expression = selector.partition("=")
        try:
            if not matches(expression.strip(), facts.get(name.strip(), "")):
                return False
        except InvalidRegularExpressionError:
            return False
    return True


def _elements(text: str) -> Sequence[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _kafka_text(value: UUID) -> str:
    """Return an id as Kafka writes it: base64 for URLs, without padding."""
    return base64.urlsafe_b64encode(value.bytes).decode().rstrip("=")
