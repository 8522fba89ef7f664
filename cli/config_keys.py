"""The names of configs, for what is said of one that a broker does not know.

A broker says what it knows, and a newer one may know more than is written here: so nothing is refused by this list.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from klamm.cli.names import mistaken
from klamm.cli.parser import suggestion
from klamm.client.errors import ClientError

if TYPE_CHECKING:
    from klamm.cli.run import Run


def explain_keys(error: ClientError, kind: str, keys: Iterable[str], more: Iterable[str] = ()) -> ClientError:
    """Return a broker's refusal with the names that are near those of ``keys`` that neither Kafka nor ``more`` has."""
    if error.code != "INVALID_CONFIG":
        return error
    known = {*known_keys(kind), *more}
    wrong = [key for key in dict.fromkeys(keys) if key not in known]
    for key in wrong:
        hint = suggestion(key, known)
        if hint not in error.message:
            error.message = f"{error.message.rstrip('.')}.{hint}"
    return mistaken(error) if wrong else error


def doubt_keys(run: Run, kind: str, keys: Iterable[str], more: Iterable[str] = ()) -> None:
    """Say of a broker's configs which look mistyped: Kafka's brokers keep keys that they do not know, for plugins."""
    if kind != "broker":
        return
    known = {*known_keys(kind), *more}
    for key in dict.fromkeys(keys):
        hint = "" if key in known else suggestion(key, known)
        if hint:
            run.note(f"note: brokers take {key!r}, but Kafka has no such config.{hint}")


def known_keys(kind: str) -> Collection[str]:
    """Return the names that resources of a kind have configs by, as far as klamm knows them."""
    match kind:
        case "topic":
            from klamm.model.configs_topic_keys import TOPIC_CONFIGS

            return TOPIC_CONFIGS.keys()
        case "broker":
            from klamm.model.configs_broker_keys import BROKER_CONFIGS
            from klamm.model.configs_unused import KAFKA_KEYS_UNUSED

            return {*BROKER_CONFIGS, *KAFKA_KEYS_UNUSED}
        case "group":
            from klamm.model.configs_resource import GROUP_CONFIGS

            return GROUP_CONFIGS.keys()
        case "client-metrics":
            from klamm.model.configs_resource import CLIENT_METRICS_CONFIGS

            return CLIENT_METRICS_CONFIGS.keys()
        case _:
            return ()
