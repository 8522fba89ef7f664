"""``klamm group``: list, describe, members, delete, remove-member; offsets: ``group_seek.py``, ``group_offsets.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from klamm.cli import group_offsets, group_seek
from klamm.cli.checks import known_words
from klamm.cli.group_names import NAME, NAMES, SOME, chosen_groups
from klamm.cli.guard import MODERATE, Plan, guard, record
from klamm.cli.names import unknown_name
from klamm.cli.output import Column, Item, Result, Table, count_text, lag_cell, state_style
from klamm.cli.run import Run
from klamm.cli.spec import Argument, Command, Example, Option
from klamm.client import operations
from klamm.client.text import counted

if TYPE_CHECKING:
    from klamm.client.groups import DescribedGroup, ListedGroup
    from klamm.client.lag_report import LagRow

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

_STATES = (
    "Stable",
    "Empty",
    "PreparingRebalance",
    "CompletingRebalance",
    "Assigning",
    "Reconciling",
    "NotReady",
    "Dead",
)
_TYPES = ("classic", "consumer", "share", "streams")


async def list_groups(run: Run) -> Result:
    """List groups with one ListGroups request to each broker."""
    states = known_words("--state", run.values.texts("state"), _STATES)
    types = known_words("--type", run.values.texts("type"), _TYPES)
    groups, errors, notes = await chosen_groups(run, states, types)
    items = [_listed_item(group) for group in sorted(groups)]
    return Result(items, LIST_COLUMNS, errors, empty="no groups", notes=notes)


async def describe_groups(run: Run) -> Result:
    """Describe groups: state, members, committed offsets beside log ends."""
    from klamm.client.lag import group_lags

    groups, errors, notes = await chosen_groups(run)
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
    return Result(items, (), failures, tables, empty="no groups", notes=notes)


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

    groups, errors, notes = await chosen_groups(run)
    described, failed = await describe(run.cluster, groups)
    items = [
        {"name": member["member_id"], "group": group.group_id, **member}
        for group in described
        for member in _described_item(group)["members"]
    ]
    columns = (Column("GROUP", "group"), *MEMBER_COLUMNS)
    return Result(items, columns, [*errors, *failed.values()], empty="no members", notes=notes)


async def delete_groups(run: Run) -> Result:
    """Delete groups with their offsets."""
    from klamm.client.committed import committed_offsets
    from klamm.client.groups import delete_groups as delete

    groups, errors, _ = await chosen_groups(run)
    names = [group.group_id for group in groups]
    if not names:
        return Result((), (), errors)
    commits, _ = await committed_offsets(run.cluster, groups)
    lines = [f"{name}: {counted(len(commits.get(name, {})), 'committed offset')}" for name in names]
    what = f"delete group {names[0]}" if len(names) == 1 else f"delete {len(names)} groups"
    go = await guard(run, Plan(what, MODERATE, ",".join(names), lines))
    if not go:
        return Result([{"name": name, "deleted": False} for name in names], DELETE_COLUMNS, errors)
    done, failed = await delete(run.cluster, groups)
    inverse = [operations.commit_offsets(name, commits[name]) for name in done if commits.get(name)]
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
        return Result((), (), list(errors.values()))
    described, failed = await describe(run.cluster, groups)
    if failed:
        return Result((), (), list(failed.values()))
    wanted = run.values.texts("members")
    members = [m for m in described[0].members if {m.member_id, m.instance_id, m.client_id} & set(wanted)]
    known = {part for m in described[0].members for part in (m.member_id, m.instance_id, m.client_id) if part}
    missing = [
        unknown_name("member", each, known, f"klamm group members {name}") for each in wanted if each not in known
    ]
    if not members:
        return Result((), (), missing)
    plan = Plan(
        f"remove {counted(len(members), 'member')} from {name}",
        MODERATE,
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


_READ = ("DESCRIBE on each group",)
_WRITE = ("READ on the group and its topics",)
COMMANDS = (
    Command(
        "group list",
        "List groups",
        list_groups,
        "GroupList",
        (NAMES,),
        (
            Option(("--state",), "only in this state (Stable, Empty, …)", "STATE", repeat=True),
            Option(("--type",), "only of this type (classic, consumer, share, streams)", "TYPE", repeat=True),
        ),
        (
            Example("klamm groups", "every group"),
            Example("klamm group list --state Empty -o name", "groups nobody is in"),
        ),
        ("Metadata", "ListGroups", "DescribeCluster"),
        _READ,
    ),
    Command(
        "group describe",
        "Describe groups: state, members, offsets, lag",
        describe_groups,
        "GroupDescription",
        (NAMES,),
        (),
        (
            Example("klamm group describe billing", "one group"),
            Example("klamm group describe -o json", "all groups, in as few requests as there are brokers"),
        ),
        (
            "Metadata",
            "ListGroups",
            "DescribeCluster",
            "DescribeGroups",
            "ConsumerGroupDescribe",
            "OffsetFetch",
            "ListOffsets",
        ),
        (*_READ, "DESCRIBE on the topics"),
    ),
    Command(
        "group members",
        "Show who is in a group and what each reads",
        show_members,
        "GroupMembers",
        (SOME,),
        (),
        (Example("klamm group members billing", "its members"),),
        ("Metadata", "ListGroups", "DescribeCluster", "DescribeGroups", "ConsumerGroupDescribe"),
        _READ,
    ),
    Command(
        "group delete",
        "Delete groups with their offsets",
        delete_groups,
        "GroupDelete",
        (SOME,),
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
        (NAME, Argument("members", "member id, instance id or client id", repeat=True)),
        (Option(("--reason",), "what the broker's log says", "TEXT"),),
        (Example("klamm group remove-member billing billing-7 --yes", "free a static member's partitions"),),
        ("Metadata", "ListGroups", "DescribeGroups", "LeaveGroup"),
        ("READ on the group",),
        level=2,
    ),
    *group_seek.COMMANDS,
    *group_offsets.COMMANDS,
)
