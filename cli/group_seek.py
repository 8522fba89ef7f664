"""``klamm group seek``: a group's committed offsets set to a position, or moved by some offsets."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from klamm.cli.group_names import NAME, unknown_groups
from klamm.cli.group_offsets import commit, ensure_empty
from klamm.cli.output import Result
from klamm.cli.parser import UsageError
from klamm.cli.run import Run
from klamm.cli.spec import Command, Example, Option
from klamm.cli.topic_names import chosen_partitions
from klamm.client.errors import ClientError, ResponseError

if TYPE_CHECKING:
    from klamm.client.committed import Committed
    from klamm.client.groups import ListedGroup
    from klamm.client.offsets import Partition
    from klamm.client.wire import ClusterMetadata


async def seek(run: Run) -> Result:
    """Set a group's committed offsets to a position, or move them by some offsets."""
    from klamm.client.committed import Committed, committed_offsets

    _check_seek(run)
    group = await _group_to_seek(run)
    ensure_empty(group)
    commits, errors = await committed_offsets(run.cluster, [group])
    if errors and not run.values.flag("create"):
        return Result((), (), list(errors.values()))
    before = commits.get(group.group_id, {})
    topics = run.values.texts("topic")
    metadata = await run.cluster.metadata(topics or sorted({topic for topic, _ in before}))
    failed = [ResponseError(t.error_code, None, name=t.name) for t in metadata.topics if t.error_code]
    partitions = _partitions_to_seek(run, metadata, before)
    if not partitions:
        error = ClientError(
            "NO_OFFSETS", f"group {group.group_id} has no committed offsets there", "say which with --topic NAME"
        )
        return Result((), (), failed or [error])
    offsets, unresolved = await _offsets_to_seek(run, metadata, partitions, before)
    target = {where: Committed(offset, -1, "") for where, offset in offsets.items()}
    shift = run.values.number("shift_by")
    what = f"by {shift:+,}" if shift is not None else f"to {run.values.text('to')}"
    result = await commit(run, group, before, target, f"seek {group.group_id} {what}")
    return result._replace(errors=[*failed, *unresolved, *result.errors])


def _check_seek(run: Run) -> None:
    position, shift = run.values.text("to"), run.values.number("shift_by")
    if (position is None) == (shift is None):
        msg = "klamm group seek needs --to POSITION (start, end, 12345, -1h, @2026-11-23T10:00) or --shift-by COUNT"
        raise UsageError(msg)
    if run.values.text("partition") is not None and len(run.values.texts("topic")) != 1:
        msg = "--partition is of one topic: add --topic NAME"
        raise UsageError(msg)


async def _group_to_seek(run: Run) -> ListedGroup:
    """Return the group of the line; with ``--create`` it may be new.

    Raises:
        ClientError: There is none.
    """
    from klamm.client.groups import ListedGroup, coordinators, list_groups

    name = run.values.required("name")
    listed, _ = await list_groups(run.cluster)
    group = next((each for each in listed if each.group_id == name), None)
    if group is not None:
        return group
    if not run.values.flag("create"):
        (error,) = await unknown_groups(run, [name], [each.group_id for each in listed])
        if error.names_nothing:
            error.next_step = "klamm group list; a new group with these offsets is made with --create"
        raise error
    if not run.values.texts("topic") or run.values.number("shift_by") is not None:
        msg = "a new group needs --topic NAME and --to POSITION"
        raise UsageError(msg)
    where, failed = await coordinators(run.cluster, [name])
    for error in failed.values():
        raise error
    return ListedGroup(name, "Empty", "classic", "", where[name])


def _partitions_to_seek(run: Run, metadata: ClusterMetadata, before: Collection[Partition]) -> list[Partition]:
    """Return the partitions that the line names; without a topic, and to move, those that have a commit."""
    named = bool(run.values.texts("topic")) and run.values.number("shift_by") is None
    found: list[Partition] = []
    for topic in metadata.topics:
        if topic.error_code:
            continue
        known = [part.partition for part in topic.partitions]
        chosen = chosen_partitions(run, "partition", topic.name, known)
        found += [(topic.name, index) for index in chosen if named or (topic.name, index) in before]
    return found


async def _offsets_to_seek(
    run: Run, metadata: ClusterMetadata, partitions: Sequence[Partition], before: Mapping[Partition, Committed]
) -> tuple[dict[Partition, int], list[ClientError]]:
    """Return where to go, within each log, and why a partition's log cannot be asked."""
    from klamm.client.positions import resolve_positions, shifted

    shift, position = run.values.number("shift_by"), run.values.text("to") or "end"
    found, errors = await resolve_positions(run.cluster, metadata, partitions, position)
    if shift is None:
        run.note(f"{position} resolved at {_now()}")
        return {where: each.offset for where, each in found.items()}, list(errors.values())
    offsets, notes = shifted({where: each.offset for where, each in before.items()}, found, shift)
    for note in notes:
        run.note(note)
    return offsets, list(errors.values())


def _now() -> str:
    from datetime import UTC, datetime

    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


COMMANDS = (
    Command(
        "group seek",
        "Set a group's committed offsets to a position",
        seek,
        "OffsetChange",
        (NAME,),
        (
            Option(("--to",), "start, end, now, 12345, +100, -100, -1h or @2026-11-23T10:00", "POSITION"),
            Option(("--shift-by",), "move by so many offsets instead: 1 skips a record, -10 reads ten again", "N"),
            Option(("--topic",), "only of this topic", "NAME", repeat=True),
            Option(("-p", "--partition"), "only these partitions of the topic", "N,…"),
            Option(("--create",), "make the group if there is none"),
        ),
        (
            Example("klamm group seek billing --topic orders -p 3 --shift-by 1", "skip the record it is stuck at"),
            Example("klamm group seek billing --to -1h --topic orders --yes", "read the last hour again"),
            Example("klamm group seek billing --to end --dry-run", "what skipping everything would change"),
        ),
        ("Metadata", "ListGroups", "OffsetFetch", "ListOffsets", "OffsetCommit"),
        ("READ on the group and its topics",),
        level=2,
    ),
)
