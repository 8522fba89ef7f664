"""Names of threads for the system's tools: ``top -H`` and ``ps -L`` show whose work takes the time."""

import contextlib
from pathlib import Path
from typing import Final

_COMM: Final = Path("/proc/thread-self/comm")
SIZE_MAX: Final = 15
"""What Linux keeps of a name, in bytes (``TASK_COMM_LEN``)."""


def name_thread(name: str) -> None:
    """Name the calling thread, on Linux; elsewhere nothing happens."""
    with contextlib.suppress(OSError):
        _COMM.write_text(name[:SIZE_MAX])
