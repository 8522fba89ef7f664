"""CRC-32C of any buffer, without a copy.

Record batches carry the Castagnoli CRC (RFC 3720, appendix B.4). The ``crc32c`` package has it in C; importing that
package the usual way also imports ``importlib.metadata`` and ``argparse`` (its command line), which costs more than
everything else this folder imports. So only its extension module is loaded here, and the package as a whole when that
is not to be found.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from typing import cast

Buffer = bytes | bytearray | memoryview


def _load() -> Callable[[Buffer], int]:
    package = find_spec("crc32c")
    locations = None if package is None else package.submodule_search_locations
    spec = None if locations is None else PathFinder.find_spec("crc32c._crc32c", list(locations))
    if spec is None or spec.loader is None:
        from crc32c import crc32c as packaged  # noqa: PLC0415  # only where the layout of the package has changed

        return cast("Callable[[Buffer], int]", packaged)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return cast("Callable[[Buffer], int]", module.crc32c)


#: The CRC-32C of a buffer, as an unsigned 32-bit integer. It releases the interpreter lock for large buffers.
crc32c = _load()
