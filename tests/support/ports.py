"""Free TCP ports for servers that tests start.

They lie below Linux' range for outgoing connections (32768 and up), so none takes one between choosing and use.
Parallel test workers choose from ranges of their own, and each goes round in its range: a port comes again only after
all the others, so that two servers that are prepared before the first one listens have different ones.
"""

import itertools
import os
import random
import socket

_PORT_MIN = 23_000
_PORTS_PER_WORKER = 500
_WORKERS_MAX = 16  # more workers than this share ranges

_positions = itertools.count(random.randrange(_PORTS_PER_WORKER))


def free_port(count: int = 1) -> int:
    """Return the first of ``count`` consecutive ports on 127.0.0.1 that nothing listens on."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _WORKERS_MAX
    first = _PORT_MIN + worker * _PORTS_PER_WORKER
    for _ in range(_PORTS_PER_WORKER):
        port = first + next(_positions) % _PORTS_PER_WORKER
        if port + count <= first + _PORTS_PER_WORKER and all(_is_free(port + step) for step in range(count)):
            for _ in range(count - 1):
                next(_positions)
            return port
    message = f"no {count} free ports in a row in {first}..{first + _PORTS_PER_WORKER}"
    raise RuntimeError(message)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: TIME_WAIT is no hindrance
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
