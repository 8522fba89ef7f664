"""Import ``kio`` without ``hypothesis``, and give the few names of it that the codec needs.

``kio.static._phantom`` takes ``hypothesis`` wherever that is installed, to register test strategies: 200 ms at every
start, for nothing. While ``kio`` is imported here, a finder gives that one module an ``import`` of its own that does
not find it. Only its namespace sees this: other modules, other threads and a program that embeds us import as ever.
Where ``hypothesis`` is loaded already it costs nothing, and ``kio`` is left to itself.

Whoever imports a module of ``kio`` imports this one first; it does its work once, when it is imported.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from importlib.abc import Loader  # at run time it costs another 20 ms


_MODULE: Final = "kio.static._phantom"
_NOT_FOUND: Final = "hypothesis"


class _Loader:
    """Executes a module as its own loader does, except that it does not find ``hypothesis``."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        vars(module)["__builtins__"] = {**vars(builtins), "__import__": _import}
        self._loader.exec_module(module)


class _Finder:
    """Finds :data:`_MODULE` and no other."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _MODULE or _NOT_FOUND in sys.modules:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = cast("Loader", _Loader(spec.loader))
        return spec


def _import(
    name: str,
    global_names: Mapping[str, object] | None = None,
    local_names: Mapping[str, object] | None = None,
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> ModuleType:
    if not level and name.partition(".")[0] == _NOT_FOUND:
        msg = f"klamm imports kio without {_NOT_FOUND}"
        raise ImportError(msg)
    return __import__(name, global_names, local_names, fromlist or (), level)


_finder = _Finder()
sys.meta_path.insert(0, _finder)
try:
    from kio.index import load_request_schema, load_response_schema
    from kio.schema.errors import ErrorCode as WireError
finally:
    sys.meta_path.remove(_finder)

__all__ = (
    "WireError",
    "load_request_schema",
    "load_response_schema",
)
