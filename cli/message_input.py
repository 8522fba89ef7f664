"""The bytes and lines of a file, of standard input, or of a word of the line."""

from __future__ import annotations

import asyncio
import os
import select
import sys
from collections.abc import AsyncIterator

from klamm.client.errors import SettingsError

CHUNK_SIZE_BYTES = 1 << 20
LINE_SIZE_BYTES_MAX = 104_857_600
"""A line longer than the largest request there can be is no record."""


async def chunks(path: str | None) -> AsyncIterator[bytes]:
    """Yield the bytes of a file, or of standard input as they come; Ctrl-C ends the waiting.

    Raises:
        SettingsError: The file cannot be read.
    """
    if path is None:
        source = sys.stdin.fileno()
        try:
            while chunk := await _read_ready(source):
                yield chunk
        except OSError as error:
            msg = f"standard input cannot be read: {error.strerror}"
            raise SettingsError(msg) from error
        return
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: ASYNC230, PTH123 (a file of this machine does not wait)
            while chunk := file.read(CHUNK_SIZE_BYTES):
                yield chunk
    except OSError as error:
        msg = f"{path}: {error.strerror}"
        raise SettingsError(msg) from error


async def split(source: AsyncIterator[bytes], delimiter: bytes) -> AsyncIterator[list[bytes]]:
    """Yield lines as they come; the last one may lack its delimiter.

    Raises:
        SettingsError: A line has no end within any request's size.
    """
    rest: list[bytes] = []
    size = 0
    async for chunk in source:
        lines = (b"".join([*rest, chunk]) if len(delimiter) > 1 else chunk).split(delimiter)
        if len(lines) > 1:
            if rest and len(delimiter) == 1:
                lines[0] = b"".join([*rest, lines[0]])
            rest, size = [lines.pop()], 0
            yield lines
        elif len(delimiter) > 1:
            rest = lines
        else:
            rest.append(chunk)
        size = sum(map(len, rest)) if size == 0 else size + len(chunk)
        if size > LINE_SIZE_BYTES_MAX:
            msg = f"a line of more than {LINE_SIZE_BYTES_MAX:,} bytes is no record"
            raise SettingsError(msg, "--input whole sends everything as one; --delimiter says what ends a record")
    last = b"".join(rest)
    if last:
        yield [last]


async def _read_ready(source: int) -> bytes:
    """Read once there is something to read, without a thread that would outlive Ctrl-C."""
    if not select.select([source], [], [], 0)[0]:
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()
        loop.add_reader(source, lambda: None if ready.done() else ready.set_result(None))
        try:
            await ready
        finally:
            loop.remove_reader(source)
    return os.read(source, CHUNK_SIZE_BYTES)


def raw(text: str) -> bytes:
    """Return the bytes of a word of the line."""
    return text.encode("utf-8", "surrogateescape")


def unescaped(text: str) -> str:
    r"""Return a separator with ``\t``, ``\n``, ``\0`` and ``\xNN`` as what they mean."""
    import re

    named = {"t": "\t", "n": "\n", "r": "\r", "0": "\0", "\\": "\\"}
    return re.sub(
        r"\\(?:x([0-9a-fA-F]{2})|(.))",
        lambda m: chr(int(m[1], 16)) if m[1] else named.get(m[2], m[0]),
        text,
    )
