"""Producing one record: a new one, or one that is there again, as it is or edited.

What is sent again is a step of the same trace: its ``traceparent`` gets an id of its own, as with ``klamm message
resend``, and it goes to the partition it is in unless its topic or key is another.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Final

from klamm.client.errors import SettingsError
from klamm.client.guard import MILD, Plan
from klamm.client.messages.jsonl import Draft
from klamm.client.messages.record import Headers, Record
from klamm.client.resending import Changes, as_sent, differing, headers_again, missing_places, placed, places_of, send
from klamm.client.text import counted, size_text
from klamm.tui.dialogs.change import Change, Done, Field, Prepared, Values
from klamm.tui.session import Session

NULL: Final = "␀"
"""What stands in a field for null, as an empty field is an empty text."""

_FIELD_BYTES_MAX: Final = 2_000
"""A field, and a command line, hold no more; nor what is no plain text of one line."""
_DIFF_LINES_MAX: Final = 200
_DIFFED_LINES_MAX: Final = 2_000
"""Of more lines that changed only the first are shown, before and after."""
_LINE_MAX: Final = 400


class ProduceRecord(Change):
    """One record, from scratch or from one that is there. What was not edited keeps its bytes, text or not."""

    def __init__(self, topic: str, record: Record | None = None) -> None:
        self.topic = topic
        self.record = record
        self.asks = record is None
        self.title = "Produce a record" if record is None else "Resend a record"
        self._key = NULL if record is None else _field(record.key)
        self._value = "" if record is None else _field(record.value)
        self._headers = "" if record is None else _header_field(record.headers)
        self.fields = (
            Field("topic", "Topic", topic),
            Field("key", "Key", self._key, f"{NULL} is null"),
            Field("value", "Value", self._value, f"{NULL} is null: a tombstone"),
            Field("headers", "Headers", self._headers, "NAME=VALUE NAME=VALUE"),
            Field("partition", "Partition", "", "empty: by the key" if record is None else "empty: as it was"),
        )

    def where(self) -> str:
        """Return what it is about."""
        return self.topic if self.record is None else self.record.name

    async def prepare(self, session: Session, values: Values) -> Prepared:
        """Check the topic; nothing is sent."""
        draft = self._draft(values["topic"].strip(), values)
        words = produce_words(draft) if self.record is None else resend_words(self.record, draft)
        lines = [] if self.record is None else _told(self.record, draft)
        return await _prepared(session, draft, words, lines)

    def _draft(self, topic: str, values: Values) -> Draft:
        record, partition = self.record, _partition(values["partition"])
        if record is None:
            key, value, headers = _bytes(values["key"]), _bytes(values["value"]), _headers(values["headers"])
            return Draft(topic, partition, None, key, value, headers)
        key = record.key if values["key"] == self._key else _bytes(values["key"])
        value = record.value if values["value"] == self._value else _bytes(values["value"])
        same = values["headers"] == self._headers
        headers = headers_again(record.headers, Changes()) if same else _headers(values["headers"])
        return placed(record, Draft(topic, partition, None, key, value, headers))


class SendEdited(Change):
    """A record as it was edited in the person's editor; the plan is how it differs from the one that is there."""

    title = "Send an edited record"

    def __init__(self, record: Record, draft: Draft, before: str, after: str) -> None:
        self.record = record
        self.draft = placed(record, draft)
        self._texts = before, after

    def where(self) -> str:
        """Return what it is about."""
        return self.record.name

    async def prepare(self, session: Session, values: Values) -> Prepared:
        """Check the topic; nothing is sent."""
        return await _prepared(session, self.draft, resend_words(self.record, self.draft), differences(*self._texts))


def differences(before: str, after: str) -> list[str]:
    """Return the lines that differ, with ``- `` and ``+ ``, and one more line on each side."""
    old, new = before.split("\n"), after.split("\n")
    start = next((place for place, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    first = max(0, start - 1)
    last = 0
    while last < min(len(old), len(new)) - start and old[-1 - last] == new[-1 - last]:
        last += 1
    last = max(0, last - 1)
    old, new = old[first : len(old) - last], new[first : len(new) - last]
    if len(old) + len(new) > _DIFFED_LINES_MAX:
        half = _DIFF_LINES_MAX // 2
        found = [f"- {line}" for line in old[:half]] + [f"+ {line}" for line in new[:half]]
    else:
        lines = difflib.unified_diff(old, new, lineterm="", n=1)
        found = [
            f"{line[0] if line[0] in '-+' else ' '} {line[1:]}"
            for line in lines
            if not line.startswith(("---", "+++", "@@"))
        ]
    cut = [line if len(line) <= _LINE_MAX else line[:_LINE_MAX] + "…" for line in found[:_DIFF_LINES_MAX]]
    more = len(found) > _DIFF_LINES_MAX or len(old) + len(new) > _DIFFED_LINES_MAX
    return [*cut, *(["… and more"] if more else [])]


async def _prepared(session: Session, draft: Draft, words: Sequence[str], lines: Sequence[str]) -> Prepared:
    """Return what sending a record would do, after a look at its topic."""
    topic = draft.topic or ""
    plan = Plan(f"send one record to {topic or '…'}", MILD, topic, (), "a record that was sent is there")
    if not topic:
        return Prepared(plan, words, problem="to which topic?")
    for error in await missing_places(session.cluster, places_of([draft])):
        return Prepared(plan, words, problem=error.message)
    where = "partition by the key" if draft.partition is None else f"partition {draft.partition}"
    sizes = f"key {_size(draft.key)}, value {_size(draft.value)}, {counted(len(draft.headers), 'header')}, {where}"

    async def apply() -> Done:
        places, errors = await send(session.cluster, [draft])
        written = "".join(f":{each.partition}" + ("" if each.offset is None else f"@{each.offset}") for each in places)
        return Done(f"sent one record to {topic}{written}", errors, (), plan.cannot_undo)

    return Prepared(plan._replace(lines=[sizes, *lines]), words, apply)


def produce_words(draft: Draft) -> list[str]:
    """Return the command that sends a new record."""
    words = ["produce", draft.topic or ""]
    if draft.key is not None:
        words += ["--key", draft.key.decode()]
    words += ["--tombstone"] if draft.value is None else ["--value", draft.value.decode()]
    for name, value in draft.headers:
        words += ["--header", f"{name}={'' if value is None else value.decode()}"]
    return [*words, *(["--partition", str(draft.partition)] if draft.partition is not None else []), "--yes"]


def resend_words(record: Record, draft: Draft) -> list[str]:
    """Return the command that sends a record again; what a line cannot hold is edited by hand there too."""
    words = ["message", "resend", record.name]
    words += ["--to", draft.topic or ""] if draft.topic != record.topic else []
    if draft.partition is not None and draft.partition != placed(record, draft._replace(partition=None)).partition:
        words += ["--partition", str(draft.partition)]
    new_headers = as_sent(draft.headers) != as_sent(record.headers)
    new = [draft.key] if draft.key != record.key else []
    new += [draft.value] if draft.value != record.value and draft.value is not None else []
    new += [value for _, value in draft.headers] if new_headers else []
    if not all(_is_plain(each) for each in new):
        return [*words, "--edit"]
    if draft.key != record.key and draft.key is not None:
        words += ["--key", draft.key.decode()]
    if draft.value != record.value:
        words += ["--tombstone"] if draft.value is None else ["--value", draft.value.decode()]
    if new_headers:
        words += ["--drop-header", "*"] if record.headers else []
        for name, value in draft.headers:
            words += ["--set-header", f"{name}={'' if value is None else value.decode()}"]
    return [*words, "--yes"]


def _told(record: Record, draft: Draft) -> list[str]:
    changed = [f"{name} is another" if name != "headers" else "headers are others" for name in differing(record, draft)]
    if draft.headers != record.headers and not changed:
        changed.append("traceparent: the same trace, an id of its own")
    return changed or ["as it was"]


def _is_plain(data: bytes | None) -> bool:
    """Return whether bytes can be a field, or a word of a line, and come back from there."""
    if data is None or len(data) > _FIELD_BYTES_MAX:
        return False
    try:
        return data.decode().isprintable()
    except UnicodeDecodeError:
        return False


def _field(data: bytes | None) -> str:
    """Return what a field shows of bytes: what it cannot hold is said, and kept."""
    if data is None:
        return NULL
    return data.decode() if _is_plain(data) else f"({size_text(len(data))}, kept as it is; e edits it)"


def _header_field(headers: Headers) -> str:
    words = [f"{name}={NULL if value is None else value.decode('utf-8', 'replace')}" for name, value in headers]
    text = " ".join(words)
    plain = all((value is None or _is_plain(value)) and name.isprintable() for name, value in headers)
    if plain and len(text) <= _FIELD_BYTES_MAX and len(text.split()) == len(words):
        return text
    return f"({counted(len(headers), 'header')}, kept as they are; e edits them)"


def _bytes(text: str) -> bytes | None:
    return None if text == NULL else text.encode()


def _size(data: bytes | None) -> str:
    return "null" if data is None else size_text(len(data))


def _headers(text: str) -> Headers:
    found: list[tuple[str, bytes | None]] = []
    for word in text.split():
        name, equals, value = word.partition("=")
        if not equals:
            msg = f"a header is NAME=VALUE, not {word!r}"
            raise SettingsError(msg)
        found.append((name, _bytes(value)))
    return tuple(found)


def _partition(text: str) -> int | None:
    if not text.strip():
        return None
    if not text.strip().isdigit():
        msg = f"a partition is a number, not {text!r}"
        raise SettingsError(msg)
    return int(text)
