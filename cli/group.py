"""``klamm group``: list, describe, members, delete, remove-member, seek, offsets export/import/restore/delete."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from klamm.cli.guard import Plan, guard, record
from klamm.cli.output import Column, Item, Result, Table, count_text, lag_cell, state_style
from klamm.cli.parser import UsageError, suggestion
from klamm.cli.run import Run, names_or_all
from klamm.cli.spec import Argument, Command, Example, Option
from klamm.client.errors import ClientError, RefusedError, ResponseError
from klamm.client.text import counted

if TYPE_CHECKING:
    from klamm.client.committed import Committed
    from klamm.client.groups import DescribedGroup, ListedGroup
    from klamm.client.lag_report import LagRow

_NAMES = Argument("names", "groups, by name or glob; all if none", required=False, repeat=True, completes="group")
_SOME = Argument("names", "groups, by name or glob", repeat=True, completes="group")
_NAME = Argument("name", "group", completes="group")
_GROUP_ID_NOT_FOUND = 69
LIST_COLUMNS = (
    Column("NAME", "name"),
    Column("STATE", "state", style=state_style),
    Column("TYPE", "type"),
    Column("PROTOCOL", "protocol_type"),
    Column("COORDINATOR", "coordinator", right=True),
)
MEMBER_COLUMNS = (
    Column("MEMBER", "member_id"),
    Column("CLIENT", "client_id"),
    Column("HOST", "client_host"),
    Column("INSTANCE", "instance_id"),
    Column("PARTITIONS", "assignments"),
)
OFFSET_COLUMNS = (
    Column("TOPIC", "topic"),
    Column("P", "partition", right=True),
    Column("BEFORE", "before", right=True, show=count_text),
    Column("AFTER", "after", right=True, show=count_text),
    Column("CHANGED", "changed"),
)


async def list_groups(run: Run) -> Result:
    """List groups with one ListGroups request to each broker."""
    from klamm.client import groups as client

    states = [state for text in run.values.texts("state") for state in text.split(",")]
    types = [kind for text in run.values.texts("type") for kind in text.split(",")]
    groups, errors = await client.list_groups(run.cluster, states, types)
    chosen, missing = names_or_all(run.values.texts("names"), [group.group_id for group in groups])
    selected = set(chosen)
    items = [_listed_item(group) for group in groups if group.group_id in selected]
    known = [group.group_id for group in groups]
    return Result(items, LIST_COLUMNS, [*errors, *[_no_group(name, known) for name in missing]], empty="no groups")


async def describe_groups(run: Run) -> Result:
    """Describe groups: state, members, committed offsets beside log ends."""
    from klamm.client.lag import group_lags

    groups, errors = await _groups(run)
    report = await group_lags(run.cluster, listed=groups, members=True)
    items: list[Item] = []
    tables: list[Table] = []
    for group in report.described.values():
        rows = [_offset_row(row) for row in report.rows_of(group.group_id)]
        item = _described_item(group) | {"partitions": rows}
        items.append(item)
        how = group.assignor or group.protocol_type or "-"
        title = f"{group.group_id}   {group.state}   {group.type}   {how}   coordinator {group.coordinator}"
        tables.append(Table(f"{title}   {counted(len(group.members), 'member')}", LAG_COLUMNS, rows))
        if not rows:
            tables[-1] = Table(
                f"{title}   {counted(len(group.members), 'member')}, no offsets",
                MEMBER_COLUMNS,
                item["members"] or [{}],
            )
    failures = [*errors, *(error for error in report.errors if error not in errors)]
    return Result(items, (), failures, tables, empty="no groups")


def _lag_style(row: Item) -> str:
    return "" if row["lag_state"] == "ok" else "warning"


LAG_COLUMNS = (
    Column("TOPIC", "topic"),
    Column("P", "partition", right=True),
    Column("COMMITTED", "committed_offset", right=True, show=count_text),
    Column("END", "log_end_offset", right=True, show=count_text),
    Column("LAG", "lag", right=True, cell=lag_cell, style=_lag_style),
    Column("OWNER", "owner"),
)


async def show_members(run: Run) -> Result:
    """Show the members of groups and what each reads."""
    from klamm.client.groups import describe_groups as describe

    groups, errors = await _groups(run)
    described, failed = await describe(run.cluster, groups)
    items = [
        {"name": member["member_id"], "group": group.group_id, **member}
        for group in described
        for member in _described_item(group)["members"]
    ]
    columns = (Column("GROUP", "group"), *MEMBER_COLUMNS)
    return Result(items, columns, [*errors, *failed.values()], empty="no members")


async def delete_groups(run: Run) -> Result:
    """Delete groups with their offsets."""
    from klamm.client.committed import committed_offsets
    from klamm.client.groups import delete_groups as delete

    groups, errors = await _groups(run)
    names = [group.group_id for group in groups]
    if not names:
        return Result((), (), errors)
    commits, _ = await committed_offsets(run.cluster, groups)
    lines = [f"{name}: {counted(len(commits.get(name, {})), 'committed offset')}" for name in names]
    what = f"delete group {names[0]}" if len(names) == 1 else f"delete {len(names)} groups"
    go = await guard(run, Plan(what, 2, ",".join(names), lines))
    if not go:
        return Result([{"name": name, "deleted": False} for name in names], DELETE_COLUMNS, errors)
    done, failed = await delete(run.cluster, groups)
    inverse = [_restore(name, commits[name]) for name in done if commits.get(name)]
    if done:
        await record(run, what, inverse)
    return Result([{"name": name, "deleted": True} for name in done], DELETE_COLUMNS, [*errors, *failed.values()])


DELETE_COLUMNS = (Column("NAME", "name"), Column("DELETED", "deleted"))


async def remove_member(run: Run) -> Result:
    """Make members leave a group."""
    from klamm.client.groups import describe_groups as describe
    from klamm.client.groups import find_groups, remove_members

    name = run.values.required("name")
    groups, errors, _ = await find_groups(run.cluster, [name])
    if errors:
        return Result((), (), await _near(run, errors))
    described, failed = await describe(run.cluster, groups)
    if failed:
        return Result((), (), list(failed.values()))
    wanted = run.values.texts("members")
    members = [m for m in described[0].members if {m.member_id, m.instance_id, m.client_id} & set(wanted)]
    known = {part for m in members for part in (m.member_id, m.instance_id, m.client_id)}
    missing: list[ClientError] = [
        ResponseError(25, f"group {name} has no member {each!r}", f"klamm group members {name}", name=each)
        for each in wanted
        if each not in known
    ]
    if not members:
        return Result((), (), missing)
    plan = Plan(
        f"remove {len(members)} members from {name}",
        2,
        name,
        [m.member_id for m in members],
        "a member that lives joins again",
    )
    if not await guard(run, plan):
        return Result([{"name": m.member_id, "removed": False} for m in members], REMOVE_COLUMNS, missing)
    left, refused = await remove_members(
        run.cluster, groups[0], members, run.values.text("reason") or "klamm group remove-member"
    )
    await record(run, plan.what, [], plan.cannot_undo)
    return Result([{"name": member, "removed": True} for member in left], REMOVE_COLUMNS, [*missing, *refused.values()])


REMOVE_COLUMNS = (Column("MEMBER", "name"), Column("REMOVED", "removed"))


async def seek(run: Run) -> Result:
    """Set a group's committed offsets to a position."""
    from klamm.client.committed import Committed, committed_offsets
    from klamm.client.groups import ListedGroup, coordinators, list_groups
    from klamm.client.positions import resolve_positions

    name, position = run.values.required("name"), run.values.text("to")
    if position is None:
        msg = "klamm group seek needs --to POSITION: start, end, 12345, -1h, @2026-11-23T10:00"
        raise UsageError(msg)
    listed, _ = await list_groups(run.cluster)
    group = next((each for each in listed if each.group_id == name), None)
    topics = run.values.texts("topic")
    if group is None:
        if not run.values.flag("create"):
            error = _no_group(name, [each.group_id for each in listed])
            error.next_step = "add --create to make the group with these offsets"
            return Result((), (), [error])
        if not topics:
            msg = "a new group needs --topic NAME"
            raise UsageError(msg)
        where, failed = await coordinators(run.cluster, [name])
        if failed:
            return Result((), (), list(failed.values()))
        group = ListedGroup(name, "Empty", "classic", "", where[name])
    _ensure_empty(group)
    commits, errors = await committed_offsets(run.cluster, [group])
    if errors and not run.values.flag("create"):
        return Result((), (), list(errors.values()))
    before = commits.get(name, {})
    metadata = await run.cluster.metadata(topics or sorted({topic for topic, _ in before}))
    missing: list[ClientError] = [
        ResponseError(t.error_code, None, name=t.name) for t in metadata.topics if t.error_code
    ]
    partitions = [
        (topic.name, part.partition)
        for topic in metadata.topics
        for part in topic.partitions
        if topics or (topic.name, part.partition) in before
    ]
    if not partitions:
        error = ClientError("NO_OFFSETS", f"group {name} has no committed offsets", "say which with --topic NAME")
        return Result((), (), missing or [error])
    resolved, unresolved = await resolve_positions(run.cluster, metadata, partitions, position)
    run.note(f"{position} resolved at {_now()}")
    target = {where: Committed(each.offset, -1, "") for where, each in resolved.items()}
    result = await _commit(run, group, before, target, f"seek {name} to {position}")
    return result._replace(errors=[*missing, *unresolved.values(), *result.errors])


async def export_offsets(run: Run) -> Result:
    """Write a group's committed offsets as data."""
    from klamm.client.committed import committed_offsets

    groups, errors = await _groups(run)
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
    return Result(items, columns, [*errors, *failed.values()], empty="no committed offsets")


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
    operations = [each for each in entry.inverse if each["operation"] == "commit_offsets"]
    if not operations:
        error = ClientError("NO_OFFSETS", f"change {text} ({entry.summary}) kept no offsets", "klamm undo --list")
        return Result((), (), [error])
    operation = operations[0]
    target = {(t, p): Committed(offset, epoch, metadata) for t, p, offset, epoch, metadata in operation["offsets"]}
    return await _restore_offsets(
        run, run.values.text("to_group") or operation["group"], target, f"restore {entry.summary}"
    )


async def delete_offsets(run: Run) -> Result:
    """Delete a group's committed offsets of topics."""
    from klamm.client.committed import committed_offsets
    from klamm.client.committed import delete_offsets as delete
    from klamm.client.groups import find_groups

    name, topics = run.values.required("name"), run.values.texts("topic")
    if not topics:
        msg = "klamm group offsets delete needs --topic NAME"
        raise UsageError(msg)
    groups, errors, _ = await find_groups(run.cluster, [name])
    if errors:
        return Result((), (), await _near(run, errors))
    commits, failed = await committed_offsets(run.cluster, groups)
    before = {where: each for where, each in commits.get(name, {}).items() if where[0] in topics}
    if not before:
        error = ClientError(
            "NO_OFFSETS", f"group {name} has no offsets of {', '.join(topics)}", f"klamm group describe {name}"
        )
        return Result((), (), [*failed.values()] or [error])
    lines = [f"{topic}:{index} {each.offset:,} → none" for (topic, index), each in sorted(before.items())]
    go = await guard(run, Plan(f"delete {len(before)} offsets of {name}", 2, name, lines))
    refused: dict[tuple[str, int], ClientError] = {}
    if go:
        refused = await delete(run.cluster, groups[0].coordinator, name, before)
        gone = {where: each for where, each in before.items() if where not in refused}
        if gone:
            await record(run, f"deleted {len(gone)} offsets of {name}", [_restore(name, gone)])
    items = [
        {"group": name, "topic": topic, "partition": index, "before": each.offset, "after": None, "changed": go}
        for (topic, index), each in sorted(before.items())
        if (topic, index) not in refused
    ]
    return Result(items, OFFSET_COLUMNS, list(refused.values()))


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
    _ensure_empty(group)
    commits, _ = await committed_offsets(run.cluster, [group])
    return await _commit(run, group, commits.get(name, {}), target, what)


async def _commit(
    run: Run,
    group: ListedGroup,
    before: Mapping[tuple[str, int], Committed],
    target: Mapping[tuple[str, int], Committed],
    what: str,
) -> Result:
    from klamm.client.committed import commit_offsets

    lines: list[str] = []
    items: list[Item] = []
    for (topic, index), each in sorted(target.items()):
        old = before.get((topic, index))
        moved = "" if old is None else f"  ({each.offset - old.offset:+,})"
        lines.append(f"{topic}:{index}  {'none' if old is None else f'{old.offset:,}'} → {each.offset:,}{moved}")
        items.append(
            {
                "group": group.group_id,
                "topic": topic,
                "partition": index,
                "before": None if old is None else old.offset,
                "after": each.offset,
                "changed": False,
            }
        )
    if not await guard(run, Plan(what, 2, group.group_id, lines)):
        return Result(items, OFFSET_COLUMNS)
    metadata = await run.cluster.metadata(sorted({topic for topic, _ in target}))
    errors = await commit_offsets(run.cluster, group.coordinator, group.group_id, target, metadata)
    for item in items:
        item["changed"] = (item["topic"], item["partition"]) not in errors
    inverse: list[dict[str, Any]] = []
    kept = {where: before[where] for where in target if where in before and where not in errors}
    new = [list(where) for where in target if where not in before and where not in errors]
    if kept:
        inverse.append(_restore(group.group_id, kept))
    if new:
        inverse.append({"operation": "delete_offsets", "group": group.group_id, "partitions": new})
    if inverse:
        await record(run, what, inverse)
    return Result(items, OFFSET_COLUMNS, list(errors.values()))


def _restore(group: str, offsets: Mapping[tuple[str, int], Committed]) -> dict[str, Any]:
    rows = [[topic, index, each.offset, each.leader_epoch, each.metadata] for (topic, index), each in offsets.items()]
    return {"operation": "commit_offsets", "group": group, "offsets": rows}


def _ensure_empty(group: ListedGroup) -> None:
    if group.state not in {"Empty", "Dead", ""}:
        msg = f"group {group.group_id} is {group.state}: its members would overwrite the offsets"
        raise RefusedError(msg, f"stop them first; see: klamm group members {group.group_id}")


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
        msg = f"{path}: {error}"
        raise UsageError(msg) from error


async def _groups(run: Run) -> tuple[list[ListedGroup], list[ClientError]]:
    from klamm.client import groups as client

    listed, errors = await client.list_groups(run.cluster)
    chosen, missing = names_or_all(run.values.texts("names"), [group.group_id for group in listed])
    by_name = {group.group_id: group for group in listed}
    known = list(by_name)
    return [by_name[name] for name in chosen], [*errors, *[_no_group(name, known) for name in missing]]


async def _near(run: Run, errors: Mapping[str, ClientError]) -> list[ClientError]:
    from klamm.client import groups as client

    listed, _ = await client.list_groups(run.cluster)
    return [_no_group(name, [group.group_id for group in listed]) for name in errors]


def _no_group(name: str, known: Sequence[str]) -> ClientError:
    text = f"there is no group {name!r}.{suggestion(name, known)}"
    return ResponseError(_GROUP_ID_NOT_FOUND, text, "klamm group list", name=name)


def _listed_item(group: ListedGroup) -> Item:
    item = group._asdict()
    return {"name": item.pop("group_id"), **item}


def _described_item(group: DescribedGroup) -> Item:
    item = group._asdict()
    members = [
        {**member._asdict(), "assignments": [f"{topic}:{index}" for topic, index in member.assignments]}
        for member in group.members
    ]
    return {"name": item.pop("group_id"), **item, "members": members}


def _offset_row(row: LagRow) -> Item:
    return {
        "topic": row.topic,
        "partition": row.partition,
        "committed_offset": row.committed_offset,
        "log_end_offset": row.log_end_offset,
        "lag": row.lag,
        "lag_state": row.lag_state,
        "owner": None if row.owner is None else row.owner.client_id + row.owner.client_host,
    }


def _now() -> str:
    from datetime import UTC, datetime

    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


_READ = ("DESCRIBE on each group",)
_WRITE = ("READ on the group and its topics",)
COMMANDS = (
    Command(
        "group list",
        "List groups",
        list_groups,
        "GroupList",
        (_NAMES,),
        (
            Option(("--state",), "only in this state (Stable, Empty, …)", "STATE", repeat=True),
            Option(("--type",), "only of this type (classic, consumer, share, streams)", "TYPE", repeat=True),
        ),
        (
            Example("klamm groups", "every group"),
            Example("klamm group list --state Empty -o name", "groups nobody is in"),
        ),
        ("Metadata", "ListGroups"),
        _READ,
    ),
    Command(
        "group describe",
        "Describe groups: state, members, offsets, lag",
        describe_groups,
        "GroupDescription",
        (_NAMES,),
        (),
        (
            Example("klamm group describe billing", "one group"),
            Example("klamm group describe -o json", "all groups, in as few requests as there are brokers"),
        ),
        ("Metadata", "ListGroups", "DescribeGroups", "ConsumerGroupDescribe", "OffsetFetch", "ListOffsets"),
        (*_READ, "DESCRIBE on the topics"),
    ),
    Command(
        "group members",
        "Show who is in a group and what each reads",
        show_members,
        "GroupMembers",
        (_SOME,),
        (),
        (Example("klamm group members billing", "its members"),),
        ("Metadata", "ListGroups", "DescribeGroups", "ConsumerGroupDescribe"),
        _READ,
    ),
    Command(
        "group delete",
        "Delete groups with their offsets",
        delete_groups,
        "GroupDelete",
        (_SOME,),
        (),
        (Example("klamm group delete billing --yes", "undo brings the offsets back"),),
        ("Metadata", "ListGroups", "OffsetFetch", "DeleteGroups"),
        ("DELETE on the group",),
        level=2,
    ),
    Command(
        "group remove-member",
        "Make members leave a group",
        remove_member,
        "GroupRemoveMember",
        (_NAME, Argument("members", "member id, instance id or client id", repeat=True)),
        (Option(("--reason",), "what the broker's log says", "TEXT"),),
        (Example("klamm group remove-member billing billing-7 --yes", "free a static member's partitions"),),
        ("Metadata", "ListGroups", "DescribeGroups", "LeaveGroup"),
        ("READ on the group",),
        level=2,
    ),
    Command(
        "group seek",
        "Set a group's committed offsets to a position",
        seek,
        "OffsetChange",
        (_NAME,),
        (
            Option(("--to",), "start, end, now, 12345, +100, -100, -1h or @2026-11-23T10:00", "POSITION"),
            Option(("--topic",), "only of this topic", "NAME", repeat=True),
            Option(("--create",), "make the group if there is none"),
        ),
        (
            Example("klamm group seek billing --to -1h --topic orders --yes", "read the last hour again"),
            Example("klamm group seek billing --to end --dry-run", "what skipping everything would change"),
        ),
        ("Metadata", "ListGroups", "OffsetFetch", "ListOffsets", "OffsetCommit"),
        _WRITE,
        level=2,
    ),
    Command(
        "group offsets export",
        "Write groups' committed offsets as data",
        export_offsets,
        "OffsetList",
        (_SOME,),
        (),
        (Example("klamm group offsets export billing -o json > offsets.json", "keep them"),),
        ("Metadata", "ListGroups", "OffsetFetch"),
        _READ,
    ),
    Command(
        "group offsets import",
        "Set a group's offsets as an exported file has them",
        import_offsets,
        "OffsetChange",
        (_NAME, Argument("file", "of `offsets export -o json` or jsonl; - reads standard input")),
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
        (_NAME,),
        (Option(("--topic",), "of this topic", "NAME", repeat=True),),
        (Example("klamm group offsets delete billing --topic old-orders --yes", "it no longer reads that topic"),),
        ("Metadata", "ListGroups", "OffsetFetch", "OffsetDelete"),
        ("DELETE on the group, READ on the topic",),
        level=2,
    ),
)
