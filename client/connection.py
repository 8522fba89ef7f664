"""One connection to one broker: pipelined requests, answers by correlation id, and the reason when it fails.

Opening walks through steps that can each fail: dns, tcp, tls, api_versions, sasl. An error names its step, the
address, the likely cause and what to try.

States: new → opening → open → closed. Requests are accepted while open; when the connection closes, each waiting
request fails with the reason.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from struct import Struct
from typing import Any, Final, cast

from klamm.client import wire
from klamm.client.answers import KeptAnswers
from klamm.client.errors import (
    ClientError,
    ConnectionLostError,
    DeadlineError,
    ResponseError,
    UnreachableError,
    UnsupportedApiError,
    another_age,
)
from klamm.client.settings import SETUP_TIMEOUT_S, Address, Settings, klamm_version
from klamm.protocol.errors import ProtocolError

FRAME_SIZE_BYTES_MAX: Final = 1 << 30
"""A response of a gigabyte is no response: Kafka's own clients give up far below."""
FRAME_SIZE_BYTES_START: Final = 1 << 22
"""What is set aside for a large frame before more of it has come: its length is the peer's word."""
_SCRATCH_SIZE_BYTES: Final = 1 << 16
_LENGTH: Final = Struct(">i")
_ALERT: Final = b"\x15\x03"
_HTTP: Final = b"HTTP"
_UNSUPPORTED_VERSION: Final = 35
# Version 10 of both names topics by id only, and a group's topics may be gone; 9 names them.
_VERSION_CAPS: Final = {8: 9, 9: 9}
# One of a thousand generated dataclasses, known only at run time.
Message = Any


class BrokerConnection(asyncio.BufferedProtocol):
    """A connection; ``await open()`` first.

    Small frames are cut from a scratch buffer. A frame that does not fit is received where it stays, without a copy: a
    search moves gigabytes through here.

    Attributes:
        address: What it connects to.
        versions: {API key: (lowest, highest version)} as the broker advertises them, after ``open``.
        waiting_for: What was asked last and has no answer yet, for error messages.
    """

    def __init__(self, address: Address, settings: Settings) -> None:
        self.address = address
        self.versions: dict[int, tuple[int, int]] = {}
        self.waiting_for = ""
        self._settings = settings
        self._transport: asyncio.Transport | None = None
        self._scratch = bytearray(_SCRATCH_SIZE_BYTES)
        self._scratch_used = 0
        self._frame: bytearray | None = None  # a frame too large for the scratch buffer, while it is being received
        self._frame_size = 0
        self._frame_used = 0
        self._waiting: dict[int, asyncio.Future[memoryview]] = {}
        self._correlation_id = 0
        self._answered = 0
        self._metadata_decoder = wire.MetadataDecoder()
        self._answers = KeptAnswers()
        self._closed_because: ClientError | None = None

    @property
    def is_open(self) -> bool:
        """Whether requests can be sent."""
        return self._transport is not None and self._closed_because is None

    async def open(self) -> None:
        """Connect, negotiate versions, authenticate.

        Raises:
            UnreachableError: A step failed.
            DeadlineError: The broker accepted the connection and did not answer in time.
        """
        limit = self._settings.seconds("socket.connection.setup.timeout.ms", SETUP_TIMEOUT_S)
        try:
            async with asyncio.timeout(limit):
                await self._connect()
                await self._negotiate()
                if self._settings.uses_sasl:
                    from klamm.client.sasl import authenticate  # noqa: PLC0415 (only where SASL is used)

                    await authenticate(self, self._settings)
        except TimeoutError:
            self.close()
            if self._transport is None:
                step, cause = "tcp", f"no answer to the connection attempt within {limit:g} s"
                raise UnreachableError(step, str(self.address), cause, "a firewall or a wrong address?") from None
            what = self.waiting_for or "the TLS handshake"
            msg = f"{self.address} accepted the connection but did not answer {what} within {limit:g} s"
            raise DeadlineError(msg, "is it a Kafka broker, and does the port speak that security.protocol?") from None
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close at once; waiting requests fail."""
        self._fail(ConnectionLostError("tcp", str(self.address), "the connection is closed", ""))
        if self._transport is not None:
            self._transport.abort()

    async def request(self, api_key: int, request: Message) -> Message:
        """Send a newest-shape request and return the newest-shape response.

        Raises:
            UnsupportedApiError: The broker does not serve this API, or not this request in any version klamm speaks.
            ConnectionLostError: The connection closed before the answer.
        """
        from klamm.model.errors import UnsupportedVersionError  # noqa: PLC0415 (kio loads with the first of these)
        from klamm.protocol import messages  # noqa: PLC0415

        version = self.version_of(api_key)
        correlation_id = self._next_id()
        try:
            frame = messages.encode_request(api_key, version, request, correlation_id, self._settings.client_id)
        except UnsupportedVersionError as error:
            raise UnsupportedApiError(api_name(api_key), str(self.address), f" for this: {error}") from error
        answer = await self.exchange(api_name(api_key), correlation_id, frame)
        try:
            return self._answers.decode(api_key, version, frame, answer)
        except ProtocolError as error:
            raise self._nonsense(api_name(api_key), error) from error

    async def metadata(self, topics: list[str] | None) -> wire.ClusterMetadata:
        """Ask for the metadata of some topics, or of all.

        Raises:
            UnreachableError: The broker is too old or too new for klamm: nothing can be asked of it.
            UnsupportedApiError: It serves no Metadata, as a controller does.
        """
        low, high = self.versions.get(wire.METADATA_KEY, (0, -1))
        if high < 0:
            raise UnsupportedApiError(api_name(wire.METADATA_KEY), str(self.address))
        version = min(high, wire.METADATA_VERSION_MAX)
        if version < max(low, wire.METADATA_VERSION_MIN):
            spoken = (wire.METADATA_VERSION_MIN, wire.METADATA_VERSION_MAX)
            raise another_age(str(self.address), (low, high), spoken)
        correlation_id = self._next_id()
        frame = wire.encode_metadata(correlation_id, self._settings.client_id, version, topics)
        answer = await self.exchange("Metadata", correlation_id, frame)
        try:
            return self._metadata_decoder.decode(answer, version, topics)
        except ProtocolError as error:
            raise self._nonsense(api_name(wire.METADATA_KEY), error) from error

    async def request_encoded(
        self, api_key: int, versions: tuple[int, int], encode: Callable[[int, int, str], bytes | bytearray]
    ) -> tuple[int, memoryview]:
        """Send what ``encode(version, correlation id, client id)`` makes; return the version and the answer's bytes.

        For requests whose answers are too large for ``kio``'s dataclasses. ``versions`` are the lowest and the highest
        that the caller writes and reads; the frame has its length prefix, the answer has none.

        Raises:
            UnsupportedApiError: The broker speaks none of them.
        """
        low, high = self.versions.get(api_key, (0, -1))
        version = min(high, versions[1])
        if version < max(low, versions[0]):
            detail = f" in version {versions[0]} to {versions[1]} but in {low} to {high}" if high >= 0 else ""
            raise UnsupportedApiError(api_name(api_key), str(self.address), detail)
        correlation_id = self._next_id()
        frame = encode(version, correlation_id, self._settings.client_id)
        return version, await self.exchange(api_name(api_key), correlation_id, frame)

    async def exchange(self, api: str, correlation_id: int, frame: bytes | bytearray) -> memoryview:
        """Send a frame and return its answer, without the length prefix."""
        if self._closed_because is not None:
            raise self._closed_because
        assert self._transport is not None, f"{api} to {self.address} before open()"
        future: asyncio.Future[memoryview] = asyncio.get_running_loop().create_future()
        self._waiting[correlation_id] = future
        self.waiting_for = api
        self._transport.write(frame)
        try:
            answer = await future
        finally:
            self._waiting.pop(correlation_id, None)
        if not self._waiting:
            self.waiting_for = ""
        return answer

    def version_of(self, api_key: int) -> int:
        """Return the highest version that both sides speak.

        Raises:
            UnsupportedApiError: There is none.
        """
        from klamm.protocol.apis import API_VERSIONS, ApiKey  # noqa: PLC0415

        ours = API_VERSIONS[ApiKey(api_key)]
        theirs = self.versions.get(api_key)
        if theirs is None:
            raise UnsupportedApiError(api_name(api_key), str(self.address))
        version = min(ours.max, theirs[1], _VERSION_CAPS.get(api_key, ours.max))
        if version < max(ours.min, theirs[0]):
            detail = f" in version {ours.min} to {ours.max} but in {theirs[0]} to {theirs[1]}"
            raise UnsupportedApiError(api_name(api_key), str(self.address), detail)
        return version

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one, and no subclass of it

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 (asyncio's signature)
        """Say where the next bytes go."""
        if self._frame is not None:
            return memoryview(self._frame)[self._frame_used :]
        return memoryview(self._scratch)[self._scratch_used :]

    def buffer_updated(self, nbytes: int) -> None:
        """Cut frames and hand each to whoever waits for it."""
        if self._frame is not None:
            self._frame_used += nbytes
            self._continue_frame(self._frame)
            return
        self._scratch_used += nbytes
        scratch, used = self._scratch, self._scratch_used
        position = 0
        while used - position >= _LENGTH.size:
            (size,) = _LENGTH.unpack_from(scratch, position)
            # A TLS alert read as a length would be 352 MB, and never come.
            alert = self._answered == 0 and scratch.startswith(_ALERT)
            if alert or not _LENGTH.size <= size <= FRAME_SIZE_BYTES_MAX:
                self._fail(self._not_kafka(bytes(scratch[position : position + 4])))
                assert self._transport is not None, "data before the connection"
                self._transport.abort()
                return
            start, end = position + _LENGTH.size, position + _LENGTH.size + size
            if end > used:
                if size > _SCRATCH_SIZE_BYTES - _LENGTH.size:
                    self._begin_frame(size, memoryview(scratch)[start:used])
                    position = used
                break
            self._answer(memoryview(bytes(memoryview(scratch)[start:end])))
            position = end
        self._scratch_used = used - position
        scratch[: self._scratch_used] = scratch[position:used]

    def _begin_frame(self, size: int, received: memoryview) -> None:
        self._frame = bytearray(min(size, FRAME_SIZE_BYTES_START))
        self._frame_size = size
        self._frame_used = len(received)
        self._frame[: len(received)] = received

    def _continue_frame(self, frame: bytearray) -> None:
        """Hand the large frame over when it is whole; make room when what was set aside is full."""
        if self._frame_used == self._frame_size:
            self._frame = None
            self._answer(memoryview(frame))
        elif self._frame_used == len(frame):
            self._frame = bytearray(min(self._frame_size, 2 * len(frame)))
            self._frame[: len(frame)] = frame

    def _answer(self, frame: memoryview) -> None:
        self._answered += 1
        (correlation_id,) = _LENGTH.unpack_from(frame)
        future = self._waiting.get(correlation_id)
        if future is not None and not future.done():
            future.set_result(frame)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail what waits, with the likely cause."""
        cause = f"the broker closed the connection while {self.waiting_for or 'idle'} was unanswered"
        if self.waiting_for == "":
            cause = "the broker closed the connection"
        if exc is not None:
            cause += f" ({exc})"
        reason = getattr(exc, "reason", None) or ""
        if "ALERT" in reason and ("CERT" in reason or "UNKNOWN_CA" in reason):  # with TLS 1.3 after the handshake
            self._fail(self._certificate_refused(reason))
            return
        self._fail(ConnectionLostError(self._step(), str(self.address), cause, self._closing_hint()))

    def _certificate_refused(self, reason: str) -> UnreachableError:
        if self._settings.properties.get("ssl.certificate.location"):
            cause, hint = f"the broker does not accept the client's certificate ({reason})", "is its CA the broker's?"
        else:
            cause = f"the broker wants a certificate from the client ({reason})"
            hint = "-X ssl.certificate.location=CERT.pem -X ssl.key.location=KEY.pem"
        return UnreachableError("tls", str(self.address), cause, hint)

    def _step(self) -> str:
        if self.waiting_for in {"SaslHandshake", "SaslAuthenticate"}:
            return "sasl"
        return "api_versions" if self._answered == 0 else "metadata" if self.waiting_for == "Metadata" else "tcp"

    def _closing_hint(self) -> str:
        if self._answered == 0 and not self._settings.uses_tls:
            return "the port may speak TLS (-X security.protocol=SSL), or it is no Kafka broker"
        if self.waiting_for == "Metadata" and not self._settings.uses_sasl:
            return (
                "the listener may want SASL: -X security.protocol=SASL_PLAINTEXT -X sasl.mechanism=…; "
                "or something on the way cuts connections"
            )
        return "look at the broker's log"

    def _not_kafka(self, start: bytes) -> UnreachableError:
        if start.startswith(_ALERT):
            cause, hint = "the port speaks TLS, and klamm spoke plaintext", "-X security.protocol=SSL (or SASL_SSL)"
        elif start == _HTTP:
            cause, hint = "an HTTP server answered: this is no Kafka port", "Kafka listens on 9092 unless configured"
        else:
            cause, hint = f"the answer begins with {start!r}: this is no Kafka broker", "check the port"
        return UnreachableError("api_versions", str(self.address), cause, hint)

    def _nonsense(self, api: str, error: ProtocolError) -> UnreachableError:
        return UnreachableError("api_versions", str(self.address), f"unreadable {api} response: {error}", "report it")

    def _fail(self, reason: ClientError) -> None:
        if self._closed_because is None:
            self._closed_because = reason
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(self._closed_because)

    def _next_id(self) -> int:
        self._correlation_id = (self._correlation_id + 1) & 0x7FFFFFFF
        return self._correlation_id

    # Steps of open()

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        host, port = self.address
        context = None
        if self._settings.uses_tls:
            from klamm.client.tls import ssl_context  # noqa: PLC0415 (only where TLS is used)

            context = ssl_context(self._settings)
        # Names of this machine need no resolver, which would cost a thread (RFC 6761 §6.3).
        hosts = ("127.0.0.1", "::1") if host == "localhost" else (host,)
        for place, each in enumerate(hosts):
            try:
                await loop.create_connection(
                    lambda: self, each, port, ssl=context, server_hostname=host if context else None
                )
            except OSError as error:
                self._transport = None
                if place + 1 == len(hosts):
                    raise self._connect_error(error) from error
            else:
                return

    def _connect_error(self, error: OSError) -> UnreachableError:
        address, host = str(self.address), self.address.host
        if isinstance(error, socket.gaierror):
            return UnreachableError(
                "dns", address, f"the name {host!r} does not resolve", "check it: getent hosts " + host
            )
        import ssl  # noqa: PLC0415 (asyncio has loaded it)

        if isinstance(error, ssl.SSLCertVerificationError):
            cause = f"the certificate does not verify: {error.verify_message}"
            return UnreachableError("tls", address, cause, "set ssl.ca.location to the CA that signed it")
        if isinstance(error, ssl.SSLError) or (self._settings.uses_tls and isinstance(error, ConnectionResetError)):
            cause = f"the TLS handshake failed: {str(error) or 'the broker closed the connection'}"
            hint = "does the port speak plaintext? -X security.protocol=PLAINTEXT (or SASL_PLAINTEXT)"
            return UnreachableError("tls", address, cause, hint)
        if isinstance(error, ConnectionRefusedError) or "Connect call failed" in str(error):
            return UnreachableError(
                "tcp",
                address,
                "connection refused: nothing listens there",
                "is it running, on that port? klamm doctor",
            )
        return UnreachableError("tcp", address, f"cannot connect: {error.strerror or error}", "klamm doctor")

    async def _negotiate(self) -> None:
        error_code = 0
        for version in (3, 0):
            correlation_id = self._next_id()
            frame = wire.encode_api_versions(correlation_id, self._settings.client_id, version, klamm_version())
            answer = await self.exchange("ApiVersions", correlation_id, frame)
            try:
                error_code, self.versions = wire.decode_api_versions(answer, version)
            except ProtocolError as error:
                raise self._nonsense(api_name(wire.API_VERSIONS_KEY), error) from error
            if error_code != _UNSUPPORTED_VERSION:
                break
        if error_code:
            msg = f"{self.address} answered ApiVersions with an error"
            raise ResponseError(error_code, msg)


def api_name(api_key: int) -> str:
    """Return Kafka's name of an API."""
    from klamm.protocol.apis import API_NAMES, ApiKey  # noqa: PLC0415

    return API_NAMES[ApiKey(api_key)]
