"""One client connection: bytes in, requests out to their handlers, responses back in the order of the requests.

Life of a read: the kernel fills :meth:`Connection.get_buffer`; :meth:`Connection.buffer_updated` cuts frames and
dispatches each; then the mailboxes that this filled are drained in the same turn (``run_ready``: that is the group
commit), and what got answered is written with one call.

Limits, and what happens at them:

- a frame over ``socket.request.max.bytes``, or one that cannot be a request: this connection is closed, with one log
  line;
- :data:`REQUESTS_MAX` unanswered requests or :data:`PINNED_SIZE_MAX` received bytes in use: reading pauses;
- a peer that doesn't read its responses: reading pauses at the transport's high-water mark, so that at most the
  responses to what was read already are held;
- handlers that wait run one at a time, as in Kafka: reading pauses meanwhile. Produce and Fetch do not wait, nor does
  what a group's coordinator answers by itself (``klamm.server.apis.AnsweredSlot``).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Coroutine
from struct import Struct
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, Final, cast

from klamm.protocol.errors import ProtocolError
from klamm.protocol.header import RequestHeader, parse_request_header
from klamm.protocol.pieces import Piece
from klamm.protocol.varint import Buffer
from klamm.server.file_sender import FileSender
from klamm.server.receive_buffer import IDLE_SIZE, SIZE_MIN, SPARE_SIZE_MAX, ReceiveBuffer
from klamm.server.repeated_request import KnownRequests, Repeated, RepeatedAppend, correlation_id_in
from klamm.server.requests import RequestContext
from klamm.server.response_slot import ResponseSlot
from klamm.telemetry.journal import Fetched
from klamm.telemetry.requests import RequestStats

if TYPE_CHECKING:
    from klamm.server.apis import Api
    from klamm.server.listener import Listener

logger = logging.getLogger(__name__)

REQUESTS_MAX: Final = 512
"""Unanswered requests of one connection. librdkafka sends without limit, so this is what bounds it."""

PINNED_SIZE_MAX: Final = 32 * 1024 * 1024
"""Bytes of one connection's requests in use by partitions (they are unpinned once written)."""

WRITE_HIGH_WATER: Final = 1024 * 1024
"""Unsent response bytes at which reading pauses."""

LARGE_FRAME: Final = 128 * 1024
"""A frame of this size is read up to its own end, so that nothing behind it has to be moved."""

NOT_HANDLED: Final = "its request could not be handled: see the error above"
LENGTH_SIZE: Final = 4
_LENGTH: Final = Struct(">i")


class Connection(asyncio.BufferedProtocol):
    """One client. Everything runs on the node's loop."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._transport: asyncio.Transport | None = None
        self._buffer = ReceiveBuffer(IDLE_SIZE)
        self._spare: ReceiveBuffer | None = None
        self._start = 0
        self._end = 0
        self._wanted = 0
        self._partial_ns = 0
        self._answers: list[Piece] = []  # of requests that were answered on the spot: they come before every slot
        self._slots: deque[ResponseSlot] = deque()
        self.known = KnownRequests()
        self._pinned_size = 0
        self._reading = False
        self._paused = False
        self._write_paused_ns = 0  # 0: the peer takes what we send
        self._task: asyncio.Task[None] | None = None
        self._files: FileSender | None = None
        self.sends_files = False
        self.closing = False
        self.client_host = ""
        self.client_port = 0
        self.client_software = ("", "")
        self.client_id: str | None = None
        self.client_instance_id: str | None = None
        self.fetched: Fetched | None = None  # the journal's note of the last responses with records
        self.connected_ns = perf_counter_ns()
        self.last_used = 0.0
        self.last_api = ""
        self.last_error_code = 0
        self.request_count = 0
        self.error_count = 0
        self.received_size = 0
        self.sent_size = 0

    # --- transport ------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport (asyncio)."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=WRITE_HIGH_WATER)
        self._files = FileSender(self._transport)
        self.sends_files = self._files.possible
        peer = transport.get_extra_info("peername") or ("", 0)
        self.client_host, self.client_port = str(peer[0]), int(peer[1])
        self.last_used = self._listener.loop.time()
        self._listener.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget everything; whoever still answers is not heard (asyncio)."""
        self.closing = True
        self._transport = None
        self._count_write()
        if self._files is not None:
            self._files.close()
        if self._task is not None:
            self._task.cancel()
        self._slots.clear()
        self._answers.clear()
        self.known.clear()
        self._buffer, self._spare = ReceiveBuffer(0), None  # cyclic garbage is collected rarely: free what is large now
        self._listener.closed(self, exc)

    def pause_writing(self) -> None:
        """Stop reading: the peer doesn't take what we send (asyncio)."""
        self._write_paused_ns = perf_counter_ns()
        self._pause()

    def resume_writing(self) -> None:
        """Go on reading (asyncio)."""
        self._count_write()
        self._resume()

    def _count_write(self) -> None:
        began_ns, self._write_paused_ns = self._write_paused_ns, 0
        if began_ns:
            stats = next(api.stats for api in self._listener.apis.values() if api.name == self.last_api)
            stats.write_ns += perf_counter_ns() - began_ns

    def close(self) -> None:
        """Close once everything sent is out."""
        self.closing = True
        if self._transport is not None:
            self._transport.close()

    def abort(self, reason: str) -> None:
        """Close now, with one log line that says why."""
        if not self.closing:
            logger.warning(
                "closing a connection: %s", reason, extra={"client": f"{self.client_host}:{self.client_port}"}
            )
        self.closing = True
        if self._transport is not None:
            self._transport.abort()

    @property
    def idle(self) -> bool:
        """Whether no request waits for an answer."""
        return not self._slots and self._task is None

    @property
    def unanswered(self) -> int:
        """How many requests wait for an answer."""
        return len(self._slots)

    # --- reading --------------------------------------------------------------------------------------------------

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 (asyncio's signature)
        """Return where the next bytes go: for a large frame, exactly up to its end (asyncio)."""
        buffer, wanted = self._buffer, self._wanted
        if self._start == self._end and not buffer.pins:
            self._start = self._end = 0
        if self._start + wanted > buffer.capacity or self._end == buffer.capacity:
            buffer = self._move(max(SIZE_MIN, wanted))
        if wanted > LARGE_FRAME:
            return buffer.view[self._end : self._start + wanted]
        return buffer.view[self._end :]

    def _move(self, capacity: int) -> ReceiveBuffer:
        """Take another buffer, and the beginning of the frame that does not fit into this one."""
        old, new = self._buffer, self._spare
        if new is None or new.pins or new.capacity < capacity:
            new = ReceiveBuffer(capacity)
        rest = self._end - self._start
        new.view[:rest] = old.view[self._start : self._end]
        self._spare = old if SIZE_MIN <= old.capacity <= SPARE_SIZE_MAX else None
        self._buffer, self._start, self._end = new, 0, rest
        return new

    def buffer_updated(self, nbytes: int) -> None:
        """Take ``nbytes`` received bytes (asyncio)."""
        self._end += nbytes
        self.received_size += nbytes
        size = self._end - self._start
        known = self.known
        repeated: Repeated | None = known.by_size.get(size)
        if repeated is None and known.produced is not None and size > LENGTH_SIZE:
            (frame_size,) = _LENGTH.unpack_from(self._buffer.view, self._start)
            if frame_size == size - LENGTH_SIZE:
                repeated = known.produced
        if repeated is None or not self._answered_alone(repeated):
            self._process()

    def _process(self) -> None:
        """Dispatch every whole frame, drain the mailboxes this filled, write what is answered."""
        self._reading = True
        try:
            self._listener.hold_ready()
            try:
                self._cut_frames()
            finally:
                self._listener.run_ready()
        except ProtocolError as error:
            self.abort(str(error))
        except Exception:
            logger.exception("a request could not be handled")
            self.abort(NOT_HANDLED)
        finally:
            self._reading = False
        self._send()

    def _cut_frames(self) -> None:
        buffer = self._buffer
        view, size_max = buffer.view, self._listener.request_size_max
        while not self._paused:
            available = self._end - self._start
            if available < LENGTH_SIZE:
                self._wanted = LENGTH_SIZE
                return
            (size,) = _LENGTH.unpack_from(view, self._start)
            if not 0 < size <= size_max:
                msg = f"a frame of {size} bytes (socket.request.max.bytes={size_max})"
                raise ProtocolError(msg)
            if available < LENGTH_SIZE + size:
                self._wanted = LENGTH_SIZE + size
                if not self._partial_ns:
                    self._partial_ns = perf_counter_ns()
                return
            position = self._start + LENGTH_SIZE
            repeated = self.known.by_size.get(LENGTH_SIZE + size)
            answered = len(self._answers)
            if repeated is not None and self._answered_again(repeated, position + size):
                if self._slots or len(self._answers) > answered + 1:  # records, as in _dispatch
                    self._send()
                continue
            produced = self.known.produced
            if produced is not None and self._told_again(produced, position + size):
                continue
            self._start = position + size
            self._dispatch(view[position : position + size])
        self._wanted = LENGTH_SIZE

    def _dispatch(self, frame: memoryview) -> None:
        header = parse_request_header(frame)
        api = self._listener.apis.get(header.api_key)
        if api is None:
            msg = f"API key {header.api_key} is not served here"
            raise ProtocolError(msg)
        received_ns = perf_counter_ns()
        if not api.version_min <= header.api_version <= api.version_max and not api.any_version:
            msg = f"{api.name} version {header.api_version} is not served ({api.version_min} to {api.version_max})"
            raise ProtocolError(msg)
        answer = api.receive(self, header, frame)
        stats, size = api.stats, len(frame) + LENGTH_SIZE
        self.client_id = header.client_id
        began_ns = self._count(api, size, received_ns)
        if not isinstance(answer, bytes):
            slot = answer
        elif self._answered_now(stats, answer, received_ns):
            return
        else:
            slot = self._answered_slot(answer)
        slot.began_ns = began_ns
        self._append_slot(slot, stats, header, size, received_ns)
        if slot.buffers is not None and len(slot.buffers) > 1:  # records: the transport says when it holds enough
            self._send()
        if len(self._slots) >= REQUESTS_MAX:
            self._pause()

    def _told_again(self, produced: RepeatedAppend, end: int) -> bool:
        """Have a Produce that comes again appended with the others of this read; False: it is another request."""
        received_ns = perf_counter_ns()
        received = self._buffer.view[self._start : end]
        slot = produced.tell(received)
        if slot is None:
            return False
        self._start = end
        api, size = self._listener.apis[produced.header.api_key], len(received)
        slot.began_ns = self._count(api, size, received_ns)
        self._append_slot(slot, api.stats, produced.header, size, received_ns)
        if len(self._slots) >= REQUESTS_MAX:
            self._pause()
        return True

    @property
    def reading(self) -> bool:
        """Whether requests that were read just now are being handled."""
        return self._reading

    def _answered_alone(self, repeated: Repeated) -> bool:
        """Answer a read that is one request, one that was answered before; False: it is another, or must wait."""
        self._reading = True
        try:
            if not self._answered_again(repeated, self._end):
                return False
        except Exception:
            logger.exception("a request could not be handled")
            self.abort(NOT_HANDLED)
            return True
        finally:
            self._reading = False
        if self._slots:
            self._send()
        elif self._transport is not None:
            answers, self._answers = cast("list[Buffer]", self._answers), []
            if len(answers) == 1:
                self._transport.write(answers[0])
            else:
                self._transport.writelines(answers)
            self._resume()  # a request that was pinned meanwhile may have been too large to read on
        return True

    def _answered_again(self, repeated: Repeated, end: int) -> bool:
        """Answer the request before ``end`` if it was answered before; False: it is another, or must wait."""
        if self._slots or self._paused or self._partial_ns or self._transport is None:
            return False
        received_ns = perf_counter_ns()
        received = self._buffer.view[self._start : end]
        answer = repeated.answer(received)
        if answer is None:
            return False
        self._start, self._wanted = end, LENGTH_SIZE
        api = self._listener.apis[repeated.header.api_key]
        stats, size = api.stats, len(received)
        self._count(api, size, received_ns)
        now_ns = perf_counter_ns()
        elapsed_ns = now_ns - received_ns
        buffers = (answer,) if isinstance(answer, bytes) else answer.plain
        if buffers is None or elapsed_ns > stats.slow_ns:  # to be waited for, to be noted, or with ranges of files
            slot = self._answered_slot(answer) if isinstance(answer, bytes) else answer
            key, version, _, client_id, position = repeated.header
            header = RequestHeader(key, version, correlation_id_in(received), client_id, position)
            self._append_slot(slot, stats, header, size, received_ns)
            return True
        size = len(buffers[0]) if len(buffers) == 1 else sum(map(len, buffers))
        self.last_used = now_ns / 1e9
        self.sent_size += size
        stats.sent_size += size
        stats.busy_ns += elapsed_ns
        stats.buckets[elapsed_ns.bit_length()] += 1
        self._answers += buffers
        return True

    def _count(self, api: Api, size: int, received_ns: int) -> int:
        """Count a request; return when its first part came, 0 if it came in one."""
        stats, began_ns = api.stats, self._partial_ns
        self.request_count += 1
        self.last_api = api.name
        stats.count += 1
        stats.received_size += size
        if began_ns:
            stats.read_ns += received_ns - began_ns
            self._partial_ns = 0
        return began_ns

    def _answered_slot(self, answer: bytes) -> ResponseSlot:
        slot = ResponseSlot(self)
        slot.buffers, slot.done = (answer,), True
        return slot

    def _append_slot(
        self, slot: ResponseSlot, stats: RequestStats, header: RequestHeader, size: int, received_ns: int
    ) -> None:
        slot.received_ns = received_ns
        slot.stats = stats
        slot.header = header
        slot.size = size
        self._slots.append(slot)

    def _answered_now(self, stats: RequestStats, answer: bytes, received_ns: int) -> bool:
        """Take the answer to a request that was answered on the spot; False: others come first, or it was slow."""
        elapsed_ns = perf_counter_ns() - received_ns
        if self._slots or elapsed_ns > stats.slow_ns:
            return False
        size = len(answer)
        stats.busy_ns += elapsed_ns
        stats.buckets[elapsed_ns.bit_length()] += 1
        stats.sent_size += size
        self.sent_size += size
        self._answers.append(answer)
        return True

    def pin(self, slot: ResponseSlot, size: int) -> None:
        """Keep the buffer that is being read as it is until ``slot`` is answered."""
        buffer = self._buffer
        buffer.pins += 1
        slot.pinned, slot.pinned_size = buffer, size
        self._pinned_size += size
        if self._pinned_size > PINNED_SIZE_MAX:
            self._pause()

    def run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run a handler that waits; no further request is read until it has answered."""
        self._pause()
        self._task = self._listener.loop.create_task(coroutine)
        self._task.add_done_callback(self._ran)

    def _ran(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a handler failed", exc_info=error)
            self.abort(NOT_HANDLED)
        self._resume()

    def context(self, header: Any) -> RequestContext:  # noqa: ANN401 (a RequestHeader; protocol stays out of its path)
        """Return what a handler may know of the request and its client."""
        return RequestContext(
            header.api_key, header.api_version, header.correlation_id, header.client_id, self.client_host, self
        )

    # --- pausing --------------------------------------------------------------------------------------------------

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            if self._transport is not None and not self._transport.is_closing():
                self._transport.pause_reading()

    def _resume(self) -> None:
        """Read on, unless another reason to pause stands; frames that are here already come first."""
        if (
            not self._paused
            or self._write_paused_ns
            or self._task is not None
            or len(self._slots) >= REQUESTS_MAX
            or self._pinned_size > PINNED_SIZE_MAX
            or self.closing
        ):
            return
        self._paused = False
        self._listener.loop.call_soon(self._read_on)

    def _read_on(self) -> None:
        if self.closing or self._paused or self._transport is None:
            return
        if self._end - self._start >= LENGTH_SIZE:
            self._process()
        if not self._paused and not self.closing:
            self._transport.resume_reading()

    # --- writing --------------------------------------------------------------------------------------------------

    def completed(self, slot: ResponseSlot) -> None:
        """Take an answered slot: what it kept is free, and it is sent when its turn comes."""
        pinned = slot.pinned
        if pinned is not None:
            pinned.pins -= 1
            self._pinned_size -= slot.pinned_size
            slot.pinned = None
        if not self._reading:
            slot.waited_ns = perf_counter_ns() - slot.received_ns
            self._send()

    def _send(self) -> None:
        """Write the responses at the head of the order, all in one call."""
        slots, transport, out = self._slots, self._transport, self._answers
        if not (out or (slots and slots[0].done)) or transport is None:
            return
        self._answers = []
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
        if files:
            self._send_files(out)
        elif len(out) == 1:
            transport.write(cast("Buffer", out[0]))
        elif out:
            transport.writelines(cast("list[Buffer]", out))
        if self._paused:
            self._resume()

    def _send_files(self, pieces: list[Piece]) -> None:
        assert self._files is not None, "only an open connection sends"
        try:
            self._files.send(pieces)
        except ConnectionError:  # the transport would have found out
            self.close()
        except OSError as error:
            self.abort(f"a response could not be sent: {error}")

    def _note(self, slot: ResponseSlot, sent_ns: int) -> None:
        """Note a request that failed or was slow, for telemetry."""
        if slot.error_code:
            self.error_count += 1
            self.last_error_code = slot.error_code
        journal = self._listener.journal
        if journal is not None:
            journal.add(slot.note(self._listener.apis[slot.header.api_key].name, sent_ns))
