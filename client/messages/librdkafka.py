"""What librdkafka has to be told to reach the cluster of a context: the bulk of sending, and group members, go by it.

Names of properties are librdkafka's already, or Java's where klamm takes both. What klamm checks itself (read-only,
env, the cluster's id) is checked before any of this is used: see :meth:`klamm.client.cluster.Cluster.ensure_writable`.
"""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from klamm.client.errors import ClientError, ResponseError, SettingsError, UnreachableError
from klamm.client.property_names import LIBRDKAFKA
from klamm.client.settings import Settings

_JAVA_NAMES: Final = {
    "ssl.truststore.location": "ssl.ca.location",
    "ssl.keystore.location": "ssl.certificate.location",
    "sasl.mechanisms": "sasl.mechanism",
}
_TOKEN_LIFETIME_S: Final = 3600
_LOG_LEVEL_CRITICAL: Final = 2
"""librdkafka's own lines on standard error would stand between the data; what matters is reported by callbacks."""


def configuration(settings: Settings, **properties: Any) -> dict[str, Any]:  # noqa: ANN401 (texts, numbers, callbacks)
    """Return librdkafka's configuration; ``properties``, with underscores for dots, are what the settings may replace.

    Raises:
        SettingsError: The context needs what librdkafka cannot do.
    """
    settings.check()
    if settings.address_map:
        msg = "the context has connect.address_map, which librdkafka cannot follow"
        raise SettingsError(msg, "let the brokers advertise addresses that are reachable from here")
    config: dict[str, Any] = {name.replace("_", "."): value for name, value in properties.items()}
    for name, value in settings.properties.items():
        librdkafkas = _JAVA_NAMES.get(name, name)
        if librdkafkas in LIBRDKAFKA:
            config[librdkafkas] = value
    config["bootstrap.servers"] = ",".join(str(each) for each in settings.bootstrap)
    config.setdefault("client.id", settings.client_id)
    config.setdefault("log_level", _LOG_LEVEL_CRITICAL)
    if settings.uses_sasl and settings.mechanism != "OAUTHBEARER":
        config["sasl.username"], config["sasl.password"] = settings.credentials()
    token = settings.properties.get("sasl.oauthbearer.token")
    if token:
        config["oauth_cb"] = functools.partial(_token, token)
    return config


def _token(token: str, _: object) -> tuple[str, float]:
    """Return the token of the settings and when librdkafka has to ask again."""
    return token, time.time() + _TOKEN_LIFETIME_S


def construct(kind: Callable[..., Any], config: Mapping[str, Any]) -> Any:  # noqa: ANN401 (has no types)
    """Return a producer or consumer.

    Raises:
        SettingsError: librdkafka knows no such property, or not this value.
    """
    from confluent_kafka import KafkaException  # noqa: PLC0415 (50 ms that other commands need not pay)

    try:
        return kind(config)
    except (KafkaException, TypeError, ValueError) as error:
        why = error.args[0].str() if isinstance(error, KafkaException) else str(error)
        msg = f"librdkafka refuses the settings: {why}"
        raise SettingsError(msg, "klamm context show --origin") from error


def as_error(error: Any, name: str | None = None) -> ClientError:  # noqa: ANN401 (a KafkaError, which has no types)
    """Return a KafkaError of librdkafka as ours."""
    code = int(error.code())
    if code > 0:
        return ResponseError(code, None, name=name)
    why = re.sub(r"^Local: ", "", str(error.str()))
    if error.name() in {"_TRANSPORT", "_ALL_BROKERS_DOWN", "_RESOLVE", "_TIMED_OUT", "_MSG_TIMED_OUT", "_SSL"}:
        step = "tcp"
        return UnreachableError(step, name or "the cluster", why, "klamm doctor")
    if error.name() == "_AUTHENTICATION":
        step = "sasl"
        return UnreachableError(step, name or "the cluster", why, "check sasl.username and sasl.password")
    return ClientError(str(error.name()).lstrip("_"), f"{name}: {why}" if name else why, name=name)
