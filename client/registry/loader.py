"""Schemas for decoding: each is asked for once, made ready once, and kept. Decoding itself never waits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Final

from klamm.client.decoding.framing import SchemaName
from klamm.client.decoding.plain import NotDecodableError
from klamm.client.decoding.schemas import ReadySchema, ready
from klamm.client.errors import ClientError, UnreachableError
from klamm.client.registry.http import RegistryError
from klamm.client.registry.registry import Registry

_UNKNOWN_MAX: Final = 200
"""Names that the registry does not know, after which no more are asked for: bytes that only look like schema ids."""
_KEPT_MAX: Final = 2_000
_SILENCE_S: Final = 15.0
"""How long a registry that did not answer is not asked again."""
_AT_ONCE: Final = 8


class RegistrySchemas:
    """The schemas of one registry. :meth:`load` asks; :meth:`get` does not."""

    def __init__(self, registry: Registry) -> None:
        """Ask nothing yet."""
        self._registry = registry
        self._found: dict[SchemaName, ReadySchema | str] = {}
        self._unknown = 0
        self._silent_until = 0.0
        self._silence = ""

    def get(self, name: SchemaName) -> ReadySchema | str | None:
        """Return the schema, or why it cannot be had, or None if it has not been loaded."""
        found = self._found.get(name)
        if found is None and self._silence and time.monotonic() < self._silent_until:
            return self._silence
        return found

    async def load(self, names: Iterable[SchemaName]) -> None:
        """Load those that are not there yet. Never raises what a registry can cause: :meth:`get` says it."""
        missing = [each for each in dict.fromkeys(names) if self.get(each) is None]
        for start in range(0, len(missing), _AT_ONCE):
            await asyncio.gather(*(self._load(each) for each in missing[start : start + _AT_ONCE]))

    async def _load(self, name: SchemaName) -> None:
        if self.get(name) is not None:
            return
        if self._unknown >= _UNKNOWN_MAX or len(self._found) >= _KEPT_MAX:
            self._found[name] = f"{name} was not looked up: {len(self._found)} others were already"
            return
        registry = self._registry
        try:
            schema = (
                await registry.by_guid(name.guid)
                if name.guid is not None
                else await registry.by_id(name.schema_id or 0)
            )
            text = await registry.whole(schema)
            self._found[name] = await asyncio.to_thread(ready, text)
        except UnreachableError as error:
            self._silence, self._silent_until = error.message, time.monotonic() + _SILENCE_S
        except RegistryError as error:
            missing = error.status == 404  # noqa: PLR2004 (HTTP's)
            self._unknown += missing
            self._found[name] = f"{name} is not in the registry" if missing else f"{name}: {error.message}"
        except (ClientError, NotDecodableError, ValueError, TypeError, KeyError, AttributeError) as error:
            # What answers may be no registry at all: JSON of any shape.
            self._found[name] = f"{name}: {error}"
