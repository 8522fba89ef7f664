"""What the broker counts of each API: kept on the hot path, so plain integers on one object."""

from __future__ import annotations

from typing import Final

BUCKETS: Final = 64
"""Buckets of durations: one for each power of two nanoseconds, more than any clock can say."""

NEVER_SLOW: Final = 2**63 - 1


class RequestStats:
    """Counters of one API since the broker started; written and read on the node's loop.

    Attributes:
        count: Requests received.
        errors: Requests answered with a top-level or partition error.
        received_size: Bytes received, length prefixes included.
        sent_size: Bytes of responses handed to transports.
        read_ns: Nanoseconds from the first part of a request to its last, summed up; of those that came in parts.
        busy_ns: Nanoseconds from a request's arrival to its response being handed to the transport, summed up.
        waited_ns: Those of them that requests waited that were not answered in the turn they came in: for a flush, for
            replicas, for more to read, for another actor.
        write_ns: Nanoseconds that clients let more than the transport's limit wait to be taken, after asking for this.
        buckets: How many took less than 2**index nanoseconds and no less than half of that; a Fetch without its wait.
        long_poll: Whether waiting is what the API is for.
        slow_ns: A request that takes longer is noted.
    """

    __slots__ = (
        "buckets",
        "busy_ns",
        "count",
        "errors",
        "long_poll",
        "read_ns",
        "received_size",
        "sent_size",
        "slow_ns",
        "waited_ns",
        "write_ns",
    )

    def __init__(self) -> None:
        self.count = 0
        self.errors = 0
        self.received_size = 0
        self.sent_size = 0
        self.read_ns = 0
        self.busy_ns = 0
        self.waited_ns = 0
        self.write_ns = 0
        self.buckets = [0] * BUCKETS
        self.long_poll = False
        self.slow_ns = NEVER_SLOW
