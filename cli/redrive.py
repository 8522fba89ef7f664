"""``klamm dlq redrive``: the records of a dead-letter topic sent again, by a plan, and none of them twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from klamm.cli.guard import MODERATE, Plan, guard
from klamm.cli.message_source import Source, find_source, make_condition, open_ended
from klamm.cli.output import Column, Item, Result, count_text, time_text
from klamm.cli.parser import UsageError, suggestion
from klamm.cli.resend import (
    CANNOT_UNDO,
    DROP_HEADER,
    KEEP_TIMESTAMP,
    SET_HEADER,
    TO_BOOTSTRAP,
    TO_CONTEXT,
    WRITE_ACLS,
    changes_of,
    check_places,
)
from klamm.cli.run import Run
from klamm.cli.spec import Argument, Command, Example, Option
from klamm.client.errors import ClientError
from klamm.client.text import counted, printable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from klamm.client.cluster import Cluster
    from klamm.client.messages.jsonl import Draft
    from klamm.client.messages.producing import Sender
    from klamm.client.messages.record import Fields, Headers
    from klamm.client.messages.scan import Scan
    from klamm.client.offsets import Partition
    from klamm.client.positions import Range
    from klamm.client.redriving import RedriveState

_TARGETS_SHOWN = 10
_NAMES_KEPT = 100
_REDRIVEN = (
    Column("FROM", "source"),
    Column("TO", "target"),
    Column("RECORDS", "records", right=True, show=count_text),
    Column("SENT", "sent", right=True, show=count_text),
    Column("SENT BEFORE", "sent_before", right=True, show=count_text),
)


async def redrive(run: Run) -> Result:
    """Send the records of a dead-letter topic again to where they belong."""
    from klamm.cli.copying import target_cluster

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
            state = await _state(run, source, target)
            ranges = await _ranges(run, source)
            plan = await _survey(run, source, ranges, state)
            if not plan.targets:
                run.note(f"nothing to redrive: of {plan.scanned:,} records none {plan.why_none(to_header)}")
                return Result(plan.items(source.topic, {}), _REDRIVEN, plan.errors)
            await check_places(run, target, dict.fromkeys(plan.targets, ()))
            if not await guard(run, Plan(plan.what, MODERATE, source.topic, plan.lines(run), CANNOT_UNDO), target):
                return Result(plan.items(source.topic, {}), _REDRIVEN, plan.errors)
            sent, errors = await _redrive(run, source, ranges, target, state)
    positions = ",".join(f"{index}={each.end}" for (_, index), each in sorted(ranges.items()))
    run.note(f"What comes later is redriven by the same line; or with --from {positions}")
    return Result(plan.items(source.topic, sent), _REDRIVEN, [*plan.errors, *errors])


async def _state(run: Run, source: Source, target: Cluster) -> RedriveState:
    """Return what was sent before; what an earlier redrive left in doubt is found out first."""
    from klamm.client.redriving import RedriveState, redrive_path

    topic_id = next(topic.topic_id for topic in source.metadata.topics if topic.name == source.topic)
    path = redrive_path(await run.cluster.cluster_id() or "", source.topic, topic_id, await target.cluster_id() or "")
    state = await asyncio.to_thread(RedriveState.load, path, source.topic)
    written, missing = await state.resolve(target)
    if written or missing:
        run.note(
            f"an earlier redrive ended in the middle: of its last {written + missing:,} records {written:,} arrived"
        )
    return state


class _Survey:
    """What a redrive would send, counted before anything is sent."""

    def __init__(self) -> None:
        self.targets: Counter[str] = Counter()
        self.before: Counter[str] = Counter()
        self.partitions: Counter[int] = Counter()
        self.homeless = 0
        self.header_names: set[str] = set()
        self.scanned = 0
        self.oldest_ms: int | None = None
        self.newest_ms: int | None = None
        self.errors: list[ClientError] = []

    def without_target(self, headers: Headers) -> None:
        """Count a record that has not the header which would name its topic."""
        self.homeless += 1
        if len(self.header_names) < _NAMES_KEPT:
            self.header_names.update(name for name, _ in headers)

    def why_none(self, to_header: str | None) -> str:
        """Return how the sentence "of so many records none" ends."""
        before = sum(self.before.values())
        if before:
            return f"is left; {before:,} were sent before, and --again sends them again"
        if to_header is None or not self.homeless:
            return "matches"
        known = sorted(self.header_names)
        if to_header in known:
            return f"names a topic in its header {to_header!r}"
        have = f"they have {', '.join(map(printable, known[:_TARGETS_SHOWN]))}" if known else "they have no headers"
        return f"has a header {to_header!r}: {have}.{suggestion(to_header, known)}"

    @property
    def what(self) -> str:
        names = ", ".join(list(self.targets)[:_TARGETS_SHOWN])
        return f"redrive {sum(self.targets.values()):,} records to {names}"

    def count(self, partition: int, topic: str, timestamp_ms: int) -> None:
        """Count a record that would be sent."""
        self.targets[topic] += 1
        self.partitions[partition] += 1
        self.oldest_ms = timestamp_ms if self.oldest_ms is None else min(self.oldest_ms, timestamp_ms)
        self.newest_ms = timestamp_ms if self.newest_ms is None else max(self.newest_ms, timestamp_ms)

    def lines(self, run: Run) -> list[str]:
        total = sum(self.targets.values())
        found = [f"{counted(count, 'record')} → {name}" for name, count in self.targets.most_common(_TARGETS_SHOWN)]
        found.append(f"of {self.scanned:,} that were looked at, in partitions {_listed(self.partitions)}")
        if self.oldest_ms is not None and self.newest_ms is not None:
            found.append(f"written between {time_text(self.oldest_ms)} and {time_text(self.newest_ms)}")
        if self.before:
            found.append(f"{sum(self.before.values()):,} that were sent before are left out; --again sends them again")
        if self.homeless:
            found.append(f"{self.homeless:,} without the header are left where they are")
        dropped = run.values.texts("drop_header")
        if dropped:
            found.append(f"without the headers {', '.join(dropped)}")
        limit = run.values.number("n")
        return [*found, f"only the first {limit:,}"] if limit is not None and total >= limit else found

    def items(self, source: str, sent: dict[str, int]) -> list[Item]:
        return [
            {
                "source": source,
                "target": name,
                "records": self.targets[name],
                "sent": sent.get(name, 0),
                "sent_before": self.before[name],
            }
            for name in dict.fromkeys((*self.targets, *self.before))
        ]


async def _survey(run: Run, source: Source, ranges: dict[Partition, Range], state: RedriveState) -> _Survey:
    """Look at everything that would be sent."""
    found = _Survey()
    left = run.values.number("n")
    again = run.values.flag("again")
    scan = await _scan(run, source, ranges)
    async for rows in scan.rows():
        index = rows.where[1]
        for _, batch in rows.rows:
            for fields in batch:
                topic = _target(run, fields)
                if topic is None:
                    found.without_target(fields[4])
                elif not again and state.is_sent(topic, index, fields[0]):
                    found.before[topic] += 1
                elif left != 0:
                    left = None if left is None else left - 1
                    found.count(index, topic, fields[1])
        if left == 0:
            break
    found.scanned = scan.scanned
    found.errors += scan.failures()
    return found


async def _redrive(
    run: Run, source: Source, ranges: dict[Partition, Range], target: Cluster, state: RedriveState
) -> tuple[dict[str, int], list[ClientError]]:
    """Send in chunks; return how many went to each topic, and what failed."""
    from klamm.client.messages.producing import Sender
    from klamm.client.redriving import log_ends

    sent: Counter[str] = Counter()
    scan = await _scan(run, source, ranges)
    errors: list[ClientError] = []
    try:
        async with Sender(target) as sender:
            async for chunk in _chunks(run, scan, state):
                drafts = [draft for _, _, draft in chunk]
                state.begin(await log_ends(target, {draft.topic or "" for draft in drafts}), chunk)
                failed = await _send_chunk(sender, drafts)
                if failed:
                    errors += failed
                    break
                state.done()
                sent.update(draft.topic or "" for draft in drafts)
    except (asyncio.CancelledError, KeyboardInterrupt):
        run.note(f"interrupted: {sum(sent.values()):,} records were sent; the same line goes on")
        raise
    errors += scan.failures()
    if sender.failed:
        code, msg = "NOT_SENT", f"{sender.failed:,} of {counted(sender.queued, 'record')} not written"
        errors.append(ClientError(code, msg, "the same line sends what is missing"))
    return dict(sent), errors


async def _send_chunk(sender: Sender, drafts: list[Draft]) -> list[ClientError]:
    """Send records and wait until they are acknowledged; return what failed."""
    try:
        await sender.send(drafts, "")
        await sender.flush()
    except ClientError as error:
        await sender.flush()
        return [*sender.errors, error]
    return sender.errors


async def _chunks(run: Run, scan: Scan, state: RedriveState) -> AsyncIterator[list[tuple[int, int, Draft]]]:
    """Yield what is to be sent, some at a time: (partition, offset, record)."""
    from klamm.client.redriving import CHUNK
    from klamm.client.resending import again as sent_again

    left = run.values.number("n")
    again = run.values.flag("again")
    changes = changes_of(run)
    keep_partition = run.values.flag("keep_partition")
    chunk: list[tuple[int, int, Draft]] = []
    async for rows in scan.rows():
        index = rows.where[1]
        for _, batch in rows.rows:
            for fields in batch:
                topic = _target(run, fields)
                if topic is None or left == 0 or (not again and state.is_sent(topic, index, fields[0])):
                    continue
                left = None if left is None else left - 1
                partition = index if keep_partition else None
                chunk.append((index, fields[0], sent_again(fields, changes._replace(topic=topic, partition=partition))))
                if len(chunk) == CHUNK:
                    yield chunk
                    chunk = []
        if left == 0:
            break
    if chunk:
        yield chunk


async def _ranges(run: Run, source: Source) -> dict[Partition, Range]:
    from klamm.client.positions import resolve_ranges

    start = run.values.text("from") or "start"
    until = run.values.text("until") or (None if ".." in start else "end")
    found = await resolve_ranges(run.cluster, source.metadata, source.partitions, start, until, committed_only=True)
    for error in found.errors.values():
        raise error
    return found.ranges


async def _scan(run: Run, source: Source, ranges: dict[Partition, Range]) -> Scan:
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


def _listed(partitions: Counter[int]) -> str:
    shown = ",".join(str(index) for index in sorted(partitions)[:_TARGETS_SHOWN])
    return shown + (",…" if len(partitions) > _TARGETS_SHOWN else "")


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
            TO_CONTEXT,
            TO_BOOTSTRAP,
            Option(("--from",), "where to begin, or a range such as @-1h..@now", "POSITION"),
            Option(("--until",), "where to stop, exclusive; the end as it is now unless said", "POSITION"),
            Option(("-p", "--partition"), "only these partitions", "N,…"),
            Option(("--where",), "only records that match", "FILTER", repeat=True),
            Option(("-k", "--key"), "only records with exactly this key", "KEY"),
            Option(("-H", "--header"), "only records with this header", "NAME=VALUE", repeat=True),
            Option(("-n",), "at most so many", "COUNT"),
            Option(("--again",), "also what an earlier redrive sent to the same topic"),
            SET_HEADER,
            DROP_HEADER,
            Option(("--keep-partition",), "the partition it is in now; without it, by key"),
            KEEP_TIMESTAMP,
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
        WRITE_ACLS,
        level=2,
        details="Everything is looked at and counted before anything is sent. The records stay in the dead-letter "
        "topic. What was sent is remembered on this machine: the same line again sends only what is left, also after a "
        "crash, unless --again.",
    ),
)
