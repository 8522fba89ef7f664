"""``klamm partition``: list, elect, reassign plan/apply/status/cancel."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from klamm.cli.checks import numbers_of
from klamm.cli.guard import MODERATE, SEVERE, Plan, guard, record
from klamm.cli.names import names_or_all
from klamm.cli.output import Column, Item, Result, isr_style, leader_style, leader_text
from klamm.cli.parser import UsageError
from klamm.cli.run import Run
from klamm.cli.spec import Argument, Command, Example, Option
from klamm.cli.topic_describe import placement_item
from klamm.client import operations
from klamm.client.errors import ClientError, ResponseError
from klamm.client.text import counted, reason_of

if TYPE_CHECKING:
    from klamm.client.wire import TopicMetadata

_NAMES = Argument("names", "topics, by name or glob; all if none", required=False, repeat=True, completes="topic")
_ASKED_EVERY_S = 0.5
"""How often `reassign apply --wait` asks what is still moving."""
COLUMNS = (
    Column("TOPIC", "topic"),
    Column("P", "partition", right=True),
    Column("LEADER", "leader", right=True, show=leader_text, style=leader_style),
    Column("REPLICAS", "replicas"),
    Column("ISR", "isr", style=isr_style),
    Column("EPOCH", "leader_epoch", right=True),
)
MOVE_COLUMNS = (
    Column("TOPIC", "topic"),
    Column("P", "partition", right=True),
    Column("FROM", "before"),
    Column("TO", "replicas"),
    Column("CHANGED", "changed"),
)


async def list_partitions(run: Run) -> Result:
    """List partitions with leader, replicas and ISR."""
    topics, errors = await _topics(run)
    items = [
        {"name": f"{topic.name}:{part.partition}", "topic": topic.name} | placement_item(part)
        for topic in topics
        for part in sorted(topic.partitions, key=lambda each: each.partition)
        if _wanted(run, part)
    ]
    return Result(items, COLUMNS, errors, empty="no partitions")


async def elect(run: Run) -> Result:
    """Give partitions their preferred leader back, or any leader at all."""
    from klamm.client.partitions import PREFERRED, UNCLEAN, elect_leaders, to_elect

    topics, errors = await _topics(run)
    unclean = run.values.flag("unclean")
    kind = UNCLEAN if unclean else PREFERRED
    parts = to_elect(topics, kind)
    if not parts:
        return Result((), (), errors, empty="every partition is led as it should be")
    level = SEVERE if unclean else MODERATE
    cannot = "records that only the lost replicas have are gone" if unclean else ""
    name = ",".join(dict.fromkeys(topic for topic, _ in parts))
    plan = Plan(
        f"elect leaders of {counted(len(parts), 'partition')}", level, name, [f"{t}:{p}" for t, p in parts], cannot
    )
    go = await guard(run, plan)
    failed: dict[tuple[str, int], ClientError] = {}
    if go:
        _, failed = await elect_leaders(run.cluster, parts, kind)
        await record(run, plan.what, [], cannot or "leadership: elect again")
    items = [
        {"name": f"{topic}:{index}", "topic": topic, "partition": index, "elected": go}
        for topic, index in parts
        if (topic, index) not in failed
    ]
    columns = (Column("TOPIC", "topic"), Column("P", "partition", right=True), Column("ELECTED", "elected"))
    return Result(items, columns, [*errors, *failed.values()])


async def plan_reassignment(run: Run) -> Result:
    """Compute where replicas should go; prints a plan that ``apply`` takes."""
    from klamm.client.partitions import spread

    text = run.values.text("to_brokers")
    topics, errors = await _topics(run)
    brokers = sorted(await run.cluster.brokers())
    chosen = brokers if text is None else numbers_of("--to-brokers", text)
    unknown = [each for each in chosen if each not in brokers]
    if unknown:
        msg = f"there is no broker {unknown[0]}; there is {', '.join(map(str, brokers))}"
        raise UsageError(msg)
    before = {(t.name, p.partition): p.replicas for t in topics for p in t.partitions}
    targets = spread(topics, chosen)
    return Result(_moves(targets, before), MOVE_COLUMNS[:-1], errors, empty="nothing has to move")


async def apply_reassignment(run: Run) -> Result:
    """Begin the moves of a plan."""
    from klamm.client.partitions import reassign

    targets = _read_plan(run.values.required("file"))
    metadata = await run.cluster.metadata(sorted({topic for topic, _ in targets}))
    before = {(t.name, p.partition): p.replicas for t in metadata.topics for p in t.partitions}
    missing: list[ClientError] = [
        ResponseError(3, None, name=f"{topic}:{index}") for topic, index in targets if (topic, index) not in before
    ]
    known = {where: replicas for where, replicas in targets.items() if where in before and before[where] != replicas}
    if not known:
        return Result((), (), missing, empty="every partition is where the plan wants it")
    items = _moves(known, before)
    lines = [f"{item['topic']}:{item['partition']}  {item['before']} → {item['replicas']}" for item in items]
    lines.append(await _to_copy(run, metadata.topics, known, before))
    name = ",".join(dict.fromkeys(topic for topic, _ in known))
    if not await guard(run, Plan(f"move {counted(len(known), 'partition')}", SEVERE, name, lines)):
        return Result(items, MOVE_COLUMNS, missing)
    failed = await reassign(run.cluster, known)
    done = [where for where in known if where not in failed]
    if done:
        inverse = [operations.reassign({where: before[where] for where in done})]
        await record(run, f"moved {counted(len(done), 'partition')}", inverse)
        if run.values.flag("wait"):
            await _wait(run, done)
        else:
            run.note("The moves go on; see: klamm partition reassign status")
    shown = [item | {"changed": True} for item in items if (item["topic"], item["partition"]) in done]
    return Result(shown, MOVE_COLUMNS, [*missing, *failed.values()])


async def _to_copy(
    run: Run,
    topics: Sequence[TopicMetadata],
    targets: Mapping[tuple[str, int], Sequence[int]],
    before: Mapping[tuple[str, int], Sequence[int]],
) -> str:
    """Say how much moves copy between brokers: each new replica is as large as its leader."""
    from klamm.cli.topic_describe import leader_sizes

    sizes = await leader_sizes(run, topics)
    new = {where: len(set(replicas) - set(before[where])) for where, replicas in targets.items()}
    if any(count and where not in sizes for where, count in new.items()):
        return "bytes to copy: unknown"
    return f"bytes to copy: {sum(count * sizes.get(where, 0) for where, count in new.items()):,}"


async def _wait(run: Run, moving: Sequence[tuple[str, int]]) -> None:
    """Wait until no partition of ``moving`` is on its way; a bar shows how many have arrived."""
    from klamm.cli.progress import Progress
    from klamm.client.partitions import list_reassignments

    wanted = set(moving)
    with Progress(run, "moving partitions", len(wanted)) as bar:
        while True:
            left = {(each.topic, each.partition) for each in await list_reassignments(run.cluster)} & wanted
            bar.at(len(wanted) - len(left))
            if not left:
                return
            await asyncio.sleep(_ASKED_EVERY_S)


async def reassignment_status(run: Run) -> Result:
    """Show moves that go on."""
    from klamm.client.partitions import list_reassignments

    found = await list_reassignments(run.cluster)
    items = [
        {
            "name": f"{each.topic}:{each.partition}",
            **{k: list(v) if isinstance(v, tuple) else v for k, v in each._asdict().items()},
        }
        for each in found
    ]
    columns = (*COLUMNS[:2], Column("REPLICAS", "replicas"), Column("ADDING", "adding"), Column("REMOVING", "removing"))
    return Result(items, columns, empty="nothing is moving")


async def cancel_reassignment(run: Run) -> Result:
    """Take moves back."""
    from klamm.client.partitions import list_reassignments, reassign

    found = await list_reassignments(run.cluster)
    names = run.values.texts("names")
    chosen, missing = names_or_all(names, list(dict.fromkeys(each.topic for each in found)))
    moving = [(each.topic, each.partition) for each in found if each.topic in chosen]
    errors: list[ClientError] = [
        ResponseError(85, f"nothing of {name!r} is moving", "klamm partition reassign status", name=name)
        for name in missing
    ]
    if not moving:
        return Result((), (), errors, empty="nothing is moving")
    plan = Plan(f"cancel {counted(len(moving), 'move')}", MODERATE, ",".join(chosen), [f"{t}:{p}" for t, p in moving])
    go = await guard(run, plan)
    failed = await reassign(run.cluster, dict.fromkeys(moving)) if go else {}
    items = [
        {"name": f"{t}:{p}", "topic": t, "partition": p, "cancelled": go} for t, p in moving if (t, p) not in failed
    ]
    columns = (*COLUMNS[:2], Column("CANCELLED", "cancelled"))
    return Result(items, columns, [*errors, *failed.values()])


def _moves(
    targets: Mapping[tuple[str, int], Sequence[int]], before: Mapping[tuple[str, int], Sequence[int]]
) -> list[Item]:
    return [
        {
            "name": f"{topic}:{index}",
            "topic": topic,
            "partition": index,
            "before": list(before[topic, index]),
            "replicas": list(replicas),
            "changed": False,
        }
        for (topic, index), replicas in sorted(targets.items())
    ]


def _read_plan(path: str) -> dict[tuple[str, int], tuple[int, ...]]:
    """Read what ``reassign plan -o json`` writes, or Kafka's own ``{"partitions": […]}``."""
    import sys

    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text()
    except OSError as error:
        msg = f"{path}: {reason_of(error)}"
        raise UsageError(msg) from error
    try:
        found: Any = json.loads(text)
        rows = found["items"] if "items" in found else found["partitions"]
        return {(str(r["topic"]), int(r["partition"])): tuple(int(each) for each in r["replicas"]) for r in rows}
    except (ValueError, KeyError, TypeError) as error:
        msg = f"{path}: no plan of `klamm partition reassign plan -o json`: {error!r}"
        raise UsageError(msg) from error


def _wanted(run: Run, part: Any) -> bool:  # noqa: ANN401 (a partition's metadata)
    if run.values.flag("leaderless") and part.leader >= 0:
        return False
    return not run.values.flag("under_replicated") or len(part.isr) < len(part.replicas)


async def _topics(run: Run) -> tuple[list[Any], list[ClientError]]:
    from klamm.cli.topic_names import find_topics

    _, topics, errors = await find_topics(run, run.values.texts("names"))
    return topics, errors


COMMANDS = (
    Command(
        "partition list",
        "List partitions with leader, replicas and ISR",
        list_partitions,
        "PartitionList",
        (_NAMES,),
        (
            Option(("--leaderless",), "only those without a leader"),
            Option(("--under-replicated",), "only those that lack replicas"),
        ),
        (
            Example("klamm partition list orders", "of one topic"),
            Example("klamm partition list --leaderless", "what cannot be written to"),
        ),
        ("Metadata",),
        ("DESCRIBE on the topics",),
    ),
    Command(
        "partition elect",
        "Give partitions their preferred leader back",
        elect,
        "PartitionElection",
        (_NAMES,),
        (Option(("--unclean",), "elect any replica for partitions without a leader: loses records"),),
        (Example("klamm partition elect --yes", "after a broker came back"),),
        ("Metadata", "ElectLeaders"),
        ("ALTER on the cluster",),
        level=2,
        details="--unclean is severe: --confirm takes the topics' names, separated by commas.",
    ),
    Command(
        "partition reassign plan",
        "Compute where replicas should go",
        plan_reassignment,
        "ReassignmentPlan",
        (_NAMES,),
        (Option(("--to-brokers",), "spread over these only", "ID,…"),),
        (Example("klamm partition reassign plan orders --to-brokers 1,2,3 -o json > plan.json", "a file for apply"),),
        ("Metadata",),
        ("DESCRIBE on the topics",),
    ),
    Command(
        "partition reassign apply",
        "Begin the moves of a plan",
        apply_reassignment,
        "ReassignmentPlan",
        (Argument("file", "of `reassign plan -o json`, or Kafka's own format; - reads standard input"),),
        (Option(("--wait",), "end when everything has arrived, or --timeout is over"),),
        (
            Example("klamm partition reassign apply plan.json --confirm orders", "in a script"),
            Example("klamm partition reassign apply plan.json --wait --timeout 1h", "with a bar on a terminal"),
        ),
        ("Metadata", "AlterPartitionReassignments", "ListPartitionReassignments"),
        ("ALTER on the cluster",),
        level=3,
    ),
    Command(
        "partition reassign status",
        "Show moves that go on",
        reassignment_status,
        "ReassignmentList",
        (),
        (),
        (Example("klamm partition reassign status -w", "until nothing moves"),),
        ("ListPartitionReassignments",),
        ("DESCRIBE on the cluster",),
    ),
    Command(
        "partition reassign cancel",
        "Take moves back",
        cancel_reassignment,
        "ReassignmentCancel",
        (_NAMES,),
        (),
        (Example("klamm partition reassign cancel --yes", "everything stays where it was"),),
        ("ListPartitionReassignments", "AlterPartitionReassignments"),
        ("ALTER on the cluster",),
        level=2,
    ),
)
