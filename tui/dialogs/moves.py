"""Leaders elected, partitions moved to other brokers, moves taken back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from klamm.client import operations
from klamm.client.guard import MODERATE, SEVERE, Plan
from klamm.client.partitions import PREFERRED, UNCLEAN, elect_leaders, list_reassignments, reassign, spread, to_elect
from klamm.client.text import counted
from klamm.client.topics import require_topics
from klamm.tui.dialogs.change import Change, Done, Field, Prepared, Values
from klamm.tui.dialogs.topics import number_of
from klamm.tui.place import Place
from klamm.tui.session import Session


class ElectLeaders(Change):
    """The preferred leaders of topics, or any leader at all for partitions without one."""

    title = "Elect leaders"

    def __init__(self, names: Sequence[str], *, unclean: bool = False) -> None:
        self.names = list(names)
        self.unclean = unclean

    async def prepare(self, session: Session, values: Values) -> Prepared:
        """Find the partitions that are not led as they should be."""
        cluster = session.cluster
        _, topics = await require_topics(cluster, self.names)
        kind = UNCLEAN if self.unclean else PREFERRED
        parts = to_elect(topics, kind)
        name = ",".join(dict.fromkeys(topic for topic, _ in parts)) or ",".join(self.names)
        cannot = "records that only the lost replicas have are gone" if self.unclean else ""
        level = SEVERE if self.unclean else MODERATE
        led = {(t.name, p.partition): (p.leader, p.replicas[0]) for t in topics for p in t.partitions}
        lines = [f"{topic}:{index}  {_leaders(*led[topic, index], unclean=self.unclean)}" for topic, index in parts]
        plan = Plan(f"elect leaders of {counted(len(parts), 'partition')}", level, name, lines, cannot)
        words = ["partition", "elect", *self.names]
        words += ["--unclean", "--confirm", name] if self.unclean else ["--yes"]
        if not parts:
            return Prepared(plan, words, problem="every partition is led as it should be")

        async def apply() -> Done:
            _, failed = await elect_leaders(cluster, parts, kind)
            done = plan.what.replace("elect", "elected", 1)
            return Done(done, list(failed.values()), (), cannot or "leadership: elect again")

        return Prepared(plan, words, apply)


class Reassign(Change):
    """Replicas spread over other brokers."""

    title = "Move partitions"
    fields = (Field("brokers", "To brokers", "", "ids with commas; empty: all"),)

    def __init__(self, names: Sequence[str]) -> None:
        self.names = list(names)

    async def prepare(self, session: Session, values: Values) -> Prepared:
        """Compute the moves."""
        cluster = session.cluster
        metadata, topics = await require_topics(cluster, self.names)
        known = sorted(each.broker_id for each in metadata.brokers)
        chosen = [
            number for each in values["brokers"].split(",") if (number := number_of(each, "To brokers")) is not None
        ]
        unknown = [each for each in chosen if each not in known]
        before = {(t.name, p.partition): p.replicas for t in topics for p in t.partitions}
        targets = {} if unknown else spread(topics, chosen or known)
        lines = [f"{t}:{p}  {_ids(before[t, p])} → {_ids(targets[t, p])}" for t, p in sorted(targets)]
        name = ",".join(dict.fromkeys(topic for topic, _ in targets)) or ",".join(self.names)
        plan = Plan(f"move {counted(len(targets), 'partition')}", SEVERE, name, lines)
        words = ["partition", "reassign", "plan", *self.names, "-o", "json"]
        words += ["--to-brokers", ",".join(map(str, chosen))] if chosen else []
        then = ["partition", "reassign", "apply", "-", "--confirm", plan.name]
        if unknown:
            return Prepared(plan, words, problem=f"there is no broker {unknown[0]}; there is {_ids(known)}")
        if not targets:
            return Prepared(plan, words, problem="nothing has to move")

        async def apply() -> Done:
            failed = await reassign(cluster, targets)
            done = [where for where in targets if where not in failed]
            inverse = operations.reassign({where: before[where] for where in done})
            place = Place("cluster", "", "moving") if done and not failed else None
            said = f"began to move {counted(len(done), 'partition')}"
            return Done(said, list(failed.values()), [inverse], "", bool(done), place)

        return Prepared(plan, words, apply, "moves them back", "", then)


class CancelMoves(Change):
    """Moves of topics taken back: new replicas that are not in sync yet go again."""

    title = "Cancel moves"

    def __init__(self, names: Sequence[str]) -> None:
        self.names = list(names)

    async def prepare(self, session: Session, values: Values) -> Prepared:
        """Find what is moving."""
        found = [each for each in await list_reassignments(session.cluster) if each.topic in self.names]
        lines = [f"{each.topic}:{each.partition}  without {_ids(each.adding)}" for each in found]
        chosen = list(dict.fromkeys(each.topic for each in found))
        cannot = "what was copied so far"
        plan = Plan(f"cancel {len(found)} moves", MODERATE, ",".join(chosen), lines, cannot)
        words = ["partition", "reassign", "cancel", *self.names, "--yes"]
        if not found:
            return Prepared(plan, words, problem="they have arrived")

        async def apply() -> Done:
            failed = await reassign(session.cluster, {(each.topic, each.partition): None for each in found})
            return Done(f"cancelled {len(found) - len(failed)} moves", list(failed.values()), (), cannot)

        return Prepared(plan, words, apply)


def _leaders(now: int, preferred: int, *, unclean: bool) -> str:
    """Return who leads and who would."""
    before = "no leader" if now < 0 else f"led by {now}"
    return f"{before} → {'any replica that lives' if unclean else preferred}"


def _ids(brokers: Iterable[int]) -> str:
    return ",".join(map(str, brokers))
