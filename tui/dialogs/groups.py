"""Changes of groups: seek, copy and delete offsets, delete groups, remove members."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from klamm.client import operations
from klamm.client.committed import (
    Committed,
    Partition,
    commit_offsets,
    committed_offsets,
    delete_offsets,
    move_text,
)
from klamm.client.errors import SettingsError
from klamm.client.groups import (
    MEMBERLESS,
    DescribedGroup,
    ListedGroup,
    coordinators,
    delete_groups,
    describe_groups,
    find_groups,
    remove_members,
)
from klamm.client.guard import MODERATE, Plan
from klamm.client.positions import resolve_positions, shifted
from klamm.client.wire import ClusterMetadata
from klamm.tui.dialogs.change import Change, Done, Field, Prepared, Values
from klamm.tui.session import Session


class SeekGroup(Change):
    """A group's committed offsets set to a position, or moved by some offsets: all, a topic's, some partitions'."""

    title = "Reset offsets"
    past = "moved the offsets of"

    def __init__(self, group: str, topic: str = "", partitions: str = "") -> None:
        self.group = group
        self.fields = (
            Field("to", "To", "", "start, end, -1h, @2026-11-23T10:00, 12345"),
            Field("shift", "Or move by", "", "1 skips a record, -10 reads ten again"),
            Field("topic", "Topic", topic, "empty: all it has offsets of"),
            Field("partitions", "Partitions", partitions, "of that topic: 0,3; empty: all"),
        )

    def where(self) -> str:
        """Return what it is about."""
        return self.group

    async def prepare(self, session: Session, values: Values) -> Prepared:
        """Find where each partition would be."""
        cluster, name = session.cluster, self.group
        asked = _Asked.read(values)
        group, before, members = await _group(session, name)
        words = ["group", "seek", name, *asked.words(), "--yes"]
        plan = Plan(f"seek {name} {asked.what}", MODERATE, name)
        if asked.problem:
            return Prepared(plan._replace(lines=_lines(before, {})), words, problem=asked.problem)
        metadata = await cluster.metadata([asked.topic] if asked.topic else sorted({each for each, _ in before}))
        where = [
            (topic.name, part.partition)
            for topic in metadata.topics
            for part in topic.partitions
            if asked.means(topic.name, part.partition, before)
        ]
        problem = _missing(asked, metadata, where)
        if problem:
            return Prepared(plan, words, problem=problem)
        resolved, failed = await resolve_positions(cluster, metadata, where, asked.position or "end")
        for error in failed.values():
            raise error
        offsets: dict[Partition, int] = {place: each.offset for place, each in resolved.items()}
        notes: list[str] = []
        if asked.shift is not None:
            offsets, notes = shifted({place: each.offset for place, each in before.items()}, resolved, asked.shift)
        target = {place: Committed(offset, -1, "") for place, offset in offsets.items()}
        plan = plan._replace(lines=[*_effect(before, target), *notes, *_lines(before, target)])

        async def apply() -> Done:
            errors = await commit_offsets(cluster, group.coordinator, name, target, metadata)
            inverse = operations.offsets_as_before(name, before, [where for where in target if where not in errors])
            done = f"moved the offsets of {name} {asked.what}"
            return Done(done, list(errors.values()), inverse, changed=bool(inverse))

        return Prepared(plan, words, apply, "commits the offsets of before", _live(group, members))


class _Asked(NamedTuple):
    """Where to go, and in which partitions: none is all."""

    position: str
    shift: int | None
    topic: str
    partitions: tuple[int, ...]
    problem: str

    @classmethod
    def read(cls, values: Values) -> _Asked:
        """Return what the fields say.

        Raises:
            SettingsError: A number is none.
        """
        position, shift, topic = (values.get(key, "").strip() for key in ("to", "shift", "topic"))
        partitions = values.get("partitions", "").strip()
        problem = ""
        if position and shift:
            problem = "either to a position, or by so many offsets"
        elif not position and not shift:
            problem = "to where? a position, or by how many offsets"
        elif partitions and not topic:
            problem = "partitions are of one topic: which?"
        indexes = tuple(_number(each, "Partitions", "0,3") for each in partitions.split(",")) if partitions else ()
        return cls(position, _number(shift, "Or move by", "1 or -10") if shift else None, topic, indexes, problem)

    @property
    def what(self) -> str:
        """The same in a few words."""
        return f"by {self.shift:+,}" if self.shift is not None else f"to {self.position or '…'}"

    def words(self) -> list[str]:
        """Return the options of ``klamm group seek``."""
        found = ["--to", self.position] if self.shift is None else [f"--shift-by={self.shift}"]
        found += ["--topic", self.topic] if self.topic else []
        return [*found, *(["--partition", ",".join(map(str, self.partitions))] if self.partitions else [])]

    def means(self, topic: str, partition: int, before: Mapping[Partition, Committed]) -> bool:
        """Return whether it is about this partition: without a commit only one of a topic that is named."""
        if self.partitions and partition not in self.partitions:
            return False
        return (topic, partition) in before or (bool(self.topic) and self.shift is None)


def _missing(asked: _Asked, metadata: ClusterMetadata, where: Sequence[Partition]) -> str:
    """Return why what is asked for cannot be moved, "" if it can."""
    count = sum(len(topic.partitions) for topic in metadata.topics)
    wrong = [each for each in asked.partitions if each >= count or each < 0]
    if asked.topic and not count:
        return f"there is no topic {asked.topic!r}"
    if wrong:
        return f"{asked.topic} has no partition {wrong[0]}; it has 0 to {count - 1}"
    if where:
        return ""
    return "the group has no committed offsets there" if asked.topic else "it has no committed offsets: name a topic"


def _number(text: str, label: str, example: str) -> int:
    try:
        return int(text)
    except ValueError:
        msg = f"{label}: {text.strip()!r} is no number"
        raise SettingsError(msg, f"for example {example}") from None


class CopyOffsets(Change):
    """A group's offsets given to another group."""

    title = "Copy offsets"
    fields = (Field("to", "To group", "", "a new name, or a group without members"),)

    def __init__(self, group: str) -> None:
        self.group = group

    def where(self) -> str:
        """Return what it is about."""
        return self.group

    async def prepare(self, session: Session, values: Values) -> Prepared:
        """Compare the two groups."""
        cluster, name, other = session.cluster, self.group, values["to"].strip()
        _, source, _ = await _group(session, name)
        plan = Plan(f"copy offsets of {name} to {other or '…'}", MODERATE, other or name)
        words, then = (
            ["group", "offsets", "export", name, "-o", "json"],
            ["group", "offsets", "import", other, "-", "--yes"],
        )
        if not source:
            return Prepared(plan, words, problem=f"{name} has no committed offsets")
        if not other or other == name:
            return Prepared(plan._replace(lines=_lines({}, source)), words, problem="to which group?")
        found, _, _ = await find_groups(cluster, [other])
        before: Mapping[Partition, Committed] = {}
        if found:
            target_group, before, members = await _group(session, other)
            problem, coordinator = _live(target_group, members), target_group.coordinator
        else:
            where, failed = await coordinators(cluster, [other])
            for error in failed.values():
                raise error
            problem, coordinator = "", where[other]
        plan = plan._replace(lines=_lines(before, source))

        async def apply() -> Done:
            metadata = await cluster.metadata(sorted({topic for topic, _ in source}))
            errors = await commit_offsets(cluster, coordinator, other, source, metadata)
            inverse = operations.offsets_as_before(other, before, [where for where in source if where not in errors])
            done = f"copied offsets of {name} to {other}"
            return Done(done, list(errors.values()), inverse, changed=bool(inverse))

        return Prepared(plan, words, apply, "brings back the offsets of before", problem, then)


class DeleteOffsets(Change):
    """A group's offsets of one topic."""

    title = "Delete offsets"

    def __init__(self, group: str, topic: str) -> None:
        self.group = group
        self.fields = (Field("topic", "Topic", topic),)

    def where(self) -> str:
        """Return what it is about."""
        return self.group

    async def prepare(self, session: Session, values: Values) -> Prepared:
        """Find the offsets."""
        cluster, name, topic = session.cluster, self.group, values["topic"].strip()
        group, commits, _ = await _group(session, name)
        before = {where: each for where, each in commits.items() if where[0] == topic}
        lines = [move_text(where, each, None) for where, each in sorted(before.items())]
        plan = Plan(f"delete {len(before)} offsets of {name}", MODERATE, name, lines)
        words = ["group", "offsets", "delete", name, "--topic", topic, "--yes"]
        if not before:
            return Prepared(plan, words, problem=f"{name} has no offsets of {topic!r}")

        async def apply() -> Done:
            refused = await delete_offsets(cluster, group.coordinator, name, before)
            gone = {where: each for where, each in before.items() if where not in refused}
            return Done(
                f"deleted {len(gone)} offsets of {name}",
                list(refused.values()),
                [operations.commit_offsets(name, gone)] if gone else (),
                changed=bool(gone),
            )

        return Prepared(plan, words, apply, "commits them again")


class DeleteGroups(Change):
    """Groups with their offsets."""

    title = "Delete groups"

    def __init__(self, names: Sequence[str]) -> None:
        self.names = list(names)

    async def prepare(self, session: Session, values: Values) -> Prepared:
        """Find what the groups have committed."""
        cluster, names = session.cluster, self.names
        groups, errors, _ = await find_groups(cluster, names)
        for error in errors.values():
            raise error
        commits, _ = await committed_offsets(cluster, [group for group in groups if group.type != "share"])
        lines = [f"{name}: {len(commits.get(name, {}))} committed offsets" for name in names]
        what = f"delete group {names[0]}" if len(names) == 1 else f"delete {len(names)} groups"
        plan = Plan(what, MODERATE, ",".join(names), lines)
        live = [group.group_id for group in groups if group.state and group.state not in MEMBERLESS]
        problem = f"{', '.join(live)} has live members: stop them first" if live else ""

        async def apply() -> Done:
            done, failed = await delete_groups(cluster, groups)
            inverse = [operations.commit_offsets(name, commits[name]) for name in done if commits.get(name)]
            return Done(what.replace("delete", "deleted"), list(failed.values()), inverse, changed=bool(done))

        return Prepared(plan, ["group", "delete", *names, "--yes"], apply, "commits their offsets again", problem)


class RemoveMember(Change):
    """A member made to leave."""

    title = "Remove a member"

    def __init__(self, group: str, member_id: str) -> None:
        self.group = group
        self.member_id = member_id

    def where(self) -> str:
        """Return what it is about."""
        return self.group

    async def prepare(self, session: Session, values: Values) -> Prepared:
        """Find the member."""
        cluster, name = session.cluster, self.group
        group, _, described = await _group(session, name)
        members = [each for each in described.members if each.member_id == self.member_id] if described else []
        plan = Plan(
            f"remove {self.member_id} from {name}",
            MODERATE,
            name,
            [f"{each.client_id} at {each.client_host}: {len(each.assignments)} partitions" for each in members],
            "a member that lives joins again",
        )
        words = ["group", "remove-member", name, self.member_id, "--yes"]
        if not members:
            return Prepared(plan, words, problem="the member has left")

        async def apply() -> Done:
            left, failed = await remove_members(cluster, group, members, "klamm ui")
            return Done(
                f"removed {self.member_id} from {name}", list(failed.values()), (), plan.cannot_undo, bool(left)
            )

        return Prepared(plan, words, apply)


async def _group(
    session: Session, name: str
) -> tuple[ListedGroup, Mapping[Partition, Committed], DescribedGroup | None]:
    """Return a group, what it has committed, and its members.

    Raises:
        ClientError: There is no such group, or it may not be read.
    """
    found, errors, _ = await find_groups(session.cluster, [name])
    for error in errors.values():
        raise error
    commits, failed = await committed_offsets(session.cluster, found)
    for refused in failed.values():
        raise refused
    described, _ = await describe_groups(session.cluster, found)
    return found[0], commits.get(name, {}), described[0] if described else None


def _live(group: ListedGroup, described: DescribedGroup | None) -> str:
    count = len(described.members) if described is not None else 0
    if count or (group.state and group.state not in MEMBERLESS):
        return f"{group.group_id} has {count} live members: stop them first, or they would commit over it"
    return ""


def _lines(before: Mapping[Partition, Committed], target: Mapping[Partition, Committed]) -> list[str]:
    if not target:
        return [f"{topic}:{index}  {each.offset:,} → …" for (topic, index), each in sorted(before.items())]
    return [move_text(where, before.get(where), each) for where, each in sorted(target.items())]


def _effect(before: Mapping[Partition, Committed], target: Mapping[Partition, Committed]) -> list[str]:
    """Return what moving offsets means for the group: what it reads again, what it never reads."""
    moves = [each.offset - before[where].offset for where, each in target.items() if where in before]
    again, skipped = -sum(move for move in moves if move < 0), sum(move for move in moves if move > 0)
    lines = [f"{again:,} offsets are read again"] if again else []
    return lines + ([f"{skipped:,} offsets are skipped: never read by this group"] if skipped else [])
