"""What one connection answers: responses leave in the order of the requests, all that are ready with one call."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from time import perf_counter_ns
from typing import TYPE_CHECKING, cast

from klamm.protocol.pieces import Piece
from klamm.protocol.varint import Buffer
from klamm.server.file_sender import FileSender
from klamm.server.response_slot import ResponseSlot
from klamm.telemetry.requests import RequestStats

if TYPE_CHECKING:
    from klamm.server.listener import Listener


class Responses:
    """The responses of one connection that have not left yet. Everything runs on the node's loop.

    Args:
        listener: Whose connection it is.

    Attributes:
        answers: What was answered on the spot: it comes before every slot.
        slots: Of the requests that were not, in their order.
        last_used: When a response left last, in seconds of the loop's clock.
        sends_files: Whether ranges of files can be sent here.
        last_error_code: Of the last request that failed.
        error_count: How many did.
        sent_size: Bytes handed to the transport.
    """

    __slots__ = (
        "_files",
        "_listener",
        "_transport",
        "answers",
        "error_count",
        "last_error_code",
        "last_used",
        "sends_files",
        "sent_size",
        "slots",
    )

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._transport: asyncio.Transport | None = None
        self._files: FileSender | None = None
        self.answers: list[Piece] = []
        self.slots: deque[ResponseSlot] = deque()
        self.last_used = 0.0
        self.sends_files = False
        self.last_error_code = 0
        self.error_count = 0
        self.sent_size = 0

    def open(self, transport: asyncio.Transport) -> None:
        """Send to ``transport`` from now on."""
        self._transport = transport
        self._files = FileSender(transport)
        self.sends_files = self._files.possible
        self.last_used = self._listener.loop.time()

    def close(self) -> None:
        """Forget everything: nobody listens any more."""
        self._transport = None
        if self._files is not None:
            self._files.close()
        self.slots.clear()
        self.answers.clear()

    def answer(self, stats: RequestStats, buffers: Sequence[Piece], elapsed_ns: int, now_ns: int) -> None:
        """Take the response to a request that was answered on the spot: no slot is before it."""
        size = len(buffers[0]) if len(buffers) == 1 else sum(map(len, buffers))
        self.last_used = now_ns / 1e9
        self.sent_size += size
        stats.sent_size += size
        stats.busy_ns += elapsed_ns
        stats.buckets[elapsed_ns.bit_length()] += 1
        self.answers += buffers

    def send(self) -> None:
        """Write the responses at the head of the order, all in one call.

        Raises:
            OSError: The connection broke, or the disk refused what was to be sent: no more can be.
        """
        slots, transport, out = self.slots, self._transport, self.answers
        if not (out or (slots and slots[0].done)) or transport is None:
            return
        self.answers = []
        files = False
        if slots and slots[0].done:
            files = self._take_ready(slots, out)
        if files:
            assert self._files is not None, "only an open connection sends"
            self._files.send(out)
        elif len(out) == 1:
            transport.write(cast("Buffer", out[0]))
        elif out:
            transport.writelines(cast("list[Buffer]", out))

    def _take_ready(self, slots: deque[ResponseSlot], out: list[Piece]) -> bool:
        """Move what is ready from ``slots`` to ``out`` and count it; return whether there are ranges of files in it."""
        files = False
        now_ns = perf_counter_ns()
        while slots and slots[0].done:
            slot = slots.popleft()
            stats, buffers = slot.stats, slot.buffers
            elapsed_ns = now_ns - slot.received_ns
            stats.busy_ns += elapsed_ns
            stats.waited_ns += slot.waited_ns
            if stats.long_poll:
                elapsed_ns -= slot.waited_ns
            stats.buckets[elapsed_ns.bit_length()] += 1
            if buffers is not None:
                size = len(buffers[0]) if len(buffers) == 1 else sum(map(len, buffers))
                stats.sent_size += size
                self.sent_size += size
                out += buffers
                files |= slot.has_files
            if slot.error_code or elapsed_ns > stats.slow_ns:
                self._note(slot, now_ns)
        self.last_used = now_ns / 1e9
        return files

    def _note(self, slot: ResponseSlot, sent_ns: int) -> None:
        """Note a request that failed or was slow, for telemetry."""
        if slot.error_code:
            self.error_count += 1
            self.last_error_code = slot.error_code
        journal = self._listener.journal
        if journal is not None:
            journal.add(slot.note(self._listener.apis[slot.header.api_key].name, sent_ns))
