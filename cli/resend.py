"""``klamm message resend``: single records sent again; and what ``klamm dlq redrive`` shares with it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from klamm.cli.guard import MILD, Plan, guard
from klamm.cli.output import Column, Item, Result
from klamm.cli.parser import UsageError
from klamm.cli.run import Run
from klamm.cli.spec import Argument, Command, Example, Option
from klamm.client.errors import ClientError, RefusedError, SettingsError

if TYPE_CHECKING:
    from klamm.client.cluster import Cluster
    from klamm.client.messages.jsonl import Draft
    from klamm.client.messages.record import Fields
    from klamm.client.resending import Changes

CANNOT_UNDO = "records that are written stay"


async def resend(run: Run) -> Result:
    """Send single records again, changed or not."""
    from klamm.cli.copying import target_cluster
    from klamm.cli.message_get import place_of, rows_at

    places = [place_of(text) for text in run.values.texts("places")]
    found: list[tuple[str, int, int, Fields]] = []
    for topic, partition, offset in places:
        rows = await rows_at(run, topic, partition, offset)
        found += [(topic, partition, offset, fields) for _, batch in rows for fields in batch]
    drafts: list[Draft] = []
    for topic, partition, offset, fields in found:
        draft = _changed(run, topic, partition, fields)
        drafts.append(await _edited(run, f"{topic}:{partition}@{offset}", draft) if run.values.flag("edit") else draft)
    async with target_cluster(run) as target:
        await check_topics(run, target, {draft.topic or "" for draft in drafts}, drafts)
        lines = [
            f"{topic}:{partition}@{offset} → {_where(draft)}  {_told(fields, draft)}"
            for (topic, partition, offset, fields), draft in zip(found, drafts, strict=True)
        ]
        what = f"send {len(drafts)} record{'' if len(drafts) == 1 else 's'} again"
        go = await guard(run, Plan(what, MILD, drafts[0].topic or "", lines, CANNOT_UNDO), target)
        errors = await _send(target, drafts) if go else []
    items: list[Item] = [
        {
            "source": f"{topic}:{partition}@{offset}",
            "target": draft.topic,
            "partition": draft.partition,
            "sent": go and not errors,
        }
        for (topic, partition, offset, _), draft in zip(found, drafts, strict=True)
    ]
    columns = (Column("FROM", "source"), Column("TO", "target"), Column("P", "partition"), Column("SENT", "sent"))
    return Result(items, columns, errors)


def changes_of(run: Run) -> Changes:
    """Return what the line says about headers, key, value and time."""
    from klamm.cli.message_input import raw
    from klamm.client.resending import Changes

    values = run.values
    headers: dict[str, bytes | None] = {}
    for pair in values.texts("set_header"):
        name, equals, value = pair.partition("=")
        if not name:
            msg = f"--set-header {pair!r} is no NAME=VALUE"
            raise UsageError(msg)
        headers[name] = raw(value) if equals else None
    return Changes(headers=headers, drop=values.texts("drop_header"), keep_timestamp=values.flag("keep_timestamp"))


def _changed(run: Run, topic: str, partition: int, fields: Fields) -> Draft:
    """Return a record as the line wants it sent."""
    from klamm.cli.message_input import raw
    from klamm.client.resending import again

    values = run.values
    key, value = values.text("key"), values.text("value")
    if value is not None and values.flag("tombstone"):
        msg = "--value and --tombstone exclude each other"
        raise UsageError(msg)
    to = values.text("to") or topic
    elsewhere = any(values.text(name) is not None for name in ("to_context", "to_bootstrap"))
    same_place = to == topic and key is None and not elsewhere
    chosen = values.number("partition")
    changes = changes_of(run)._replace(
        topic=to,
        partition=chosen if chosen is not None else partition if same_place else None,
        key=None if key is None else (raw(key),),
        value=(None,) if values.flag("tombstone") else None if value is None else (raw(value),),
    )
    return again(fields, changes)


async def _edited(run: Run, place: str, draft: Draft) -> Draft:
    """Have a record edited in ``$EDITOR`` as JSON; the value as JSON itself where it is some.

    Raises:
        RefusedError: Nothing was changed, or nobody is there.
        SettingsError: What came back is no record.
    """
    from klamm.client.messages.jsonl import JsonlError, read

    if not run.interactive:
        msg = "--edit needs a terminal"
        raise RefusedError(msg, "--value, --key, --set-header and --drop-header change a record without one")
    before = _editable(draft)
    with run.without_deadline():
        after = await asyncio.to_thread(_edit, before, place)
    if after == before:
        msg = f"{place} was not changed in the editor"
        raise RefusedError(msg, "without --edit it is sent as it is")
    try:
        edited = read(after.encode(), 1)
    except JsonlError as error:
        msg = f"what came back from the editor is no record: {error.message}"
        raise SettingsError(msg, "edit it again") from None
    return edited._replace(topic=edited.topic or draft.topic)


def _editable(draft: Draft) -> str:
    from klamm.client.decoding import Options, decode
    from klamm.client.messages.jsonl import as_item
    from klamm.client.messages.record import CREATE, Record

    record = Record(draft.topic or "", 0, 0, draft.timestamp_ms or -1, CREATE, draft.key, draft.value, draft.headers)
    item: dict[str, Any] = as_item(record)
    found = decode(draft.value, Options("json"))
    if found.kind == "json" and isinstance(found.value, (dict, list)):
        item |= {"value": found.value, "value_encoding": "json"}
    item["partition"] = draft.partition
    kept = ("topic", "partition", "key", "key_encoding", "headers", "value", "value_encoding")
    return json.dumps({name: item[name] for name in kept}, indent=2, ensure_ascii=False) + "\n"


def _edit(text: str, place: str) -> str:
    import os
    import shlex
    import subprocess
    import tempfile
    from pathlib import Path

    editor = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    with tempfile.TemporaryDirectory(prefix="klamm-") as folder:
        path = Path(folder, f"{place.replace(':', '-').replace('@', '-')}.json")
        path.write_text(text)
        try:
            done = subprocess.run([*editor, str(path)], check=False)  # noqa: S603 (the user's own editor)
        except OSError as error:
            msg = f"{editor[0]}: {error.strerror}"
            raise SettingsError(msg, "set EDITOR") from error
        if done.returncode != 0:
            msg = f"{editor[0]} ended with {done.returncode}: nothing is sent"
            raise SettingsError(msg)
        return path.read_text()


async def check_topics(run: Run, cluster: Cluster, names: set[str], drafts: list[Draft]) -> None:
    """Check that the destinations are there: sending must not make topics.

    Raises:
        ClientError: One is not, or lacks a partition.
    """
    from klamm.cli.names import unknown_name
    from klamm.client.topics import all_topics, find_topics

    _, topics, errors = await find_topics(cluster, sorted(names))
    for name, error in errors.items():
        if error.code == "UNKNOWN_TOPIC_OR_PARTITION":
            _, known = await all_topics(cluster)
            missing = unknown_name("topic", name, [each.name for each in known], f"klamm topic create {name}")
            missing.names_nothing = name in run.values.words()  # otherwise a record's header named it
            raise missing
        raise error
    counts = {topic.name: len(topic.partitions) for topic in topics}
    for draft in drafts:
        if draft.partition is not None and draft.partition >= counts[draft.topic or ""]:
            msg = f"{draft.topic} has no partition {draft.partition}; it has 0 to {counts[draft.topic or ''] - 1}"
            raise UsageError(msg)


async def _send(cluster: Cluster, drafts: list[Draft]) -> list[ClientError]:
    from klamm.client.messages.producing import Sender

    async with Sender(cluster) as sender:
        await sender.send(drafts, "")
    return sender.errors


def _where(draft: Draft) -> str:
    return f"{draft.topic}" + ("" if draft.partition is None else f":{draft.partition}")


def _told(fields: Fields, draft: Draft) -> str:
    """Say what is different."""
    from klamm.client.resending import as_sent

    changed = [
        name
        for name, before, after in (("key", fields[2], draft.key), ("value", fields[3], draft.value))
        if before != after
    ]
    if as_sent(fields[4]) != as_sent(draft.headers):
        changed.append("headers")
    return f"(other {', '.join(changed)})" if changed else "(as it was)"


TO_CONTEXT = Option(("--to-context",), "context of the destination", "NAME")
TO_BOOTSTRAP = Option(("--to-bootstrap",), "brokers of the destination", "HOST:PORT,…")
SET_HEADER = Option(("--set-header",), "header to set, in place of those of that name", "NAME=VALUE", repeat=True)
DROP_HEADER = Option(("--drop-header",), "headers to leave out, by name or glob", "NAME", repeat=True)
KEEP_TIMESTAMP = Option(("--keep-timestamp",), "keep the record's time; without it, the time of sending")
WRITE_ACLS = ("READ on the topic", "WRITE on the destination")
RESEND = Command(
    "message resend",
    "Send single records again, changed or not",
    resend,
    "Resend",
    (Argument("places", "records as TOPIC:PARTITION@OFFSET", repeat=True),),
    (
        Option(("--to",), "topic to send to, instead of the same one", "TOPIC"),
        TO_CONTEXT,
        TO_BOOTSTRAP,
        Option(("-p", "--partition"), "partition to send to", "N"),
        Option(("--edit",), "edit the record as JSON in $EDITOR first"),
        Option(("--value",), "another value", "TEXT"),
        Option(("--tombstone",), "a null value"),
        Option(("-k", "--key"), "another key", "KEY"),
        SET_HEADER,
        DROP_HEADER,
        KEEP_TIMESTAMP,
    ),
    (
        Example("klamm message resend orders:0@42", "once more, into the same partition"),
        Example("klamm message resend orders:0@42 --edit", "corrected by hand"),
        Example("klamm message resend orders:0@42 --to orders-test --drop-header 'x-*' --yes", "elsewhere"),
    ),
    ("Metadata", "ListOffsets", "Fetch", "Produce"),
    WRITE_ACLS,
    level=1,
    details="A traceparent is replaced by one of the same trace with an id of its own, never added beside.",
)
