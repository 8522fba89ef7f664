"""Producing one record: a new one, or one that is there again, as it is or edited."""

from __future__ import annotations

import difflib

from klamm.client.errors import SettingsError
from klamm.client.guard import MILD, Plan
from klamm.client.messages.jsonl import Draft
from klamm.client.messages.producing import Sender
from klamm.client.messages.record import Headers, Record
from klamm.client.text import size_text
from klamm.tui.dialogs.change import Change, Done, Field, Prepared, Values
from klamm.tui.session import Session

NULL = "␀"
"""What stands in a field for null, as an empty field is an empty text."""

_DIFF_LINES_MAX = 200


class ProduceRecord(Change):
    """One record, from scratch or from one that is there. What was not edited keeps its bytes, text or not."""

    def __init__(self, topic: str, record: Record | None = None) -> None:
        self.topic = topic
        self.record = record
        self.title = "Produce a record" if record is None else "Resend a record"
        self._key = NULL if record is None else _text(record.key)
        self._value = "" if record is None else _text(record.value)
        self._headers = "" if record is None else " ".join(f"{n}={_text(v)}" for n, v in record.headers)
        self.fields = (
            Field("topic", "Topic", topic),
            Field("key", "Key", self._key, f"{NULL} is null"),
            Field("value", "Value", self._value, f"{NULL} is null: a tombstone"),
            Field("headers", "Headers", self._headers, "NAME=VALUE NAME=VALUE"),
            Field("partition", "Partition", "", "empty: by the key"),
        )

    def where(self) -> str:
        """Return what it is about."""
        return self.topic if self.record is None else f"{self.topic}:{self.record.partition}@{self.record.offset}"

    async def prepare(self, session: Session, values: Values) -> Prepared:
        """Check the topic; nothing is sent."""
        topic = values["topic"].strip()
        metadata = await session.cluster.metadata([topic]) if topic else None
        plan = Plan(f"send one record to {topic or '…'}", MILD, topic, (), "a record that was sent is there")
        draft = self._draft(topic, values)
        words = _words(draft)
        if metadata is None or metadata.topics[0].error_code:
            return Prepared(plan, words, problem=f"there is no topic {topic!r}")
        count = len(metadata.topics[0].partitions)
        if draft.partition is not None and draft.partition >= count:
            return Prepared(plan, words, problem=f"{topic} has partitions 0 to {count - 1}")
        lines = [
            f"key {_size(draft.key)}, value {_size(draft.value)}, {len(draft.headers)} headers",
            "partition by the key" if draft.partition is None else f"partition {draft.partition}",
        ]

        async def apply() -> Done:
            async with Sender(session.cluster) as sender:
                await sender.send([draft], topic)
            return Done(f"sent one record to {topic}", sender.errors, (), plan.cannot_undo)

        return Prepared(plan._replace(lines=lines), words, apply)

    def _draft(self, topic: str, values: Values) -> Draft:
        record = self.record
        key = record.key if record is not None and values["key"] == self._key else _bytes(values["key"])
        value = record.value if record is not None and values["value"] == self._value else _bytes(values["value"])
        same = record is not None and values["headers"] == self._headers
        headers = record.headers if record is not None and same else _headers(values["headers"])
        return Draft(topic, _partition(values["partition"]), None, key, value, headers)


class SendEdited(Change):
    """A record as it was edited in the person's editor; the plan is how it differs from the one that is there."""

    title = "Send an edited record"

    def __init__(self, record: Record, draft: Draft, before: str, after: str) -> None:
        self.record = record
        self.draft = draft
        self._changed = [
            line
            for line in difflib.unified_diff(before.split("\n"), after.split("\n"), lineterm="", n=1)
            if not line.startswith(("---", "+++"))
        ]

    def where(self) -> str:
        """Return what it is about."""
        return f"{self.record.topic}:{self.record.partition}@{self.record.offset}"

    async def prepare(self, session: Session, values: Values) -> Prepared:
        """Check the topic; nothing is sent."""
        draft, topic = self.draft, self.draft.topic or ""
        plan = Plan(f"send one record to {topic or '…'}", MILD, topic, (), "a record that was sent is there")
        metadata = await session.cluster.metadata([topic]) if topic else None
        if metadata is None or metadata.topics[0].error_code:
            return Prepared(plan, _words(draft), problem=f"there is no topic {topic!r}")
        count = len(metadata.topics[0].partitions)
        if draft.partition is not None and draft.partition >= count:
            return Prepared(plan, _words(draft), problem=f"{topic} has partitions 0 to {count - 1}")
        size = f"key {_size(draft.key)}, value {_size(draft.value)}, {len(draft.headers)} headers"
        changed = [("- " if each[0] == "-" else "+ " if each[0] == "+" else "  ") + each[1:] for each in self._changed]
        plan = plan._replace(lines=[size, *changed[:_DIFF_LINES_MAX]])

        async def apply() -> Done:
            async with Sender(session.cluster) as sender:
                await sender.send([draft], topic)
            return Done(f"sent one record to {topic}", sender.errors, (), plan.cannot_undo)

        return Prepared(plan, _words(draft), apply)


def _text(data: bytes | None) -> str:
    return NULL if data is None else data.decode("utf-8", "replace").replace("\n", " ")


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


def _words(draft: Draft) -> list[str]:
    """Return the command that sends the same, as far as a line can hold it."""
    words = ["produce", draft.topic or ""]
    if draft.key is not None:
        words += ["--key", draft.key.decode("utf-8", "replace")]
    words += ["--tombstone"] if draft.value is None else ["--value", draft.value.decode("utf-8", "replace")]
    for name, value in draft.headers:
        words += ["--header", f"{name}={'' if value is None else value.decode('utf-8', 'replace')}"]
    return [*words, *(["--partition", str(draft.partition)] if draft.partition is not None else []), "--yes"]
