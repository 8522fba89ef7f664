"""Two toy actors on two nodes count to a number over a bad network: what the simulator must be able to do at least."""

from __future__ import annotations

from typing import Final, NamedTuple

from klamm.actors.runtime import LoopActor
from klamm.actors.simulation import SimulatedNode, Simulation

LAST: Final = 10
RESEND_S: Final = 0.2


class Number(NamedTuple):
    """A number that the other side has counted to."""

    number: int


class Counter(LoopActor):
    """Answers each number with the next one, and repeats its last until it is answered."""

    def __init__(self, node: SimulatedNode, other: str) -> None:
        super().__init__()
        self.actor_name = f"counter {node.name}"
        self.number = 0
        self._node = node
        self._other = other

    def on_start(self) -> None:
        self._resend()

    def on_receive(self, message: Number) -> None:
        if message.number == self.number + 1:
            self.number = message.number + 1
            self._send()

    def _resend(self) -> None:
        self._send()
        self.call_later(self._node.timers, RESEND_S, self._resend)

    def _send(self) -> None:
        self._node.transport.send(self._other, Number(self.number))


def counting(simulation: Simulation) -> None:
    """Both sides reach the last number however bad the network is, once it is healed; and never skip one."""
    random = simulation.random
    faults = simulation.network.faults
    faults.drop, faults.duplicate = random.choice((0.0, 0.1, 0.5)), random.choice((0.0, 0.2))
    actors: list[Counter] = []
    for name, other in (("a", "b"), ("b", "a")):
        node = simulation.node(name)
        ref = Counter.start(node, other, dispatcher=node.dispatcher())
        actor = ref.actor_inbox.actor
        assert isinstance(actor, Counter)
        actors.append(actor)
        node.transport.listener = lambda _source, payload, ref=ref: ref.tell(payload)
    actors[0].number = 1

    def both_done() -> bool:
        """Both counters are at the end."""
        numbers = sorted(actor.number for actor in actors)
        simulation.check(numbers[1] - numbers[0] == 1, f"a number was skipped: {numbers}")
        return numbers[0] >= LAST

    if random.random() < 0.5:
        simulation.network.partition({"a"}, {"b"})
        simulation.run_for(random.random() * 5)
        simulation.network.heal()
    simulation.run_until(both_done, 120)
