"""The group simulation: members of both protocols, faults for a while, then peace in which all must come right."""

from __future__ import annotations

from functools import partial

from klamm.actors.simulation import Simulation
from klamm.core.groups.config import GroupConfig
from tests.core.groups.driver import FakeTopics
from tests.groups.members import ClassicMember, ConsumerMember, Member
from tests.groups.world import Ledger, SimulatedBroker

FAULTY_S = 40.0
FAULTS = 14
PEACE_LIMIT_S = 60.0
PAUSE_MAX_S = 15.0
DOWN_MAX_S = 8.0
CLOCK_STEP_MAX_MS = 3_600_000
PARTITIONS_MAX = 7
CONFIG = GroupConfig(
    group_initial_rebalance_delay_ms=1_000,
    consumer_session_timeout_ms=6_000,
    offsets_retention_check_interval_ms=20_000,
)


def groups(simulation: Simulation) -> None:
    """A classic and a consumer group under faults (I5, I13, I14, I15, I22), then in peace (I19)."""
    topics = FakeTopics({"t": 1 + simulation.random.randrange(PARTITIONS_MAX)})
    ledger = Ledger(simulation)
    broker = SimulatedBroker(simulation, ledger, topics, CONFIG)
    members: list[Member] = []
    consumers: list[ConsumerMember] = []
    for number in range(1 + simulation.random.randrange(4)):
        static = simulation.random.random() < 0.3
        name, count = f"classic{number}", topics.counts["t"]
        members.append(ClassicMember(simulation, ledger, name, "classic", "t", count, static=static))
    members += [
        ConsumerMember(simulation, ledger, f"consumer{number}", "consumer", "t", consumers)
        for number in range(1 + simulation.random.randrange(4))
    ]
    _plan_faults(simulation, broker, members)
    until_s = simulation.now_s + FAULTY_S
    simulation.call_later(FAULTY_S + 0.001, lambda: None)
    while simulation.now_s < until_s and simulation.step():
        broker.check()
    _make_peace(simulation, broker, members)
    _expect_stability(simulation, broker, members, topics.counts["t"])


def _plan_faults(simulation: Simulation, broker: SimulatedBroker, members: list[Member]) -> None:
    random = simulation.random
    faults = simulation.network.faults
    faults.drop, faults.duplicate, faults.delay_max_s = 0.05 * random.random(), 0.1 * random.random(), random.random()
    broker.log.refusal_chance = 0.02 * random.random()
    for _ in range(random.randrange(FAULTS)):
        at_s = random.random() * FAULTY_S
        kind = random.randrange(5)
        member = members[random.randrange(len(members))]
        if kind == 0:
            simulation.call_later(at_s, lambda: _crash_broker(simulation, broker))
        elif kind == 1:
            simulation.call_later(at_s, partial(_crash_member, simulation, member))
        elif kind == 2:
            simulation.call_later(at_s, partial(_pause, simulation, member))
        elif kind == 3:
            simulation.call_later(at_s, partial(_set_clock, simulation, broker))
        else:
            simulation.call_later(at_s, lambda: _cut_off(simulation, members))


def _crash_broker(simulation: Simulation, broker: SimulatedBroker) -> None:
    if broker.node.running:
        broker.crash()
        simulation.call_later(simulation.random.random() * DOWN_MAX_S, broker.start_again)


def _set_clock(simulation: Simulation, broker: SimulatedBroker) -> None:
    """Have the wall clock step, back as often as forward: no member's session depends on it."""
    broker.node.clock.skew_ms = simulation.random.randrange(-CLOCK_STEP_MAX_MS, CLOCK_STEP_MAX_MS)


def _crash_member(simulation: Simulation, member: Member) -> None:
    if member.node.running:
        member.crash()
        simulation.call_later(simulation.random.random() * DOWN_MAX_S, lambda: _start_member(member))


def _start_member(member: Member) -> None:
    if not member.node.running:
        member.node.start_again()
        member.start()


def _pause(simulation: Simulation, member: Member) -> None:
    member.paused_until_s = simulation.now_s + simulation.random.random() * PAUSE_MAX_S


def _cut_off(simulation: Simulation, members: list[Member]) -> None:
    cut = [member.name for member in members if simulation.random.random() < 0.5]
    simulation.network.partition(cut, ["broker"])
    simulation.call_later(simulation.random.random() * DOWN_MAX_S, simulation.network.heal)


def _make_peace(simulation: Simulation, broker: SimulatedBroker, members: list[Member]) -> None:
    faults = simulation.network.faults
    faults.drop = faults.duplicate = 0.0
    faults.delay_max_s = 0.01
    broker.log.refusal_chance = 0.0
    simulation.network.heal()
    if not broker.node.running:
        simulation.call_later(DOWN_MAX_S, lambda: None)
    simulation.run_until(lambda: broker.node.running, DOWN_MAX_S + 1)
    for member in members:
        _start_member(member)


def _expect_stability(
    simulation: Simulation, broker: SimulatedBroker, members: list[Member], partition_count: int
) -> None:
    everything = list(range(partition_count))

    def stable() -> bool:
        """Every partition of both groups has one owner, and all have committed."""
        broker.check()
        for group in ("classic", "consumer"):
            owned = sorted(one for member in members if member.group == group for one in member.owned)
            if owned != everything:
                return False
        return all(getattr(member, "stable", False) for member in members)

    simulation.run_until(stable, PEACE_LIMIT_S)
    before = {member.name: member.commits_acknowledged for member in members}

    def committed() -> bool:
        """Everybody who owns something gets a commit acknowledged."""
        broker.check()
        return all(not member.owned or member.commits_acknowledged > before[member.name] for member in members)

    simulation.run_until(committed, PEACE_LIMIT_S)
    simulation.run_until(lambda: broker.unanswered == 0, PEACE_LIMIT_S)
