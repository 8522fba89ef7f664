"""Import ``kio`` without what its import drags in.

``kio.static._phantom`` imports ``hypothesis`` wherever that is installed, to register test strategies: 200 ms at every
start, for nothing. That one module is executed here with an ``import`` that does not find ``hypothesis``. Only its own
namespace sees this, so nothing changes for other threads or for a program that embeds us. Where ``hypothesis`` is
loaded already the import costs nothing, and ``kio`` is left to itself.

Whoever imports a module of ``kio`` imports this one first; it does its work once, when it is imported.
"""

from __future__ import annotations

import builtins
import importlib
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Final

_PHANTOM: Final = "kio.static._phantom"


def _import_without_hypothesis(
    name: str,
    global_names: Mapping[str, object] | None = None,
    local_names: Mapping[str, object] | None = None,
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> ModuleType:
    if name.partition(".")[0] == "hypothesis":
        msg = "klamm imports kio without hypothesis"
        raise ImportError(msg)
    return __import__(name, global_names, local_names, fromlist or (), level)


def _load_phantom() -> None:
    """Put ``kio.static._phantom`` into ``sys.modules``, made without ``hypothesis``."""
    if _PHANTOM in sys.modules or "hypothesis" in sys.modules:
        return
    spec = find_spec(_PHANTOM)
    if spec is None or spec.loader is None:  # A later kio without this module has nothing to be kept from.
        return
    module = module_from_spec(spec)
    vars(module)["__builtins__"] = {**vars(builtins), "__import__": _import_without_hypothesis}
    sys.modules[_PHANTOM] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[_PHANTOM]
        raise
    parent = importlib.import_module("kio.static")
    vars(parent)["_phantom"] = module


_load_phantom()

from kio.index import load_request_schema, load_response_schema  # noqa: E402  # only now
from kio.schema.errors import ErrorCode as WireError  # noqa: E402
from kio.serial import entity_reader, entity_writer  # noqa: E402
from kio.serial.errors import SerialError  # noqa: E402

__all__ = (
    "SerialError",
    "WireError",
    "entity_reader",
    "entity_writer",
    "load_request_schema",
    "load_response_schema",
)
