"""Import ``kio`` without what its import drags in, and give the few names of it that the codec needs.

Two of its modules import far more than they use: ``kio.static._phantom`` takes ``hypothesis`` wherever that is
installed, to register test strategies (200 ms at every start), and ``kio.serial.writers`` takes ``asyncio`` for a type
alias (40 ms, with ``ssl`` and ``concurrent.futures`` behind it). While ``kio`` is imported here, a finder gives those
two modules an ``import`` of their own that finds something smaller. Only their namespaces see it: other modules, other
threads and a program that embeds us import as ever. What is loaded already costs nothing and is left as it is.

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


def _asyncio_stand_in() -> ModuleType:
    """Return a module with the one name that ``kio.serial.writers`` takes from ``asyncio``, for its alias."""
    stand_in = ModuleType("asyncio")
    vars(stand_in)["StreamWriter"] = type("StreamWriter", (), {})
    return stand_in


#: By module of kio: what it imports, and what it finds in its place; None for "not installed".
_INSTEAD: Final[dict[str, tuple[str, ModuleType | None]]] = {
    "kio.static._phantom": ("hypothesis", None),
    "kio.serial.writers": ("asyncio", _asyncio_stand_in()),
}


class _Loader:
    """Executes a module as its own loader does, except that one import of it finds something else."""

    def __init__(self, loader: Loader, imported: str, instead: ModuleType | None) -> None:
        self._loader = loader
        self._imported = imported
        self._instead = instead

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        vars(module)["__builtins__"] = {**vars(builtins), "__import__": self._import}
        self._loader.exec_module(module)

    def _import(
        self,
        name: str,
        global_names: Mapping[str, object] | None = None,
        local_names: Mapping[str, object] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        if level or name.partition(".")[0] != self._imported:
            return __import__(name, global_names, local_names, fromlist or (), level)
        if self._instead is None:
            msg = f"klamm imports kio without {self._imported}"
            raise ImportError(msg)
        return self._instead


class _Finder:
    """Finds the modules of :data:`_INSTEAD` and no other."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in _INSTEAD:
            return None
        imported, instead = _INSTEAD[fullname]
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None and imported not in sys.modules:
            spec.loader = cast("Loader", _Loader(spec.loader, imported, instead))
        return spec


_finder = _Finder()
sys.meta_path.insert(0, _finder)
try:
    from kio.index import load_request_schema, load_response_schema
    from kio.schema.errors import ErrorCode as WireError
    from kio.serial import entity_reader, entity_writer
    from kio.serial.errors import SerialError
finally:
    sys.meta_path.remove(_finder)

__all__ = (
    "SerialError",
    "WireError",
    "entity_reader",
    "entity_writer",
    "load_request_schema",
    "load_response_schema",
)
