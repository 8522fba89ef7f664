"""A record as a text that a person edits: lines of what it is, a line ``---``, then its value as it is.

What cannot be text is hex; what was not touched keeps its bytes, whatever they are.
"""

from __future__ import annotations

import json
from typing import Final, NamedTuple

from klamm.client.errors import SettingsError
from klamm.client.messages.jsonl import Draft
from klamm.client.messages.record import Headers, Record

RULE: Final = "---"
NULL: Final = "␀"
"""What stands for null, as nothing is an empty text."""
_SEPARATORS: Final = ((",", ":"), (", ", ": "))
_HEAD: Final = (
    "# Edit, save, leave: what would be sent is shown before it is. Unchanged, nothing happens.",
    f"# {NULL} is null. Of hex, spaces do not matter. The value begins below {RULE}",
)


class Form(NamedTuple):
    """How bytes stand in the text: null, text, hex, or json that is laid out and was written with ``separators``."""

    kind: str
    separators: tuple[str, str] | None = None


def write_text(record: Record) -> str:
    """Return a record's text."""
    lines = [*_HEAD, f"topic: {record.topic}", "partition:", f"key: {_inline(record.key)}"]
    lines += [
        f"header {json.dumps(name) if _needs_quotes(name) else name}: {_inline(value)}"
        for name, value in record.headers
    ]
    form = form_of(record.value)
    return "\n".join([*lines, f"value is: {form.kind}", RULE, _body(record.value, form)])


def read_text(text: str, record: Record) -> Draft:
    """Return what an edited text means.

    Raises:
        SettingsError: It means nothing; with the line.
    """
    head, rule, body = text.partition(f"\n{RULE}\n")
    if not rule:
        msg = f"the line {RULE} that begins the value is gone"
        raise SettingsError(msg)
    topic, partition, kind = record.topic, None, form_of(record.value).kind
    key = record.key
    headers: list[tuple[str, bytes | None]] = []
    for line in head.split("\n"):
        if line.startswith("#") or not line.strip():
            continue
        name, colon, rest = _split(line)
        rest = rest.removeprefix(" ")
        if not colon:
            msg = f"{line!r} is no NAME: VALUE"
            raise SettingsError(msg)
        if name == "topic":
            topic = rest.strip()
        elif name == "partition":
            partition = _partition(rest.strip())
        elif name == "key":
            key = _bytes_of(rest, record.key)
        elif name == "value is":
            kind = rest.strip()
        elif name.startswith("header "):
            headers.append(_header(name.removeprefix("header "), rest, record.headers))
        else:
            msg = f"{name!r} is none of topic, partition, key, header NAME, value is"
            raise SettingsError(msg)
    return Draft(topic, partition, None, key, _value(body, kind, record.value), tuple(headers))


def form_of(data: bytes | None) -> Form:
    """Return how bytes are shown: JSON laid out only where it can be written again as it was."""
    if data is None:
        return Form("null")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return Form("hex")
    if text[:1] in {"{", "["}:
        try:
            found = json.loads(text)
            for separators in _SEPARATORS:
                if json.dumps(found, ensure_ascii=False, separators=separators) == text:
                    return Form("json", separators)
        except (ValueError, RecursionError):
            return Form("text")
    return Form("text")


def _body(data: bytes | None, form: Form) -> str:
    if data is None:
        return ""
    if form.kind == "hex":
        return "\n".join(data[start : start + 16].hex(" ") for start in range(0, len(data), 16))
    text = data.decode()
    return json.dumps(json.loads(text), ensure_ascii=False, indent=2) if form.kind == "json" else text


def _value(body: str, kind: str, before: bytes | None) -> bytes | None:
    form = form_of(before)
    if kind == form.kind and body.rstrip("\n") == _body(before, form).rstrip("\n"):
        return before
    if kind == "null":
        return None
    # Editors end a file with a line feed; a value gets one only if it had one.
    ended = body if before is not None and before.endswith(b"\n") else body.removesuffix("\n")
    if kind == "hex":
        return _hex(body)
    if kind == "json":
        try:
            found = json.loads(body)
        except ValueError as error:
            msg = f"the value is no JSON: {error}"
            raise SettingsError(msg, "value is: text takes it as it is") from None
        return json.dumps(found, ensure_ascii=False, separators=form.separators or _SEPARATORS[0]).encode()
    if kind == "text":
        return ended.encode("utf-8", "surrogateescape")
    msg = f"value is: {kind!r} is none of text, json, hex, null"
    raise SettingsError(msg)


def _inline(data: bytes | None) -> str:
    if data is None:
        return NULL
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return f"0x{data.hex()}"
    return json.dumps(text, ensure_ascii=False) if _needs_quotes(text) else text


def _needs_quotes(text: str) -> bool:
    """Whether a text would not come back as it is from a line."""
    return (
        not text.isprintable()
        or text != text.strip()
        or text[:1] in {'"', "#"}
        or text[:2] == "0x"
        or ":" in text
        or text == NULL
    )


def _bytes_of(text: str, before: bytes | None) -> bytes | None:
    if text == _inline(before):
        return before
    if text.strip() == NULL:
        return None
    if text[:2] == "0x":
        return _hex(text[2:])
    return _unquoted(text).encode("utf-8", "surrogateescape")


def _unquoted(text: str) -> str:
    if text[:1] != '"':
        return text
    try:
        return str(json.loads(text))
    except ValueError:
        msg = f"{text} is no text in quotes"
        raise SettingsError(msg) from None


def _split(line: str) -> tuple[str, str, str]:
    """Return a line's name and value; a header's name may be quoted and have colons."""
    if line.startswith('header "'):
        end = line.find('":', len('header "'))
        if end > 0:
            return line[: end + 1], ":", line[end + 2 :]
    return line.partition(":")


def _header(name: str, rest: str, before: Headers) -> tuple[str, bytes | None]:
    plain = _unquoted(name.strip())
    same = next((value for each, value in before if each == plain and _inline(value) == rest), None)
    return plain, same if same is not None else _bytes_of(rest, None)


def _hex(text: str) -> bytes:
    try:
        return bytes.fromhex("".join(text.split()))
    except ValueError as error:
        msg = f"that is no hex: {error}"
        raise SettingsError(msg) from None


def _partition(text: str) -> int | None:
    if text and not text.isdigit():
        msg = f"a partition is a number, not {text!r}"
        raise SettingsError(msg)
    return int(text) if text else None
