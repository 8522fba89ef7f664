"""What the broker counts of each API: kept on the hot path, so plain integers on one object."""

from __future__ import annotations


class RequestStats:
    """Counters of one API since the broker started; written and read on the node's loop.

    Attributes:
        count: Requests received.
        errors: Requests answered with a top-level or partition error.
        received_size: Bytes received, length prefixes included.
        busy_ns: Nanoseconds from a request's arrival to its response being handed to the transport, summed up.
    """

    __slots__ = ("busy_ns", "count", "errors", "received_size")

    def __init__(self) -> None:
        self.count = 0
        self.errors = 0
        self.received_size = 0
        self.busy_ns = 0
