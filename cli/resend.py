"""``klamm message resend``: single records sent again; and what ``klamm dlq redrive`` shares with it."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import TYPE_CHECKING, Any

from klamm.cli.guard import MILD, Plan, guard
from klamm.cli.output import Column, Item, Result
from klamm.cli.parser import UsageError
from klamm.cli.run import Run
from klamm.cli.spec import Argument, Command, Example, Option
from klamm.client.errors import RefusedError, SettingsError
from klamm.client.text import counted

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from klamm.client.cluster import Cluster
    from klamm.client.messages.jsonl import Draft
    from klamm.client.messages.raw_producing import Place
    from klamm.client.messages.record import Record
    from klamm.client.resending import Changes

CANNOT_UNDO = "records that are written stay"
COLUMNS = (
    Column("FROM", "source"),
    Column("TO", "target"),
    Column("P", "partition", right=True),
    Column("OFFSET", "offset", right=True),
    Column("SENT", "sent"),
)


async def resend(run: Run) -> Result:
    """Send single records again, changed or not."""
    from klamm.cli.copying import target_cluster
    from klamm.cli.message_get import place_of, rows_at
    from klamm.client.messages.record import CREATE, Record
    from klamm.client.resending import differing, places_of, send

    found: list[Record] = []
    for topic, partition, offset in [place_of(text) for text in run.values.texts("places")]:
        rows = await rows_at(run, topic, partition, offset)
        found += [
            Record(topic, partition, offset, timestamp_ms, CREATE, key, value, headers)
            for _, batch in rows
            for _, timestamp_ms, key, value, headers in batch
        ]
    drafts: list[Draft] = []
    for each in found:
        draft = _changed(run, each)
        drafts.append(await _edited(run, each.name, draft) if run.values.flag("edit") else draft)
    async with target_cluster(run) as target:
        await check_places(run, target, places_of(drafts))
        pairs = list(zip(found, drafts, strict=True))
        lines = [f"{each.name} → {_where(draft)}  {_told(differing(each, draft))}" for each, draft in pairs]
        plan = Plan(f"send {counted(len(drafts), 'record')} again", MILD, drafts[0].topic or "", lines, CANNOT_UNDO)
        go = await guard(run, plan, target)
        places, errors = await send(target, drafts, lambda text: run.note(f"waiting: {text}")) if go else ([], [])
    written = itertools.chain(places, itertools.repeat(None))
    return Result([_item(*pair, place) for pair, place in zip(pairs, written, strict=False)], COLUMNS, errors)


def _item(record: Record, draft: Draft, place: Place | None) -> Item:
    item: Item = {"source": record.name, "target": draft.topic, "partition": draft.partition, "offset": None}
    if place is not None:
        item |= {"partition": place.partition, "offset": place.offset}
    return item | {"sent": place is not None}


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


def _changed(run: Run, record: Record) -> Draft:
    """Return a record as the line wants it sent."""
    from klamm.cli.message_input import raw
    from klamm.client.resending import again, placed

    values = run.values
    key, value = values.text("key"), values.text("value")
    if value is not None and values.flag("tombstone"):
        msg = "--value and --tombstone exclude each other"
        raise UsageError(msg)
    elsewhere = any(values.text(name) is not None for name in ("to_context", "to_bootstrap"))
    changes = changes_of(run)._replace(
        topic=values.text("to") or record.topic,
        partition=values.number("partition"),
        key=None if key is None else (raw(key),),
        value=(None,) if values.flag("tombstone") else None if value is None else (raw(value),),
    )
    fields = (record.offset, record.timestamp_ms, record.key, record.value, record.headers)
    return placed(record, again(fields, changes), elsewhere=elsewhere)


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


async def check_places(run: Run, cluster: Cluster, places: Mapping[str, Collection[int]]) -> None:
    """Check that the destinations are there: sending must not make topics.

    Raises:
        ClientError: One is not, lacks a partition, or has no leader for it.
    """
    from klamm.cli.names import unknown_name
    from klamm.client.resending import missing_places
    from klamm.client.topics import all_topics

    for error in await missing_places(cluster, places):
        if isinstance(error, SettingsError):
            raise UsageError(error.message)
        if error.code == "UNKNOWN_TOPIC_OR_PARTITION":
            _, known = await all_topics(cluster)
            name = error.name or ""
            missing = unknown_name("topic", name, [each.name for each in known], f"klamm topic create {name}")
            missing.names_nothing = name in run.values.words()  # otherwise a record's header named it
            raise missing
        raise error


def _where(draft: Draft) -> str:
    return f"{draft.topic}" + ("" if draft.partition is None else f":{draft.partition}")


def _told(differing: list[str]) -> str:
    return f"(other {', '.join(differing)})" if differing else "(as it was)"


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
