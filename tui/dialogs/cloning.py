"""A topic cloned: partitions and configs of another, with its records or without."""

from __future__ import annotations

from collections.abc import Mapping

from klamm.client.cloning import Likeness, plan_copy, plan_likeness
from klamm.client.cluster import Cluster
from klamm.client.copying import TopicCopy
from klamm.client.errors import ClientError, ResponseError
from klamm.client.guard import MILD, Plan
from klamm.client.offsets import Partition
from klamm.client.positions import Range, resolve_ranges
from klamm.client.text import count_text, counted
from klamm.client.topics import require_topics
from klamm.client.wire import ClusterMetadata
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
        try:
            likeness = await plan_likeness(cluster, topics[0], cluster, target)
        except ResponseError as refusal:
            return Prepared(plan, words, problem=refusal.message)
        new = likeness.new
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
            made = await likeness.make(cluster)
            done = Done(f"made {target} like {name}", inverse=made.inverse, place=Place("topic", target))

            async def fill() -> Done:
                return await self._fill(cluster, metadata, likeness, found.ranges if span else {}, done)

            return done._replace(then=fill)

        return Prepared(plan, words, apply, "deletes the new topic again")

    async def _fill(
        self,
        cluster: Cluster,
        metadata: ClusterMetadata,
        likeness: Likeness,
        ranges: Mapping[Partition, Range],
        done: Done,
    ) -> Done:
        """Copy records into the topic that was made; ``done`` says so."""
        name, target = self.name, likeness.new.name
        try:
            there = await likeness.wait(cluster)
            if not ranges:
                return done
            span = sum((each.end or 0) - each.start for each in ranges.values())
            self.progress = (0, span)

            def copied(left: int) -> None:
                self.progress = (span - left, span)

            state = await plan_copy((cluster, name), ranges, (cluster, there))
            result = await TopicCopy(cluster, metadata, cluster, state, on_progress=copied).run()
        except ClientError as error:
            return done._replace(summary=f"{done.summary}, not all records copied", errors=[error])
        self.progress = (span, span)
        said = f"cloned {name} into {target}: {count_text(result.sent)} records, compared by hash"
        return done._replace(summary=said, errors=result.problems(state))
