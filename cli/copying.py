"""``klamm topic cp`` and ``klamm topic clone``: records from one topic to another, verified."""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from klamm.cli.guard import MILD, Plan, guard, record_made
from klamm.cli.names import unknown_name
from klamm.cli.output import Column, Item, Result, count_text
from klamm.cli.parser import UsageError
from klamm.cli.progress import Progress
from klamm.cli.run import Run
from klamm.client.errors import ClientError, RefusedError
from klamm.client.text import counted

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from klamm.cli.message_source import Source
    from klamm.client.cloning import Likeness
    from klamm.client.cluster import Cluster
    from klamm.client.copying import CopyResult, CopyState
    from klamm.client.messages.filters import Filter
    from klamm.client.positions import Range
    from klamm.client.wire import TopicMetadata

CANNOT_UNDO = "records that are written stay"
COLUMNS = (
    Column("FROM", "source"),
    Column("TO", "target"),
    Column("RECORDS", "records", right=True, show=count_text),
    Column("SENT", "sent", right=True, show=count_text),
    Column("THERE BEFORE", "skipped", right=True, show=count_text),
    Column("VERIFIED", "verified"),
    Column("HASH", "source_hash"),
)


async def copy_topic(run: Run) -> Result:
    """Copy the records of a topic into another that is there, or with ``--create`` is made."""
    return await _copy(run, clone=False)


async def clone_topic(run: Run) -> Result:
    """Make a topic with the partitions and configs of another, and copy its records."""
    return await _copy(run, clone=True)


async def _copy(run: Run, *, clone: bool) -> Result:
    from klamm.cli.message_source import find_source, make_condition, open_ended

    condition = await make_condition(run) if run.values.has("where") else None
    async with target_cluster(run) as target:
        source = await find_source(run)
        name = run.values.text("target") or source.topic
        if name == source.topic and await target.cluster_id() == await run.cluster.cluster_id():
            msg = f"{source.topic} cannot be copied into itself"
            raise UsageError(msg)
        path = await _state_file(run, source.topic, target, name)
        state = await _earlier(run, path)
        if state is None:
            state = await _prepare(run, source, target, name, clone=clone)
            if state is None:
                return Result([{"source": source.topic, "target": name, "copied": False}], COLUMNS[:2])
            await asyncio.to_thread(state.save, path)
        with open_ended(run):
            result = await _run_copy(run, source, target, state, condition)
    if not result.errors and result.is_verified:
        await asyncio.to_thread(path.unlink, missing_ok=True)
    return _told(run, state, result)


async def _run_copy(
    run: Run, source: Source, target: Cluster, state: CopyState, condition: Filter | None
) -> CopyResult:
    from klamm.client.copying import TopicCopy

    total = sum(end - start for start, end in state.ranges.values())
    with Progress(run, f"copying {state.source}", total, "offsets") as bar:
        copy = TopicCopy(
            run.cluster,
            source.metadata,
            target,
            state,
            condition,
            on_trouble=lambda text: run.note(f"waiting: {text}"),
            on_progress=lambda left: bar.at(total - left),
        )
        try:
            return await copy.run()
        except (asyncio.CancelledError, KeyboardInterrupt):
            run.note(f"interrupted. Go on with: {_resume_line()}")
            raise
        except ClientError as error:
            error.next_step = error.next_step or _resume_line()
            raise


def _told(run: Run, state: CopyState, result: CopyResult) -> Result:
    if result.errors:
        run.note(f"Go on with: {_resume_line()}")
    item: Item = {
        "source": state.source,
        "target": state.target,
        "source_cluster": state.source_cluster,
        "target_cluster": state.target_cluster,
        "records": result.count,
        "sent": result.sent,
        "skipped": result.skipped,
        "source_hash": result.source_hash,
        "target_records": result.target_count,
        "target_hash": result.target_hash,
        "verified": result.is_verified,
        "partitions": [
            {"partition": index, "start": start, "end": end, "target_start": state.target_starts.get(index)}
            for index, (start, end) in state.ranges.items()
        ],
    }
    return Result([item], COLUMNS, result.problems(state))


async def _prepare(run: Run, source: Source, target: Cluster, name: str, *, clone: bool) -> CopyState | None:
    """Settle what is copied, have it confirmed, make the destination if need be; None in a dry run."""
    from klamm.cli.message_destination import held_lines
    from klamm.client.cloning import plan_copy, plan_likeness

    ranges = await _ranges(run, source)
    topic = await _find(target, name)
    if topic is not None and clone:
        msg = f"there is a topic {name!r} at the destination already"
        raise RefusedError(msg, f"klamm topic cp {source.topic} {name}, or another name")
    if topic is None and not clone and not run.values.flag("create"):
        raise await _no_destination(source, target, name)
    repartition = not clone and run.values.flag("repartition")
    partitions = max((index for _, index in ranges), default=-1) + 1
    if topic is not None and len(topic.partitions) < partitions and not repartition:
        code = "TOO_FEW_PARTITIONS"
        there = counted(len(topic.partitions), "partition")
        msg = f"{name} has {there}, and records of partition {partitions - 1} are to be kept"
        raise ClientError(code, msg, f"klamm topic add-partitions {name} --to {partitions}, or add --repartition")
    likeness = None
    if topic is None:
        original = next(each for each in source.metadata.topics if each.name == source.topic)
        likeness = await plan_likeness(run.cluster, original, target, name)
    span = sum((each.end or 0) - each.start for each in ranges.values())
    if clone and run.values.flag("empty"):
        ranges, span = {}, 0
    named = target is run.cluster or target.settings.context is not None  # the ladder says in which context
    where = "" if named else f" of {target.settings.bootstrap[0]}"
    lines = [f"{counted(len(ranges), 'partition')}, {counted(span, 'offset')}" if ranges else "no records"]
    lines += ["by key into whatever partition the partitioner says" if repartition else "partitions stay as they are"]
    if topic is None:
        lines.append(f"{name} is made, with the partitions and configs of {source.topic}")
    else:
        lines += await held_lines(target, topic)
    what = f"{'clone' if clone else 'copy'} {source.topic} into {name}{where}"
    if not await guard(run, Plan(what, MILD, name, lines, CANNOT_UNDO), target):
        return None
    if topic is None:
        assert likeness is not None, "planned above where there is no topic"
        topic = await _create(run, likeness, target)
    state = await plan_copy(
        (run.cluster, source.topic),
        ranges,
        (target, topic),
        conditions=_conditions(run),
        keeps_partitions=not repartition,
    )
    if not state.keeps_timestamps:
        run.note(f"note: {name} has message.timestamp.type=LogAppendTime, so timestamps are not kept")
    return state


async def _ranges(run: Run, source: Source) -> dict[tuple[str, int], Range]:
    from klamm.client.positions import resolve_ranges

    values = run.values
    start = (values.text("from") if values.has("from") else None) or "start"
    until = values.text("until") if values.has("until") else None
    until = until if until or ".." in start else "end"
    found = await resolve_ranges(run.cluster, source.metadata, source.partitions, start, until, committed_only=True)
    for error in found.errors.values():
        raise error
    if start != "start" or until != "end":
        for note in found.notes:
            run.note(f"{source.topic}: {note}")
    return found.ranges


async def _create(run: Run, likeness: Likeness, target: Cluster) -> TopicMetadata:
    new = likeness.new
    if new.replication_factor < likeness.replicas_wanted:
        got, wanted = counted(new.replication_factor, "replica"), likeness.replicas_wanted
        run.note(f"note: {new.name} gets {got}, not {wanted}: so many brokers there are")
    await record_made(run, await likeness.make(target), target)
    return await likeness.wait(target)


async def _no_destination(source: Source, target: Cluster, name: str) -> ClientError:
    """Return the error of a destination that is not there."""
    from klamm.client.topics import all_topics

    _, there = await all_topics(target)
    hint = f"add --create, or klamm topic clone {source.topic} {name}"
    return unknown_name("topic", name, [each.name for each in there], hint)


async def _find(cluster: Cluster, name: str) -> TopicMetadata | None:
    from klamm.client.topics import find_topics

    _, topics, errors = await find_topics(cluster, [name])
    for error in errors.values():
        if error.code != "UNKNOWN_TOPIC_OR_PARTITION":
            raise error
    return topics[0] if topics else None


async def _state_file(run: Run, source: str, target: Cluster, name: str) -> Path:
    from klamm.client.copying import state_path

    given = run.values.text("state")
    if given is not None:
        return Path(given)
    return state_path(await run.cluster.cluster_id() or "", source, await target.cluster_id() or "", name)


async def _earlier(run: Run, path: Path) -> CopyState | None:
    """Return the state of an earlier copy that is to be gone on with.

    Raises:
        RefusedError: There is one, and the line does not say what to do with it; or there is none to go on with.
    """
    from klamm.client.copying import CopyState

    resume, restart = run.values.flag("resume"), run.values.flag("restart")
    if resume and restart:
        msg = "--resume and --restart contradict each other"
        raise UsageError(msg)
    if restart:
        await asyncio.to_thread(path.unlink, missing_ok=True)
        return None
    state = await asyncio.to_thread(CopyState.load, path)
    if state is None:
        if resume:
            msg = f"there is no copy to go on with: {path} is not there"
            raise RefusedError(msg, "leave out --resume")
        return None
    if not resume:
        msg = f"an earlier copy of {state.source} into {state.target} was not finished"
        raise RefusedError(msg, "--resume goes on with it, --restart copies all of it again")
    if state.conditions != _conditions(run):
        msg = f"the earlier copy had other filters: {' '.join(state.conditions) or 'none'}"
        raise RefusedError(msg, "the same filters, or --restart")
    return state


def _conditions(run: Run) -> list[str]:
    values = run.values
    several = [f"--{name} {text}" for name in ("where", "header") if values.has(name) for text in values.texts(name)]
    key = values.text("key") if values.has("key") else None
    return several + ([f"--key {key}"] if key is not None else [])


@asynccontextmanager
async def target_cluster(run: Run) -> AsyncGenerator[Cluster]:
    """Yield the cluster of ``--to-context`` or ``--to-bootstrap``, or the line's own."""
    from klamm.client.cluster import Cluster
    from klamm.client.contexts import Layers, resolve

    context, bootstrap = run.values.text("to_context"), run.values.text("to_bootstrap")
    if context is None and bootstrap is None:
        yield run.cluster
        return
    layers = Layers(context=context, bootstrap=bootstrap, write=run.values.flag("write"))
    async with Cluster(resolve(layers).settings) as cluster:
        yield cluster


def _resume_line() -> str:
    import shlex

    return shlex.join(["klamm", *(each for each in sys.argv[1:] if each not in {"--restart", "--resume"}), "--resume"])
