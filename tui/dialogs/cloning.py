"""A topic cloned: partitions and configs of another, with its records or without."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from klamm.client import operations
from klamm.client.blast import topic_specs
from klamm.client.cluster import Cluster
from klamm.client.copying import CopyState, TopicCopy
from klamm.client.errors import ClientError
from klamm.client.guard import MILD, Plan
from klamm.client.positions import Range, resolve_ranges
from klamm.client.text import count_text, counted
from klamm.client.topics import NewTopic, create_topics, require_topics, wait_for_leaders
from klamm.client.wire import ClusterMetadata, TopicMetadata
from klamm.tui.dialogs.change import Change, Done, Field, Prepared, Values
from klamm.tui.place import Place
from klamm.tui.session import Session

_ALL, _NOTHING = "start", "end"


class CloneTopic(Change):
    """A new topic like one that is there."""

    title = "Clone a topic"

    def __init__(self, name: str) -> None:
        self.name = name
        self.fields = (
            Field("to", "New topic", "", "its name"),
            Field("from", "Records from", "start", "start, end (none), -1h, @2026-11-23T10:00"),
        )

    def where(self) -> str:
        """Return what it is about."""
        return self.name

    async def prepare(self, session: Session, values: Values) -> Prepared:
        """Look at what would be made and copied, and have the broker check the topic."""
        cluster, name, target, start = session.cluster, self.name, values["to"].strip(), values["from"].strip() or _ALL
        metadata, topics = await require_topics(cluster, [name])
        empty = start == _NOTHING
        whole = ["topic", "clone", name, target, *(["--empty"] if empty else [])]
        words = whole if start in {_NOTHING, _ALL} else ["topic", "cp", name, target, "--create", "--from", start]
        words = [*words, "--yes"]
        plan = Plan(f"clone {name} into {target or '…'}", MILD, target)
        if not target:
            return Prepared(plan, words, problem="a topic needs a name")
        spec = (await topic_specs(cluster, topics))[0]
        new = NewTopic(target, spec["partitions"], spec["replication_factor"], spec["configs"])
        _, refused = await create_topics(cluster, [new], validate_only=True)
        for refusal in refused.values():
            return Prepared(plan, words, problem=refusal.message)
        partitions = [(name, part.partition) for part in topics[0].partitions]
        found = await resolve_ranges(cluster, metadata, partitions, start, "end", committed_only=True)
        for failure in found.errors.values():
            raise failure
        span = 0 if empty else sum((each.end or 0) - each.start for each in found.ranges.values())
        lines = [f"{counted(new.partitions, 'partition')}, {counted(new.replication_factor, 'replica')} each"]
        lines += [f"{key}={value}" for key, value in new.configs.items()]
        lines.append(
            f"{count_text(span)} offsets are copied: partitions, keys, headers and times stay" if span else "no records"
        )
        plan = plan._replace(lines=lines)

        async def apply() -> Done:
            return await self._clone(cluster, metadata, new, found.ranges if span else {}, span)

        return Prepared(plan, words, apply, "deletes the new topic again")

    async def _clone(
        self, cluster: Cluster, metadata: ClusterMetadata, new: NewTopic, ranges: Mapping[Any, Range], span: int
    ) -> Done:
        name, target = self.name, new.name
        _, failed = await create_topics(cluster, [new])
        for error in failed.values():
            raise error
        inverse = [operations.delete_topics([target])]
        there = await wait_for_leaders(cluster, target)
        if not span:
            return Done(f"made {target} like {name}", (), inverse, "", place=Place("topic", target))
        keeps = new.configs.get("message.timestamp.type") != "LogAppendTime"
        state = await _state(cluster, name, there, target, ranges, keeps_timestamps=keeps)
        self.progress = (0, span)

        def copied(left: int) -> None:
            self.progress = (span - left, span)

        try:
            result = await TopicCopy(cluster, metadata, cluster, state, on_progress=copied).run()
        except ClientError as error:  # the topic is made: that belongs into the journal
            return Done(f"made {target} like {name}, not all records copied", [error], inverse, "")
        self.progress = (span, span)
        errors = list(result.errors)
        if not errors and not result.is_verified:
            code, msg = "NOT_VERIFIED", f"{target} does not hold what {name} had: did somebody else write there?"
            errors.append(ClientError(code, msg))
        said = f"cloned {name} into {target}: {count_text(result.sent)} records, compared by hash"
        return Done(said, errors, inverse, "", place=Place("topic", target))


async def _state(
    cluster: Cluster,
    source: str,
    there: TopicMetadata,
    target: str,
    ranges: Mapping[Any, Range],
    *,
    keeps_timestamps: bool,
) -> CopyState:
    cluster_id = await cluster.cluster_id() or ""
    return CopyState(
        cluster_id,
        source,
        cluster_id,
        target,
        {index: (each.start, each.end or each.start) for (_, index), each in ranges.items()},
        {part.partition: 0 for part in there.partitions},
        keeps_timestamps=keeps_timestamps,
    )
