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
from collections.abc import Coroutine
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, Final, cast

from klamm.protocol.errors import ProtocolError
from klamm.protocol.header import RequestHeader, parse_request_header
from klamm.server.frames import LENGTH_SIZE, Frames
from klamm.server.repeated_request import KnownRequests, Repeated, RepeatedAppend, correlation_id_in
from klamm.server.requests import RequestContext
from klamm.server.response_slot import ResponseSlot
from klamm.server.responses import Responses
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

IPV4_MAPPED: Final = "::ffff:"
"""What stands before an IPv4 client's address on a socket that takes IPv6 as well."""

NOT_HANDLED: Final = "its request could not be handled: see the error above"


class Connection(asyncio.BufferedProtocol):
    """One client. Everything runs on the node's loop."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._transport: asyncio.Transport | None = None
        self._frames = Frames(listener.request_size_max)
        self._partial_ns = 0  # when the first part of a frame came that is not whole; 0: there is none
        self.responses = Responses(listener)
        self.known = KnownRequests()
        self._pinned_size = 0
        self._reading = False
        self._paused = False
        self._write_paused_ns = 0  # 0: the peer takes what we send
        self._task: asyncio.Task[None] | None = None
        self.closing = False
        self.client_host = ""
        self.client_port = 0
        self.client_software = ("", "")
        self.client_id: str | None = None
        self.client_instance_id: str | None = None
        self.fetched: Fetched | None = None  # the journal's note of the last responses with records
        self.connected_ns = perf_counter_ns()
        self.last_api = ""
        self.request_count = 0
        self.received_size = 0

    # --- transport ------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport (asyncio)."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=WRITE_HIGH_WATER)
        self.responses.open(self._transport)
        peer = transport.get_extra_info("peername") or ("", 0)
        self.client_host, self.client_port = str(peer[0]).removeprefix(IPV4_MAPPED), int(peer[1])
        self._listener.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget everything; whoever still answers is not heard (asyncio)."""
        self.closing = True
        self._transport = None
        self._count_write()
        if self._task is not None:
            self._task.cancel()
        self.responses.close()
        self.known.clear()
        self._frames.close()
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
        return not self.responses.slots and self._task is None

    @property
    def sends_files(self) -> bool:
        """Whether ranges of files can be sent here."""
        return self.responses.sends_files

    @property
    def unanswered(self) -> int:
        """How many requests wait for an answer."""
        return len(self.responses.slots)

    # --- reading --------------------------------------------------------------------------------------------------

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 (asyncio's signature)
        """Return where the next bytes go (asyncio)."""
        return self._frames.room()

    def buffer_updated(self, nbytes: int) -> None:
        """Take ``nbytes`` received bytes (asyncio)."""
        frames, known = self._frames, self.known
        frames.end += nbytes
        self.received_size += nbytes
        repeated: Repeated | None = known.by_size.get(frames.end - frames.start)
        if repeated is None and known.produced is not None and frames.is_one:
            repeated = known.produced
        if repeated is None or not self._answered_alone(repeated):
            self._process()

    def _process(self) -> None:
        """Dispatch every whole frame, drain the mailboxes this filled, write what is answered."""
        self._reading = True
        try:
            self._listener.hold_ready()
            try:
                self._take_frames()
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

    def _take_frames(self) -> None:
        frames, known, responses = self._frames, self.known, self.responses
        view = frames.buffer.view
        while not self._paused:
            start = frames.start
            size = frames.next_size()
            if not size:
                if frames.has_begun and not self._partial_ns:
                    self._partial_ns = perf_counter_ns()
                return
            end = start + size
            repeated = known.by_size.get(size)
            answered = len(responses.answers)
            if repeated is not None and self._answered_again(repeated, end):
                if responses.slots or len(responses.answers) > answered + 1:  # records, as in _dispatch
                    self._send()
                continue
            produced = known.produced
            if produced is None or not self._told_again(produced, view[start:end]):
                frames.taken(end)
                self._dispatch(view[start + LENGTH_SIZE : end])

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
        else:
            now_ns = perf_counter_ns()
            if not self.responses.slots and now_ns - received_ns <= stats.slow_ns:
                self.responses.answer(stats, (answer,), now_ns - received_ns, now_ns)
                return
            slot = _answered_slot(self, answer)
        slot.began_ns = began_ns
        self._append_slot(slot, stats, header, size, received_ns)
        if slot.buffers is not None and len(slot.buffers) > 1:  # records: the transport says when it holds enough
            self._send()

    def _answered_alone(self, repeated: Repeated) -> bool:
        """Answer a read that is one request, one that was answered before; False: it is another, or must wait."""
        self._reading = True
        try:
            if not self._answered_again(repeated, self._frames.end):
                return False
        except Exception:
            logger.exception("a request could not be handled")
            self.abort(NOT_HANDLED)
            return True
        finally:
            self._reading = False
        self._send()
        return True

    def _answered_again(self, repeated: Repeated, end: int) -> bool:
        """Answer the request before ``end`` if it was answered before; False: it is another, or must wait."""
        frames, responses = self._frames, self.responses
        if responses.slots or self._paused or self._partial_ns or self._transport is None:
            return False
        received_ns = perf_counter_ns()
        received = frames.buffer.view[frames.start : end]
        answer = repeated.answer(received)
        if answer is None:
            return False
        frames.taken(end)
        api = self._listener.apis[repeated.header.api_key]
        stats, size = api.stats, len(received)
        self._count(api, size, received_ns)
        now_ns = perf_counter_ns()
        buffers = (answer,) if isinstance(answer, bytes) else answer.plain
        if buffers is None or now_ns - received_ns > stats.slow_ns:  # to be waited for, noted, or with ranges of files
            slot = _answered_slot(self, answer) if isinstance(answer, bytes) else answer
            key, version, _, client_id, position = repeated.header
            header = RequestHeader(key, version, correlation_id_in(received), client_id, position)
            self._append_slot(slot, stats, header, size, received_ns)
        else:
            responses.answer(stats, buffers, now_ns - received_ns, now_ns)
        return True

    def _told_again(self, produced: RepeatedAppend, received: memoryview) -> bool:
        """Have a Produce that comes again appended with the others of this read; False: it is another request."""
        received_ns = perf_counter_ns()
        slot = produced.tell(received)
        if slot is None:
            return False
        api, size = self._listener.apis[produced.header.api_key], len(received)
        self._frames.taken(self._frames.start + size)
        slot.began_ns = self._count(api, size, received_ns)
        self._append_slot(slot, api.stats, produced.header, size, received_ns)
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

    def _append_slot(
        self, slot: ResponseSlot, stats: RequestStats, header: RequestHeader, size: int, received_ns: int
    ) -> None:
        slot.received_ns = received_ns
        slot.stats = stats
        slot.header = header
        slot.size = size
        slots = self.responses.slots
        slots.append(slot)
        if len(slots) >= REQUESTS_MAX:
            self._pause()

    @property
    def reading(self) -> bool:
        """Whether requests that were read just now are being handled."""
        return self._reading

    def pin(self, slot: ResponseSlot, size: int) -> None:
        """Keep the buffer that is being read as it is until ``slot`` is answered."""
        buffer = self._frames.buffer
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
            or len(self.responses.slots) >= REQUESTS_MAX
            or self._pinned_size > PINNED_SIZE_MAX
            or self.closing
        ):
            return
        self._paused = False
        self._listener.loop.call_soon(self._read_on)

    def _read_on(self) -> None:
        if self.closing or self._paused or self._transport is None:
            return
        if self._frames.has_begun:
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
        """Write the responses at the head of the order, and read on if that was waited for."""
        try:
            self.responses.send()
        except ConnectionError:  # the transport would have found out
            self.close()
        except OSError as error:
            self.abort(f"a response could not be sent: {error}")
        if self._paused:
            self._resume()


def _answered_slot(connection: Connection, answer: bytes) -> ResponseSlot:
    slot = ResponseSlot(connection)
    slot.buffers, slot.done = (answer,), True
    return slot
