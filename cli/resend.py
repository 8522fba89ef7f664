"""``klamm message resend`` and ``klamm dlq redrive``: records sent again, one by one or by plan."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from klamm.cli.guard import Plan, guard
from klamm.cli.output import Column, Item, Result, count_text
from klamm.cli.parser import UsageError
from klamm.cli.run import Run
from klamm.cli.spec import Argument, Command, Example, Option
from klamm.client.errors import ClientError, RefusedError, SettingsError

if TYPE_CHECKING:
    from klamm.cli.message_read import Source
    from klamm.client.cluster import Cluster
    from klamm.client.messages.jsonl import Draft
    from klamm.client.messages.record import Fields
    from klamm.client.messages.scan import Scan
    from klamm.client.offsets import Partition
    from klamm.client.positions import Range
    from klamm.client.resending import Changes

CANNOT_UNDO = "records that are written stay"
_TARGETS_SHOWN = 10


async def resend(run: Run) -> Result:
    """Send single records again, changed or not."""
    from klamm.cli.copying import target_cluster
    from klamm.cli.message_read import place_of, rows_at

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
        await _check_topics(target, {draft.topic or "" for draft in drafts}, drafts)
        lines = [
            f"{topic}:{partition}@{offset} → {_where(draft)}  {_told(fields, draft)}"
            for (topic, partition, offset, fields), draft in zip(found, drafts, strict=True)
        ]
        what = f"send {len(drafts)} record{'' if len(drafts) == 1 else 's'} again"
        go = await guard(run, Plan(what, 1, drafts[0].topic or "", lines, CANNOT_UNDO), target)
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


async def redrive(run: Run) -> Result:
    """Send the records of a dead-letter topic again to where they belong."""
    from klamm.cli.copying import target_cluster
    from klamm.cli.message_read import find_source, open_ended

    to, to_header = run.values.text("to"), run.values.text("to_header")
    if (to is None) == (to_header is None):
        msg = "klamm dlq redrive needs --to TOPIC, or --to-header NAME for the header that holds each record's topic"
        raise UsageError(msg)
    async with target_cluster(run) as target:
        with open_ended(run):
            source = await find_source(run)
            if to == source.topic and target is run.cluster:
                msg = f"{source.topic} cannot be redriven into itself"
                raise UsageError(msg)
            ranges = await _ranges(run, source)
            plan = await _survey(run, source, ranges)
            if not plan.targets:
                run.note(f"nothing to redrive: none of {plan.scanned:,} records match")
                return Result([], _REDRIVEN, plan.errors)
            await _check_topics(target, set(plan.targets), [])
            if not await guard(run, Plan(plan.what, 2, source.topic, plan.lines(run), CANNOT_UNDO), target):
                return Result(plan.items(source.topic, {}), _REDRIVEN, plan.errors)
            sent, errors = await _redrive(run, source, ranges, target)
    positions = ",".join(f"{index}={each.end}" for (_, index), each in sorted(ranges.items()))
    run.note(f"What comes later is redriven with --from {positions}")
    return Result(plan.items(source.topic, sent), _REDRIVEN, [*plan.errors, *errors])


_REDRIVEN = (
    Column("FROM", "source"),
    Column("TO", "target"),
    Column("RECORDS", "records", right=True, show=count_text),
    Column("SENT", "sent", right=True, show=count_text),
)


class _Survey:
    """What a redrive would send, counted before anything is sent."""

    def __init__(self) -> None:
        self.targets: Counter[str] = Counter()
        self.partitions: Counter[int] = Counter()
        self.homeless = 0
        self.scanned = 0
        self.oldest_ms: int | None = None
        self.newest_ms: int | None = None
        self.errors: list[ClientError] = []

    @property
    def what(self) -> str:
        names = ", ".join(list(self.targets)[:_TARGETS_SHOWN])
        return f"redrive {sum(self.targets.values()):,} records to {names}"

    def lines(self, run: Run) -> list[str]:
        from klamm.cli.topic import time_text

        total = sum(self.targets.values())
        found = [f"{count:,} records → {name}" for name, count in self.targets.most_common(_TARGETS_SHOWN)]
        found.append(f"of {self.scanned:,} that were looked at, in partitions {_listed(self.partitions)}")
        if self.oldest_ms is not None and self.newest_ms is not None:
            found.append(f"written between {time_text(self.oldest_ms)} and {time_text(self.newest_ms)}")
        if self.homeless:
            found.append(f"{self.homeless:,} without the header are left where they are")
        dropped = run.values.texts("drop_header")
        if dropped:
            found.append(f"without the headers {', '.join(dropped)}")
        limit = run.values.number("n")
        return [*found, f"only the first {limit:,}"] if limit is not None and total >= limit else found

    def items(self, source: str, sent: dict[str, int]) -> list[Item]:
        return [
            {"source": source, "target": name, "records": count, "sent": sent.get(name, 0)}
            for name, count in self.targets.items()
        ]


async def _survey(run: Run, source: Source, ranges: dict[Partition, Range]) -> _Survey:
    """Look at everything that would be sent."""
    found = _Survey()
    left = _limit(run)
    scan = await _scan(run, source, ranges)
    async for rows in scan.rows():
        for _, batch in rows.rows:
            for fields in batch:
                topic = _target(run, fields)
                if topic is None:
                    found.homeless += 1
                    continue
                if left == 0:
                    break
                left = None if left is None else left - 1
                found.targets[topic] += 1
                found.partitions[rows.where[1]] += 1
                timestamp = fields[1]
                found.oldest_ms = timestamp if found.oldest_ms is None else min(found.oldest_ms, timestamp)
                found.newest_ms = timestamp if found.newest_ms is None else max(found.newest_ms, timestamp)
        if left == 0:
            break
    found.scanned = scan.scanned
    found.errors += [*scan.errors.values(), *scan.corrupt_errors()]
    return found


async def _redrive(
    run: Run, source: Source, ranges: dict[Partition, Range], target: Cluster
) -> tuple[dict[str, int], list[ClientError]]:
    """Send; return how many went to each topic, and what failed."""
    from klamm.client.messages.producing import Sender
    from klamm.client.resending import again

    sent: Counter[str] = Counter()
    left = _limit(run)
    changes = _changes(run)
    keep_partition = run.values.flag("keep_partition")
    scan = await _scan(run, source, ranges)
    async with Sender(target) as sender:
        async for rows in scan.rows():
            drafts: list[Draft] = []
            for _, batch in rows.rows:
                for fields in batch:
                    topic = _target(run, fields)
                    if topic is None or left == 0:
                        continue
                    left = None if left is None else left - 1
                    partition = rows.where[1] if keep_partition else None
                    drafts.append(again(fields, changes._replace(topic=topic, partition=partition)))
            await sender.send(drafts, "")
            sent.update(draft.topic or "" for draft in drafts)
            sender.poll()
            if sender.errors or left == 0:
                break
    errors = [*sender.errors, *scan.errors.values(), *scan.corrupt_errors()]
    if sender.failed:
        code, msg = "NOT_SENT", f"{sender.failed:,} of {sender.queued:,} records were not written"
        errors.append(ClientError(code, msg, "the same line again would send the others twice: use --from"))
    return dict(sent), errors


async def _ranges(run: Run, source: Source) -> dict[Partition, Range]:
    from klamm.client.positions import resolve_ranges

    start = run.values.text("from") or "start"
    until = run.values.text("until") or (None if ".." in start else "end")
    found = await resolve_ranges(run.cluster, source.metadata, source.partitions, start, until, committed_only=True)
    for error in found.errors.values():
        raise error
    return found.ranges


async def _scan(run: Run, source: Source, ranges: dict[Partition, Range]) -> Scan:
    from klamm.cli.message_read import make_condition
    from klamm.client.messages.scan import Scan

    return Scan(
        run.cluster,
        source.metadata,
        ranges,
        await make_condition(run),
        committed_only=True,
        on_trouble=lambda text: run.note(f"waiting: {text}"),
    )


def _target(run: Run, fields: Fields) -> str | None:
    """Return the topic that a record goes to; None where its header does not say."""
    to = run.values.text("to")
    if to is not None:
        return to
    wanted = run.values.text("to_header")
    for name, data in reversed(fields[4]):
        if name == wanted and data:
            return data.decode("utf-8", "replace")
    return None


def _limit(run: Run) -> int | None:
    limit = run.values.number("n")
    if limit is not None and limit < 1:
        msg = f"-n takes a number from 1 on, not {limit}"
        raise UsageError(msg)
    return limit


def _changes(run: Run) -> Changes:
    """Return what the line says about headers, key, value and time."""
    from klamm.cli.message_write import raw
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
    from klamm.cli.message_write import raw
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
    changes = _changes(run)._replace(
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


async def _check_topics(cluster: Cluster, names: set[str], drafts: list[Draft]) -> None:
    """Check that the destinations are there: sending must not make topics.

    Raises:
        ClientError: One is not, or lacks a partition.
    """
    from klamm.cli.parser import suggestion
    from klamm.client.topics import all_topics, find_topics

    _, topics, errors = await find_topics(cluster, sorted(names))
    for name, error in errors.items():
        if error.code == "UNKNOWN_TOPIC_OR_PARTITION":
            _, known = await all_topics(cluster)
            error.message = f"there is no topic {name!r}.{suggestion(name, [each.name for each in known])}"
            error.next_step = f"klamm topic create {name}"
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
    changed = [
        name
        for name, before, after in (("key", fields[2], draft.key), ("value", fields[3], draft.value))
        if before != after
    ]
    if tuple(fields[4]) != tuple(draft.headers):
        changed.append("headers")
    return f"(other {', '.join(changed)})" if changed else "(as it was)"


def _listed(partitions: Counter[int]) -> str:
    shown = ",".join(str(index) for index in sorted(partitions)[:_TARGETS_SHOWN])
    return shown + (",…" if len(partitions) > _TARGETS_SHOWN else "")


_TO_CONTEXT = Option(("--to-context",), "context of the destination", "NAME")
_TO_BOOTSTRAP = Option(("--to-bootstrap",), "brokers of the destination", "HOST:PORT,…")
_SET_HEADER = Option(("--set-header",), "header to set, in place of those of that name", "NAME=VALUE", repeat=True)
_DROP_HEADER = Option(("--drop-header",), "headers to leave out, by name or glob", "NAME", repeat=True)
_KEEP_TIMESTAMP = Option(("--keep-timestamp",), "keep the record's time; without it, the time of sending")
_WRITE_ACLS = ("READ on the topic", "WRITE on the destination")
RESEND = Command(
    "message resend",
    "Send single records again, changed or not",
    resend,
    "Resend",
    (Argument("places", "records as TOPIC:PARTITION@OFFSET", repeat=True),),
    (
        Option(("--to",), "topic to send to, instead of the same one", "TOPIC"),
        _TO_CONTEXT,
        _TO_BOOTSTRAP,
        Option(("-p", "--partition"), "partition to send to", "N"),
        Option(("--edit",), "edit the record as JSON in $EDITOR first"),
        Option(("--value",), "another value", "TEXT"),
        Option(("--tombstone",), "a null value"),
        Option(("-k", "--key"), "another key", "KEY"),
        _SET_HEADER,
        _DROP_HEADER,
        _KEEP_TIMESTAMP,
    ),
    (
        Example("klamm message resend orders:0@42", "once more, into the same partition"),
        Example("klamm message resend orders:0@42 --edit", "corrected by hand"),
        Example("klamm message resend orders:0@42 --to orders-test --drop-header 'x-*' --yes", "elsewhere"),
    ),
    ("Metadata", "ListOffsets", "Fetch", "Produce"),
    _WRITE_ACLS,
    level=1,
    details="A traceparent is replaced by one of the same trace with an id of its own, never added beside.",
)
COMMANDS = (
    Command(
        "dlq redrive",
        "Send the records of a dead-letter topic again, by a plan",
        redrive,
        "Redrive",
        (Argument("topic", "dead-letter topic", completes="topic"),),
        (
            Option(("--to",), "topic to send to", "TOPIC"),
            Option(("--to-header",), "header that holds each record's own topic", "NAME"),
            _TO_CONTEXT,
            _TO_BOOTSTRAP,
            Option(("--from",), "where to begin, or a range such as @-1h..@now", "POSITION"),
            Option(("--until",), "where to stop, exclusive; the end as it is now unless said", "POSITION"),
            Option(("-p", "--partition"), "only these partitions", "N,…"),
            Option(("--where",), "only records that match", "FILTER", repeat=True),
            Option(("-k", "--key"), "only records with exactly this key", "KEY"),
            Option(("-H", "--header"), "only records with this header", "NAME=VALUE", repeat=True),
            Option(("-n",), "at most so many", "COUNT"),
            _SET_HEADER,
            _DROP_HEADER,
            Option(("--keep-partition",), "the partition it is in now; without it, by key"),
            _KEEP_TIMESTAMP,
        ),
        (
            Example("klamm dlq redrive orders.dlq --to orders --dry-run", "what would be sent"),
            Example(
                "klamm dlq redrive orders.dlq --to orders --where 'h.error == timeout' --drop-header 'error*' --yes",
                "only what timed out, without the error headers",
            ),
            Example("klamm dlq redrive dlq --to-header __connect.errors.topic", "Kafka Connect's, each to its own"),
        ),
        ("Metadata", "ListOffsets", "Fetch", "Produce"),
        _WRITE_ACLS,
        level=2,
        details="Everything is looked at and counted before anything is sent. The records stay in the dead-letter "
        "topic; the line ends with the positions from which to redrive what comes later.",
    ),
)
