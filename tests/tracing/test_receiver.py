"""The OTLP/HTTP receiver over a socket: takes exports, refuses what is none with the right status, stays bounded."""

import asyncio
import gzip
import json
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from klamm.client.tracing.otlp import encode_json, encode_protobuf
from klamm.client.tracing.receiver import BODY_SIZE_MAX, CONNECTIONS_MAX, Receiver
from klamm.client.tracing.spans import Span
from tests.tracing.test_otlp import example

PROTOBUF, JSON = "application/x-protobuf", "application/json"
BODY = encode_protobuf([example()])
DEADLINE_S = 30


def post(
    body: bytes, kind: str | None = PROTOBUF, path: str = "/v1/traces", method: str = "POST", **more: str
) -> bytes:
    headers = {"Host": "x", "Content-Length": str(len(body)), **({"Content-Type": kind} if kind else {})}
    headers |= {name.replace("_", "-"): value for name, value in more.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items() if value)
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + body


def talk(session: Callable[[int, Receiver], Awaitable[Any]]) -> tuple[Any, list[Span], Receiver]:
    """Run a session against a receiver; return its result, the spans that came, and the receiver."""
    spans: list[Span] = []

    async def run() -> tuple[Any, Receiver]:
        receiver = Receiver(spans.extend)
        port = await receiver.start("127.0.0.1", 0)
        try:
            async with asyncio.timeout(DEADLINE_S):
                return await session(port, receiver), receiver
        finally:
            await receiver.close()

    result, receiver = asyncio.run(run())
    return result, spans, receiver


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    size = int(head.lower().partition("content-length: ")[2].partition("\r\n")[0])
    return int(head.split(" ")[1]), await reader.readexactly(size)


def ask(request: bytes) -> tuple[int, bytes, list[Span]]:
    """Send one request; return status, body, and the spans that came."""

    async def session(port: int, _: Receiver) -> tuple[int, bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        try:
            return await answer(reader)
        finally:
            writer.close()

    answered, spans, _ = talk(session)
    return *answered, spans


@pytest.mark.parametrize(
    "request_bytes",
    [
        post(BODY),
        post(json.dumps(encode_json([example()])).encode(), JSON),
        post(json.dumps(encode_json([example()])).encode(), "application/json; charset=utf-8"),
        post(gzip.compress(BODY), Content_Encoding="gzip"),
        post(b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY), Content_Length="", Transfer_Encoding="chunked"),
    ],
    ids=["protobuf", "json", "json with charset", "gzip", "chunked"],
)
def test_an_export_is_taken(request_bytes: bytes) -> None:
    status, _, spans = ask(request_bytes)
    assert (status, spans) == (200, [example()])


@pytest.mark.parametrize(
    ("request_bytes", "expected"),
    [
        (post(b"\xff\xff\xff"), 400),
        (post(b"not json", JSON), 400),
        (post(b"[1]", JSON), 400),
        (post(b'{"a":1}', JSON), 400),
        (post(b'{"resourceLogs":[]}', JSON), 400),
        (post(b'{"resourceSpans":[{"resource":{"attributes":[{"key":"k","value":{"intValue":1e400}}]}}]}', JSON), 400),
        (post(b"xx"), 400),
        (post(BODY, Content_Encoding="gzip"), 400),
        (post(gzip.compress(BODY)[:-9], Content_Encoding="gzip"), 400),
        (post(gzip.compress(BODY) + b"more", Content_Encoding="gzip"), 400),
        (post(BODY, Content_Length="many"), 400),
        (b"\x00\x00\x00\x14\x00\x03\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (post(BODY, path="/v1/logs"), 404),
        (post(b"", method="GET"), 405),
        (post(BODY, Content_Length=""), 411),
        (post(b"", Content_Length=str(BODY_SIZE_MAX + 1)), 413),
        (post(gzip.compress(bytes(BODY_SIZE_MAX + 1)), Content_Encoding="gzip"), 413),
        (post(b"7fffffff\r\n", Content_Length="", Transfer_Encoding="chunked"), 413),
        (post(BODY, "text/plain"), 415),
        (post(BODY, None), 415),
        (post(BODY, Content_Encoding="br"), 415),
        (post(BODY, X="y" * 20_000), 431),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else "",  # gzip's bytes hold the time: no two runs agree
)
def test_what_is_no_export_is_refused_with_the_reason(request_bytes: bytes, expected: int) -> None:
    status, body, spans = ask(request_bytes)
    assert (status, spans) == (expected, [])
    assert body


@pytest.mark.parametrize(("body", "kind"), [(b"", PROTOBUF), (b"{}", JSON), (b'{"resourceSpans":[]}', JSON)])
def test_an_export_of_nothing_is_taken(body: bytes, kind: str) -> None:
    assert ask(post(body, kind))[0] == 200


def test_a_connection_goes_on_after_a_refusal_and_after_an_export() -> None:
    async def session(port: int, _: Receiver) -> list[int]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        statuses: list[int] = []
        for request in (post(b"\xff"), post(BODY), post(BODY, "text/plain"), post(BODY)):
            writer.write(request)
            statuses.append((await answer(reader))[0])
        writer.close()
        return statuses

    statuses, spans, receiver = talk(session)
    assert (statuses, len(spans)) == ([400, 200, 415, 200], 2)
    assert (receiver.posts, receiver.refused) == (2, {400: 1, 415: 1})


def test_more_connections_than_there_may_be_are_turned_away() -> None:
    async def session(port: int, receiver: Receiver) -> int:
        opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(CONNECTIONS_MAX)]
        for reader, writer in opened:  # each answered, so each is there
            writer.write(post(BODY))
            assert (await answer(reader))[0] == 200
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        status, why = await answer(reader)
        assert receiver.refused == {503: 1}, why
        for _reader, each in [*opened, (reader, writer)]:
            each.close()
        return status

    assert talk(session)[0] == 503


def test_rejected_spans_are_told_as_a_partial_success() -> None:
    document = {"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "1"}]}]}]}
    status, body, spans = ask(post(json.dumps(document).encode(), JSON))
    assert (status, json.loads(body), spans) == (200, {"partialSuccess": {"rejectedSpans": "1"}}, [])


def test_a_connection_that_was_accepted_just_before_the_end_is_closed() -> None:
    async def session(port: int, receiver: Receiver) -> bytes:
        del port
        ours, theirs = socket.socketpair()
        await receiver.close()
        taken = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(taken, receiver._serve)
        await asyncio.get_running_loop().connect_accepted_socket(lambda: protocol, theirs)
        reader, writer = await asyncio.open_connection(sock=ours)
        try:
            return await reader.read()
        finally:
            writer.close()

    assert talk(session)[0] == b""
