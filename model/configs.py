"""Configs: what a key is, how its text becomes a value, and which of several texts is in effect.

Kafka's key names, types, defaults and ranges (Apache Kafka 4.3, ``DescribeConfigs`` and the refusals of
``IncrementalAlterConfigs``). The keys themselves stand in ``configs_topic_keys.py``,
``configs_broker_keys.py`` and ``configs_resource.py``; this module is the grammar they share.

A value can be set in several layers. The first that has it wins: the resource's own override, the broker's dynamic
config, the cluster-wide dynamic default, ``server.properties``, the default.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from enum import Enum, IntEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from klamm.model.errors import InvalidConfigError

LONG_MAX: Final = 2**63 - 1

ConfigValue = bool | int | float | str | tuple[str, ...] | None
NO_CONFIGS: Final[Mapping[str, str]] = MappingProxyType({})


class ConfigType(IntEnum):
    """A config's type, with its code on the wire (KIP-569)."""

    UNKNOWN = 0
    BOOLEAN = 1
    STRING = 2
    INT = 3
    SHORT = 4
    LONG = 5
    DOUBLE = 6
    LIST = 7
    CLASS = 8
    PASSWORD = 9


class ConfigSource(IntEnum):
    """The layer a value comes from, with its code on the wire (KIP-226)."""

    UNKNOWN = 0
    DYNAMIC_TOPIC = 1
    DYNAMIC_BROKER = 2
    DYNAMIC_DEFAULT_BROKER = 3
    STATIC_BROKER = 4
    DEFAULT = 5
    DYNAMIC_BROKER_LOGGER = 6
    DYNAMIC_CLIENT_METRICS = 7
    DYNAMIC_GROUP = 8


class ResourceType(IntEnum):
    """What a config belongs to, with its code on the wire."""

    UNKNOWN = 0
    TOPIC = 2
    BROKER = 4
    BROKER_LOGGER = 8
    CLIENT_METRICS = 16
    GROUP = 32


class ConfigResource(NamedTuple):
    """One thing that has configs: a topic, a broker (``""``: every broker), a group, a metrics subscription."""

    type: ResourceType
    name: str


class UpdateMode(Enum):
    """Whether a config can change while the broker runs (KIP-226)."""

    READ_ONLY = "read-only"
    DYNAMIC = "dynamic"


class Synonym(NamedTuple):
    """Another key that sets this one; its number counts ``factor`` of this key's units."""

    name: str
    factor: int = 1


class ConfigKey(NamedTuple):
    """One config key.

    ``minimum`` and ``maximum`` are inclusive; ``exception`` is one more number allowed outside of them; ``pattern`` is
    what each text of a list must match. ``default`` is text, as a client sees it, or None where there is none.
    """

    name: str
    type: ConfigType
    default: str | None
    documentation: str
    minimum: float | None = None
    maximum: float | None = None
    exception: int | None = None
    choices: tuple[str, ...] = ()
    pattern: str | None = None
    synonyms: tuple[Synonym, ...] = ()
    update_mode: UpdateMode = UpdateMode.READ_ONLY

    @property
    def unused(self) -> bool:
        """Whether klamm takes it and does nothing with it; its documentation then says "Accepted"."""
        return "Accepted" in self.documentation

    @property
    def sensitive(self) -> bool:
        """Whether a client never gets to see the value."""
        return self.type is ConfigType.PASSWORD

    def parse(self, text: str) -> ConfigValue:
        """Return the value that ``text`` means.

        Raises:
            InvalidConfigError: The text is no such value, or out of range. Worded as Apache Kafka words it.
        """
        value = _PARSERS[self.type](self, text)
        if isinstance(value, tuple):
            self._check_list(value)
        elif isinstance(value, str):
            self._check_choice(value)
        elif value is not None and not isinstance(value, bool):
            self._check_range(value)
        return value

    def refusal(self, value: object, reason: str) -> InvalidConfigError:
        """Return the error that says that this key cannot have this value, and why."""
        return InvalidConfigError(f"Invalid value {value} for configuration {self.name}: {reason}")

    def _check_range(self, value: float) -> None:
        if value == self.exception:
            return
        low, high = self.minimum, self.maximum
        if self.exception is not None and not ((low is None or value >= low) and (high is None or value <= high)):
            raise self.refusal(value, f"Value must be between {low} and {high} or equal to {self.exception}")
        if low is not None and value < low:
            raise self.refusal(value, f"Value must be at least {low}")
        if high is not None and value > high:
            raise self.refusal(value, f"Value must be no more than {high}")

    def _check_choice(self, value: str) -> None:
        if self.choices and value not in self.choices:
            raise self.refusal(value, f"String must be one of: {', '.join(self.choices)}")

    def _check_list(self, values: tuple[str, ...]) -> None:
        if self.choices and "" in values:
            msg = f"Configuration '{self.name}' values must not be empty."
            raise InvalidConfigError(msg)
        for value in values:
            self._check_choice(value)
        if self.pattern and values != ("*",) and not all(re.fullmatch(self.pattern, value) for value in values):
            reason = (
                f"{self.name} must be the literal '*' or a list of replicas in the following format: "
                "[partitionId]:[brokerId],[partitionId]:[brokerId],..."
            )
            listed = f"[{', '.join(values)}]"
            raise self.refusal(listed, reason)


class ConfigLayers(NamedTuple):
    """The broker-wide texts, highest precedence first."""

    dynamic_broker: Mapping[str, str] = NO_CONFIGS
    dynamic_default: Mapping[str, str] = NO_CONFIGS
    static: Mapping[str, str] = NO_CONFIGS

    def with_sources(self) -> tuple[tuple[ConfigSource, Mapping[str, str]], ...]:
        """Return each layer with the source that a client is told."""
        return (
            (ConfigSource.DYNAMIC_BROKER, self.dynamic_broker),
            (ConfigSource.DYNAMIC_DEFAULT_BROKER, self.dynamic_default),
            (ConfigSource.STATIC_BROKER, self.static),
        )


class ConfigEntry(NamedTuple):
    """A text that sets a key, and where it stands."""

    name: str
    value: str | None
    source: ConfigSource


NO_LAYERS: Final = ConfigLayers()


def text_in_effect(key: ConfigKey, overrides: Mapping[str, str], layers: ConfigLayers) -> str | None:
    """Return the text that decides ``key``, in the key's own units, or None if it has neither value nor default."""
    text = overrides.get(key.name)
    if text is not None:
        return text
    if key.synonyms:
        for layer in layers:
            if layer:
                for synonym in key.synonyms:
                    text = layer.get(synonym.name)
                    if text is not None:
                        return in_units(text, synonym.factor)
    return key.default


def entries(
    key: ConfigKey, overrides: Mapping[str, str], override_source: ConfigSource, layers: ConfigLayers
) -> list[ConfigEntry]:
    """Return every text that sets ``key``, in the key's own units, the one in effect first, the default last."""
    found: list[ConfigEntry] = []
    if key.name in overrides:
        found.append(ConfigEntry(key.name, overrides[key.name], override_source))
    for source, layer in layers.with_sources():
        found += [
            ConfigEntry(synonym.name, in_units(layer[synonym.name], synonym.factor), source)
            for synonym in key.synonyms
            if synonym.name in layer
        ]
    if key.default is not None:
        name = key.synonyms[0].name if key.synonyms else key.name
        found.append(ConfigEntry(name, key.default, ConfigSource.DEFAULT))
    return found


def in_units(text: str, factor: int) -> str:
    """Return a number's text times ``factor``; a negative number means "no limit" in every unit and stays."""
    if factor == 1:
        return text
    number = int(text)
    return text if number < 0 else str(number * factor)


def table(keys: Iterable[ConfigKey]) -> Mapping[str, ConfigKey]:
    """Return the keys by name, read-only."""
    return MappingProxyType({key.name: key for key in keys})


def nearest(name: str, names: Iterable[str]) -> str | None:
    """Return the name most like ``name``, or None if none is alike."""
    found = difflib.get_close_matches(name, list(names), n=1, cutoff=0.6)
    return found[0] if found else None


def _parse_boolean(key: ConfigKey, text: str) -> ConfigValue:
    lowered = text.strip().lower()
    if lowered not in {"true", "false"}:
        raise key.refusal(text, "Expected value to be either true or false")
    return lowered == "true"


def _parse_integer(key: ConfigKey, text: str) -> ConfigValue:
    stripped = text.strip()
    bound = _INTEGER_BOUNDS[key.type]
    if _INTEGER.fullmatch(stripped) is None or not -bound <= int(stripped) < bound:
        raise key.refusal(stripped, f"Not a number of type {key.type.name}")
    return int(stripped)


def _parse_double(key: ConfigKey, text: str) -> ConfigValue:
    try:
        return float(text.strip())
    except ValueError:
        raise key.refusal(text.strip(), "Not a number of type DOUBLE") from None


def _parse_string(key: ConfigKey, text: str) -> ConfigValue:
    del key
    return text.strip()


def _parse_list(key: ConfigKey, text: str) -> ConfigValue:
    del key
    return tuple(dict.fromkeys(part.strip() for part in text.split(","))) if text.strip() else ()


_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,20}")  # 20 characters hold every 64-bit integer
_INTEGER_BOUNDS: Final = {ConfigType.SHORT: 2**15, ConfigType.INT: 2**31, ConfigType.LONG: 2**63}
_PARSERS: Final = {
    ConfigType.UNKNOWN: _parse_string,
    ConfigType.BOOLEAN: _parse_boolean,
    ConfigType.STRING: _parse_string,
    ConfigType.INT: _parse_integer,
    ConfigType.SHORT: _parse_integer,
    ConfigType.LONG: _parse_integer,
    ConfigType.DOUBLE: _parse_double,
    ConfigType.LIST: _parse_list,
    ConfigType.CLASS: _parse_string,
    ConfigType.PASSWORD: _parse_string,
}
