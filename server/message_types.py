"""The classes of an API's newest messages, found when they are first needed."""

from __future__ import annotations

import sys
from functools import cache
from types import ModuleType
from typing import Any

from klamm.protocol.apis import API_VERSIONS, ApiKey
from klamm.protocol.kio_loader import load_request_schema, load_response_schema
from klamm.protocol.messages import request_class, response_class


class MessageTypes:
    """The newest message of an API and its nested classes, by name: our own shapes first, then kio's."""

    def __init__(self, modules: tuple[ModuleType, ...]) -> None:
        self._modules = modules

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 (generated classes are known only at run time)
        """Return a class, and keep it for the next time."""
        for module in self._modules:
            found = getattr(module, name, None)
            if found is not None:
                setattr(self, name, found)
                return found
        msg = f"no class {name} in {[module.__name__ for module in self._modules]}"
        raise AttributeError(msg)


@cache
def response_types(key: ApiKey) -> MessageTypes:
    """Return the classes of the newest response of an API."""
    generated = load_response_schema(key, API_VERSIONS[key].max)
    return MessageTypes((sys.modules[response_class(key).__module__], sys.modules[generated.__module__]))


@cache
def request_types(key: ApiKey) -> MessageTypes:
    """Return the classes of the newest request of an API."""
    generated = load_request_schema(key, API_VERSIONS[key].max)
    return MessageTypes((sys.modules[request_class(key).__module__], sys.modules[generated.__module__]))
