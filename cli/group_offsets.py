"""``klamm group offsets``: export, import, restore, delete; and the plan before offsets are committed."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from klamm.cli.group_names import NAME, SOME, chosen_groups
from klamm.cli.guard import MODERATE, Plan, guard, record
from klamm.cli.output import Column, Item, Result, count_text
from klamm.cli.parser import UsageError
from klamm.cli.run import Run
from klamm.cli.spec import Argument, Command, Example, Option
from klamm.client import operations
from klamm.client.errors import ClientError, RefusedError
from klamm.client.text import counted, reason_of

if TYPE_CHECKING:
    from klamm.client.committed import Committed
    from klamm.client.groups import ListedGroup

OFFSET_COLUMNS = (
    Column("TOPIC", "topic"),
    Column("P", "partition", right=True),
    Column("BEFORE", "before", right=True, show=count_text),
    Column("AFTER", "after", right=True, show=count_text),
    Column("CHANGED", "changed"),
)


async def export_offsets(run: Run) -> Result:
    """Write a group's committed offsets as data."""
    from klamm.client.committed import committed_offsets

    groups, errors, notes = await chosen_groups(run)
    commits, failed = await committed_offsets(run.cluster, groups)
    items = [
        {
            "name": f"{name}/{topic}:{index}",
            "group": name,
            "topic": topic,
            "partition": index,
            "offset": each.offset,
            "leader_epoch": each.leader_epoch,
            "metadata": each.metadata,
        }
        for name, offsets in sorted(commits.items())
        for (topic, index), each in sorted(offsets.items())
    ]
    columns = (
        Column("GROUP", "group"),
        Column("TOPIC", "topic"),
        Column("P", "partition", right=True),
        Column("OFFSET", "offset", right=True),
    )
    return Result(items, columns, [*errors, *failed.values()], empty="no committed offsets", notes=notes)


async def import_offsets(run: Run) -> Result:
    """Set a group's offsets as a file of ``offsets export`` has them."""
    name = run.values.required("name")
    target = _read_offsets(run.values.required("file"))
    return await _restore_offsets(run, name, target, f"import offsets of {name}")


async def restore_offsets(run: Run) -> Result:
    """Set a group's offsets as they were before a change in the undo journal."""
    from klamm.client import journal
    from klamm.client.committed import Committed

    text = run.values.required("entry").removeprefix("@undo-")
    if not text.isdigit():
        msg = f"{text!r} is no number of the undo journal; see: klamm undo --list"
        raise UsageError(msg)
    entry = journal.read(int(text))
    commits = [each for each in entry.inverse if each["operation"] == "commit_offsets"]
    if not commits:
        error = ClientError("NO_OFFSETS", f"change {text} ({entry.summary}) kept no offsets", "klamm undo --list")
        return Result((), (), [error])
    operation = commits[0]
    target = {(t, p): Committed(offset, epoch, metadata) for t, p, offset, epoch, metadata in operation["offsets"]}
    return await _restore_offsets(
        run, run.values.text("to_group") or operation["group"], target, f"restore {entry.summary}"
    )


async def delete_offsets(run: Run) -> Result:
    """Delete a group's committed offsets of topics."""
    from klamm.client.committed import committed_offsets, move_text
    from klamm.client.committed import delete_offsets as delete
    from klamm.client.groups import find_groups

    name, topics = run.values.required("name"), run.values.texts("topic")
    if not topics:
        msg = "klamm group offsets delete needs --topic NAME"
        raise UsageError(msg)
    groups, errors, _ = await find_groups(run.cluster, [name])
    if errors:
        return Result((), (), list(errors.values()))
    commits, failed = await committed_offsets(run.cluster, groups)
    before = {where: each for where, each in commits.get(name, {}).items() if where[0] in topics}
    without = [
        ClientError("NO_OFFSETS", f"group {name} has no offsets of {topic}", f"klamm group describe {name}", name=topic)
        for topic in dict.fromkeys(topics)
        if topic not in {where[0] for where in before}
    ]
    if not before:
        return Result((), (), [*failed.values()] or without)
    lines = [move_text(where, each, None) for where, each in sorted(before.items())]
    go = await guard(run, Plan(f"delete {counted(len(before), 'offset')} of {name}", MODERATE, name, lines))
    refused: dict[tuple[str, int], ClientError] = {}
    if go:
        refused = await delete(run.cluster, groups[0].coordinator, name, before)
        gone = {where: each for where, each in before.items() if where not in refused}
        if gone:
            await record(
                run, f"deleted {counted(len(gone), 'offset')} of {name}", [operations.commit_offsets(name, gone)]
            )
    items = [
        {"group": name, "topic": topic, "partition": index, "before": each.offset, "after": None, "changed": go}
        for (topic, index), each in sorted(before.items())
        if (topic, index) not in refused
    ]
    return Result(items, OFFSET_COLUMNS, [*without, *refused.values()])


async def _restore_offsets(run: Run, name: str, target: Mapping[tuple[str, int], Committed], what: str) -> Result:
    from klamm.client.committed import committed_offsets
    from klamm.client.groups import ListedGroup, coordinators, list_groups

    listed, _ = await list_groups(run.cluster)
    group = next((each for each in listed if each.group_id == name), None)
    if group is None:  # An import makes the group again: its offsets are all it is.
        where, errors = await coordinators(run.cluster, [name])
        if errors:
            return Result((), (), list(errors.values()))
        group = ListedGroup(name, "Empty", "classic", "", where[name])
    ensure_empty(group)
    commits, _ = await committed_offsets(run.cluster, [group])
    return await commit(run, group, commits.get(name, {}), target, what)


async def commit(
    run: Run,
    group: ListedGroup,
    before: Mapping[tuple[str, int], Committed],
    target: Mapping[tuple[str, int], Committed],
    what: str,
) -> Result:
    """Commit offsets once the plan is confirmed, and note what takes it back."""
    from klamm.client.committed import commit_offsets, move_text

    lines: list[str] = []
    items: list[Item] = []
    for where, each in sorted(target.items()):
        old = before.get(where)
        lines.append(move_text(where, old, each))
        items.append(
            {
                "group": group.group_id,
                "topic": where[0],
                "partition": where[1],
                "before": None if old is None else old.offset,
                "after": each.offset,
                "changed": False,
            }
        )
    if not await guard(run, Plan(what, MODERATE, group.group_id, lines)):
        return Result(items, OFFSET_COLUMNS)
    metadata = await run.cluster.metadata(sorted({topic for topic, _ in target}))
    errors = await commit_offsets(run.cluster, group.coordinator, group.group_id, target, metadata)
    for item in items:
        item["changed"] = (item["topic"], item["partition"]) not in errors
    inverse = operations.offsets_as_before(group.group_id, before, [where for where in target if where not in errors])
    if inverse:
        await record(run, what, inverse)
    return Result(items, OFFSET_COLUMNS, list(errors.values()))


def ensure_empty(group: ListedGroup) -> None:
    """Check that a group has no members.

    Raises:
        RefusedError: It has.
    """
    from klamm.client.groups import MEMBERLESS

    if group.state and group.state not in MEMBERLESS:
        msg = f"group {group.group_id} is {group.state}: its members would overwrite the offsets"
        hint = "stop them first, and one that was killed is a member until its session times out"
        raise RefusedError(msg, f"{hint}; see: klamm group members {group.group_id}")


def _read_offsets(path: str) -> dict[tuple[str, int], Committed]:
    from klamm.client.committed import Committed

    text = sys.stdin.read() if path == "-" else _file_text(path)
    try:
        found = json.loads(text) if text.lstrip().startswith("{\n") or '"items"' in text else None
        items = found["items"] if found else [json.loads(line) for line in text.splitlines() if line.strip()]
        return {
            (str(item["topic"]), int(item["partition"])): Committed(
                int(item["offset"]), int(item.get("leader_epoch", -1)), str(item.get("metadata", ""))
            )
            for item in items
        }
    except (ValueError, KeyError, TypeError) as error:
        msg = f"{path}: not what `klamm group offsets export -o json` (or jsonl) writes: {error!r}"
        raise UsageError(msg) from error


def _file_text(path: str) -> str:
    try:
        return Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path}: {reason_of(error)}"
        raise UsageError(msg) from error


_READ = ("DESCRIBE on each group",)
_WRITE = ("READ on the group and its topics",)
COMMANDS = (
    Command(
        "group offsets export",
        "Write groups' committed offsets as data",
        export_offsets,
        "OffsetList",
        (SOME,),
        (),
        (Example("klamm group offsets export billing -o json > offsets.json", "keep them"),),
        ("Metadata", "ListGroups", "DescribeCluster", "OffsetFetch"),
        _READ,
    ),
    Command(
        "group offsets import",
        "Set a group's offsets as an exported file has them",
        import_offsets,
        "OffsetChange",
        (NAME, Argument("file", "of `offsets export -o json` or jsonl; - reads standard input")),
        (),
        (Example("klamm group offsets import billing offsets.json --yes", "as they were"),),
        ("Metadata", "ListGroups", "OffsetFetch", "OffsetCommit"),
        _WRITE,
        level=2,
    ),
    Command(
        "group offsets restore",
        "Set a group's offsets as they were before a change",
        restore_offsets,
        "OffsetChange",
        (Argument("entry", "number in the undo journal, or @undo-NUMBER"),),
        (Option(("--to-group",), "another group than the one they are of", "NAME"),),
        (Example("klamm group offsets restore @undo-42 --yes", "before change 42"),),
        ("Metadata", "ListGroups", "OffsetFetch", "OffsetCommit"),
        _WRITE,
        level=2,
    ),
    Command(
        "group offsets delete",
        "Delete a group's committed offsets of topics",
        delete_offsets,
        "OffsetChange",
        (NAME,),
        (Option(("--topic",), "of this topic", "NAME", repeat=True),),
        (Example("klamm group offsets delete billing --topic old-orders --yes", "it no longer reads that topic"),),
        ("Metadata", "ListGroups", "OffsetFetch", "OffsetDelete"),
        ("DELETE on the group, READ on the topic",),
        level=2,
    ),
)
