"""An OTLP/HTTP receiver: takes what applications export, refuses what is no OTLP, and never grows.

One request at a time on each connection; a body, a header block and the number of connections have limits. What is
asked for otherwise gets the status that the OTLP specification names: 400 for bytes that are none, 404 for another
path, 405 for another method, 411 and 413 for a body without a length or too long, 415 for another content type.

Source: https://opentelemetry.io/docs/specs/otlp/#otlphttp; RFC 9112.
"""

from __future__ import annotations

import asyncio
import json
import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from socket import gaierror
from typing import Final, NamedTuple

from klamm.client.errors import ClientError
from klamm.client.tracing.otlp import Decoded, OtlpError, decode_json, decode_protobuf
from klamm.client.tracing.spans import Span

PATH: Final = "/v1/traces"
BODY_SIZE_MAX: Final = 4 << 20
"""Bytes of one export, decompressed: the SDKs send 512 spans at a time, some 200 KiB."""
HEADERS_SIZE_MAX: Final = 16 << 10
CONNECTIONS_MAX: Final = 32
"""With a body each, 128 MiB at most; one more gets 503, which exporters repeat later."""
IDLE_S: Final = 60.0
"""A connection that says nothing for so long is closed."""
_PROTOBUF: Final = "application/x-protobuf"
_JSON: Final = "application/json"
_GZIP: Final = 31  # zlib's wbits for a gzip header
_INVALID_ARGUMENT: Final = 3  # google.rpc.Code
_REASONS: Final = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    411: "Length Required",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}


class _Refused(Exception):  # noqa: N818 (an answer, not a failure)
    """A request that is answered with a status; ``closes`` where what follows on the connection cannot be told."""

    def __init__(self, status: int, why: str, *, closes: bool = False) -> None:
        super().__init__(why)
        self.status = status
        self.closes = closes


class _Request(NamedTuple):
    method: str
    path: str
    headers: Mapping[str, str]
    keeps_alive: bool


class Receiver:
    """Listens until it is closed; what comes is handed to ``on_spans``.

    Attributes:
        posts: Exports that were taken.
        refused: Requests that were not, by status.
        rejected: Spans without proper ids.
    """

    def __init__(self, on_spans: Callable[[Sequence[Span]], None]) -> None:
        self.posts = 0
        self.refused: dict[int, int] = {}
        self.rejected = 0
        self._on_spans = on_spans
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._closed = False

    async def start(self, host: str, port: int) -> int:
        """Listen; return the port, which the system chooses for 0.

        Raises:
            ClientError: The address cannot be listened on.
        """
        try:
            self._server = await asyncio.start_server(self._serve, host, port, limit=HEADERS_SIZE_MAX)
        except OSError as error:
            code, msg = "LISTEN", f"cannot listen on {address_text(host, port)}: {_reason(error)}"
            raise ClientError(code, msg, "choose another: klamm trace listen 127.0.0.1:14318") from error
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def close(self) -> None:
        """Close the listener and every connection."""
        self._closed = True
        if self._server is not None:
            self._server.close()
        for writer in self._open:
            writer.close()
        if self._server is not None:
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._closed:  # it was accepted in the turn of the loop in which everything was closed
            writer.close()
            return
        self._open.add(writer)
        try:
            if len(self._open) > CONNECTIONS_MAX:
                await self._refuse(writer, _Refused(503, "too many connections", closes=True), "")
                return
            while await self._one(reader, writer):
                pass
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # the peer is gone or says nothing: there is nobody to tell
        finally:
            self._open.discard(writer)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; return whether the connection goes on."""
        kind = ""
        try:
            async with asyncio.timeout(IDLE_S):
                request = await _read_head(reader)
                kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
                body = await _read_body(request, reader, writer)
            decoded = _decode(request, kind, body)
        except _Refused as refused:
            await self._refuse(writer, refused, kind)
            return not refused.closes
        self.posts += 1
        self.rejected += decoded.rejected
        if decoded.spans:
            self._on_spans(decoded.spans)
        await _answer(writer, 200, kind, _accepted(kind, decoded.rejected))
        return request.keeps_alive

    async def _refuse(self, writer: asyncio.StreamWriter, refused: _Refused, kind: str) -> None:
        self.refused[refused.status] = self.refused.get(refused.status, 0) + 1
        text = str(refused)
        if kind == _PROTOBUF:  # google.rpc.Status: code and message
            encoded = text.encode()[:127]
            body = bytes((0x08, _INVALID_ARGUMENT, 0x12, len(encoded))) + encoded
        else:
            kind = _JSON
            body = json.dumps({"code": _INVALID_ARGUMENT, "message": text}).encode()
        await _answer(writer, refused.status, kind, body, closes=refused.closes)


def address_text(host: str, port: int) -> str:
    """Return an address as URLs have it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _reason(error: OSError) -> str:
    """Return why an address cannot be listened on; asyncio's own text of it repeats the address."""
    if error.errno is None or isinstance(error, gaierror):
        return str(error.strerror or error)
    return os.strerror(error.errno)


async def _read_head(reader: asyncio.StreamReader) -> _Request:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        raise _Refused(431, f"more than {HEADERS_SIZE_MAX} bytes of headers", closes=True) from None
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):  # noqa: PLR2004 (method, target, version)
        raise _Refused(400, "this is no HTTP/1.1", closes=True)
    headers: dict[str, str] = {}
    for line in lines[1:]:
        if line:
            name, colon, value = line.partition(":")
            if not colon:
                raise _Refused(400, "a header without a colon", closes=True)
            headers[name.strip().lower()] = value.strip()
    keeps = headers.get("connection", "").lower() != "close" and words[2] != "HTTP/1.0"
    return _Request(words[0], words[1].partition("?")[0], headers, keeps)


async def _read_body(request: _Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    length = request.headers.get("content-length", "")
    chunked = request.headers.get("transfer-encoding", "").lower() == "chunked"
    if not chunked and not length:
        if request.method == "POST":
            raise _Refused(411, "a Content-Length is missing", closes=True)
        return b""
    if not chunked and not (length.isascii() and length.isdigit()):
        raise _Refused(400, f"Content-Length {length!r} is no number", closes=True)
    if not chunked and int(length) > BODY_SIZE_MAX:
        raise _Refused(413, f"an export has at most {BODY_SIZE_MAX} bytes", closes=True)
    if request.headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    return await (_read_chunks(reader) if chunked else reader.readexactly(int(length)))


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while True:
        line = (await reader.readline()).partition(b";")[0].strip()
        try:
            size = int(line, 16)
        except ValueError:
            raise _Refused(400, "a chunk without a size", closes=True) from None
        if not 0 <= size <= BODY_SIZE_MAX - len(body):
            raise _Refused(413, f"an export has at most {BODY_SIZE_MAX} bytes", closes=True)
        body += await reader.readexactly(size)
        await reader.readline()
        if size == 0:
            return bytes(body)


def _decode(request: _Request, kind: str, body: bytes) -> Decoded:
    if request.path != PATH:
        raise _Refused(404, f"only {PATH} is served, not {request.path}")
    if request.method != "POST":
        raise _Refused(405, f"{PATH} takes POST, not {request.method}")
    if kind not in {_PROTOBUF, _JSON}:
        raise _Refused(415, f"{kind or 'no content type'} is neither {_PROTOBUF} nor {_JSON}")
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding == "gzip":
        body = _gunzip(body)
    elif encoding not in {"identity", ""}:
        raise _Refused(415, f"content encoding {encoding!r} is neither gzip nor identity")
    try:
        return decode_protobuf(body) if kind == _PROTOBUF else decode_json(body)
    except OtlpError as error:
        raise _Refused(400, str(error)) from error


def _gunzip(body: bytes) -> bytes:
    stream = zlib.decompressobj(_GZIP)
    try:
        plain = stream.decompress(body, BODY_SIZE_MAX + 1)
    except zlib.error as error:
        raise _Refused(400, f"no gzip: {error}") from error
    if len(plain) > BODY_SIZE_MAX:
        raise _Refused(413, f"an export has at most {BODY_SIZE_MAX} bytes")
    if not stream.eof:
        raise _Refused(400, "the gzip ends too early")
    if stream.unused_data:
        raise _Refused(400, f"{len(stream.unused_data)} bytes behind the end of the gzip")
    return plain


def _accepted(kind: str, rejected: int) -> bytes:
    """Return an ExportTraceServiceResponse; with a partial success where spans were rejected."""
    if kind == _JSON:
        return json.dumps({"partialSuccess": {"rejectedSpans": str(rejected)}} if rejected else {}).encode()
    if not rejected:
        return b""
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2  # noqa: PLC0415 (loaded with the first export)

    partial = trace_service_pb2.ExportTracePartialSuccess(rejected_spans=rejected, error_message="ids of a wrong size")
    return trace_service_pb2.ExportTraceServiceResponse(partial_success=partial).SerializeToString()


async def _answer(writer: asyncio.StreamWriter, status: int, kind: str, body: bytes, *, closes: bool = False) -> None:
    head = f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {kind or _JSON}\r\nContent-Length: {len(body)}\r\n"
    if closes:
        head += "Connection: close\r\n"
    writer.write(head.encode() + b"\r\n" + body)
    await writer.drain()
