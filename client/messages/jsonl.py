"""The lossless form of a record, one JSON object a line: what ``consume -o jsonl`` writes and ``produce`` reads.

| field | is |
|---|---|
| ``topic`` ``partition`` ``offset`` ``timestamp`` | where it stood; the timestamp in milliseconds, -1 for none |
| ``timestampType`` | ``create``, ``append`` or ``none`` |
| ``headers`` | ``[[name, base64], …]``, null for a null value |
| ``key`` ``value`` | text, or base64 of what is not UTF-8, or null |
| ``key_encoding`` ``value_encoding`` | ``utf8``, ``base64``, or null for null |

Reading takes less: ``value`` alone is enough, an object as a value is written as JSON, headers may be an object of
texts. A field that is not in this table is an error: a mistyped name must not become a tombstone.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Sequence
from itertools import chain, repeat
from json.encoder import encode_basestring, encode_basestring_ascii
from typing import Any, Final, NamedTuple

from klamm.client.errors import ClientError
from klamm.client.messages.record import Fields, Headers, Record, timestamp_type_of
from klamm.client.offsets import Partition
from klamm.records.batch import BatchHeader

FIELDS: Final = (
    "topic",
    "partition",
    "offset",
    "timestamp",
    "timestampType",
    "headers",
    "key",
    "key_encoding",
    "value",
    "value_encoding",
)
_RARE: Final = bytes(sorted({*range(0x20)} - set(b"\t\n\r")))
"""Control characters that texts hardly have: JSON escapes them by number."""
_ESCAPES: Final = ((b"\\", rb"\\"), (b'"', rb"\""), (b"\n", rb"\n"), (b"\t", rb"\t"), (b"\r", rb"\r"))
_INT32_MAX: Final = (1 << 31) - 1
_INT64_MAX: Final = (1 << 63) - 1


class Draft(NamedTuple):
    """A record to be sent. None: the topic that was asked for, the partitioner's partition, the time of sending.

    A timestamp of -1 is none at all, as old producers left records.
    """

    topic: str | None
    partition: int | None
    timestamp_ms: int | None
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


class JsonlError(ClientError):
    """A line that is no record; ``line`` counts from 1."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__("INVALID_JSONL", f"line {line}: {why}", "each line is one object; see docs/messages.md")
        self.line = line


def write_rows(
    where: Partition, rows: Iterable[tuple[BatchHeader, list[Fields]]], *, ascii_only: bool = False
) -> bytes:
    """Return the lines of records of one partition. ``ascii_only`` is for terminals, which some characters command."""
    head = f'{{"topic":{encode_basestring_ascii(where[0])},"partition":{where[1]},"offset":'.encode().replace(
        b"%", b"%%"
    )
    return b"".join([_lines(head, header, batch, ascii_only=ascii_only) for header, batch in rows if batch])


def _lines(head: bytes, header: BatchHeader, batch: Sequence[Fields], *, ascii_only: bool) -> bytes:
    """Return the lines of a batch: one template that repeats itself, which takes a fifth of a line at a time."""
    offsets, timestamps, keys, values, headers = zip(*batch, strict=True)
    key, keys_shown = _column(keys, "key", ascii_only=ascii_only)
    value, values_shown = _column(values, "value", ascii_only=ascii_only)
    template = b'%b%%d,"timestamp":%%d,"timestampType":"%%b","headers":%%b,"key":%b,"value":%b}\n' % (head, key, value)
    kinds = [timestamp_type_of(header, timestamp).encode() for timestamp in timestamps]
    headers_shown = [_headers(each).encode() for each in headers] if any(headers) else repeat(b"[]")
    columns = zip(offsets, timestamps, kinds, headers_shown, keys_shown, values_shown, strict=False)
    return template * len(batch) % tuple(chain.from_iterable(columns))


def _column(texts: Sequence[bytes | None], name: str, *, ascii_only: bool) -> tuple[bytes, Sequence[bytes]]:
    """Return a template for the keys or values of a batch, and what is to be put into it."""
    escaped = None if ascii_only else _escaped(texts)
    if escaped is not None:
        return b'"%%b","%b_encoding":"utf8"' % name.encode(), escaped
    quote = encode_basestring_ascii if ascii_only else encode_basestring
    return b"%b", [_field(each, name, quote).encode() for each in texts]


def _escaped(texts: Sequence[bytes | None]) -> list[bytes] | None:
    """Return texts as JSON has them between quotes; None if one is null, not UTF-8 or has rare control characters.

    All are looked at together, a null byte between them, for a call for each would take longer than all the rest.
    """
    known = [each for each in texts if each is not None]
    if len(known) < len(texts):
        return None
    whole = b"\0".join(known)
    if len(whole.translate(None, _RARE)) != len(whole) - len(texts) + 1:
        return None
    try:
        whole.decode()
    except UnicodeDecodeError:
        return None
    for plain, escape in _ESCAPES:
        whole = whole.replace(plain, escape)
    return whole.split(b"\0")


def write(record: Record) -> str:
    """Return the line of one record."""
    quote = encode_basestring
    return (
        f'{{"topic":{encode_basestring_ascii(record.topic)},"partition":{record.partition},"offset":{record.offset},'
        f'"timestamp":{record.timestamp_ms},"timestampType":"{record.timestamp_type}","headers":{_headers(record.headers)},'
        f'"key":{_field(record.key, "key", quote)},"value":{_field(record.value, "value", quote)}}}\n'
    )


def as_item(record: Record) -> dict[str, Any]:
    """Return the same as plain data."""
    found: dict[str, Any] = json.loads(write(record))
    return found


def _field(data: bytes | None, name: str, quote: Any) -> str:  # noqa: ANN401 (json's native function has no type)
    if data is None:
        return f'null,"{name}_encoding":null'
    try:
        return f'{quote(data.decode())},"{name}_encoding":"utf8"'
    except UnicodeDecodeError:
        return f'"{base64.b64encode(data).decode()}","{name}_encoding":"base64"'


def _headers(headers: Headers) -> str:
    # A name that is not UTF-8 has lone surrogates, which only ASCII escapes carry through a file.
    return "[" + ",".join(f"[{encode_basestring_ascii(name)},{_header_value(value)}]" for name, value in headers) + "]"


def _header_value(value: bytes | None) -> str:
    return "null" if value is None else f'"{base64.b64encode(value).decode()}"'


def read(line: bytes, number: int) -> Draft:
    """Return the record of a line.

    Raises:
        JsonlError: The line is none; says why.
    """
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        why = f"column {error.colno}: {error.msg}" if isinstance(error, json.JSONDecodeError) else str(error)
        raise JsonlError(number, f"no JSON: {why}") from None
    if not isinstance(found, dict):
        raise JsonlError(number, f"{type(found).__name__} instead of an object")
    unknown = [name for name in found if name not in FIELDS]
    if unknown:
        import difflib  # noqa: PLC0415 (only for whoever mistypes)

        near = difflib.get_close_matches(unknown[0], FIELDS, 1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; there is {', '.join(FIELDS)}"
        raise JsonlError(number, f"a record has no {unknown[0]!r}{hint}")
    if "value" not in found:
        raise JsonlError(number, "there is no 'value'; null makes a tombstone")
    try:
        return Draft(
            _topic(found.get("topic")),
            _partition(found),
            _integer(found, "timestamp", _INT64_MAX),
            _bytes(found, "key"),
            _bytes(found, "value"),
            _read_headers(found.get("headers")),
        )
    except _WrongError as wrong:
        raise JsonlError(number, str(wrong)) from None


class _WrongError(ValueError):
    """What is wrong with a field."""


def _topic(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    msg = "topic is no text"
    raise _WrongError(msg)


def _integer(found: dict[str, Any], name: str, most: int) -> int | None:
    value = found.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not -1 <= value <= most:
        msg = f"{name} is {json.dumps(value)[:40]}, no number from 0 to {most}"
        raise _WrongError(msg)
    return value


def _partition(found: dict[str, Any]) -> int | None:
    index = _integer(found, "partition", _INT32_MAX)
    return None if index is None or index < 0 else index


def _bytes(found: dict[str, Any], name: str) -> bytes | None:
    value = found.get(name)
    encoding = found.get(f"{name}_encoding")
    if encoding not in {None, "utf8", "base64", "json"}:
        msg = f"{name}_encoding is {json.dumps(encoding)[:40]}, none of utf8, base64, json"
        raise _WrongError(msg)
    if value is None and encoding != "json":
        return None
    if encoding == "json" or not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    return _base64(value, name) if encoding == "base64" else _utf8(value, name)


def _utf8(value: str, name: str) -> bytes:
    try:
        return value.encode()
    except UnicodeEncodeError:
        msg = f"{name} has a lone surrogate, which is no text"
        raise _WrongError(msg) from None


def _base64(value: str, name: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        msg = f"{name} is no base64"
        raise _WrongError(msg) from None


def _read_headers(value: Any) -> Headers:  # noqa: ANN401 (whatever the line holds)
    if value is None:
        return ()
    if isinstance(value, dict):
        return tuple((name, _header_text(name, each)) for name, each in value.items())
    if not isinstance(value, list):
        msg = "headers are no list of [name, base64]"
        raise _WrongError(msg)
    headers: list[tuple[str, bytes | None]] = []
    for each in value:
        if not (isinstance(each, list) and len(each) == 2 and isinstance(each[0], str)):  # noqa: PLR2004 (a pair)
            msg = f"the header {json.dumps(each)[:60]} is no [name, base64]"
            raise _WrongError(msg)
        name, data = each
        if data is not None and not isinstance(data, str):
            msg = f"the header {name!r} has no base64"
            raise _WrongError(msg)
        try:
            headers.append((name, None if data is None else _base64(data, f"the header {name!r}")))
        except _WrongError as error:
            msg = f"{error}; an object of headers takes text: {json.dumps({name: data})[:60]}"
            raise _WrongError(msg) from None
    return tuple(headers)


def _header_text(name: str, value: Any) -> bytes | None:  # noqa: ANN401 (whatever the line holds)
    if value is None or isinstance(value, str):
        return None if value is None else _utf8(value, f"the header {name!r}")
    msg = f"the header {name!r} is no text"
    raise _WrongError(msg)
