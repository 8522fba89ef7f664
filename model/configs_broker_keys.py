"""All broker configs in one table: every key that klamm works by, and those that clients and operators look for."""

from __future__ import annotations

from typing import Final

from klamm.model.configs import ConfigKey, Synonym, table
from klamm.model.configs_broker_coordinators import COORDINATORS_CONFIGS
from klamm.model.configs_broker_log import LOG_CONFIGS
from klamm.model.configs_broker_node import NODE_CONFIGS

_OTHER_NAMES: Final = {"node.id": ("broker.id",), "broker.id": ("node.id",), "log.dirs": ("log.dir",)}


def _with_synonyms(key: ConfigKey) -> ConfigKey:
    names = (key.name, *_OTHER_NAMES.get(key.name, ()))
    return key._replace(synonyms=tuple(Synonym(name) for name in names))


BROKER_CONFIGS: Final = table(_with_synonyms(key) for key in [*NODE_CONFIGS, *LOG_CONFIGS, *COORDINATORS_CONFIGS])
