"""All scenarios by name, and how one is run."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from klamm.actors.simulation import Simulation, SimulationError
from tests.groups.scenario import groups
from tests.simulation.compaction import compaction, offsets
from tests.simulation.controller import controller
from tests.simulation.partition import partition
from tests.simulation.replication import replication
from tests.simulation.toy import counting

Scenario = Callable[[Simulation], object]

SCENARIOS: Final[dict[str, Scenario]] = {
    "counting": counting,
    "partition": partition,
    "controller": controller,
    "compaction": compaction,
    "offsets": offsets,
    "groups": groups,
    "replication": replication,
}


def run(name: str, seed: int, *, quiet: bool = True) -> Simulation:
    """Run one seed of a scenario.

    Raises:
        SimulationError: It went wrong; the message says how to run it again.
    """
    simulation = Simulation(seed, name)
    logger = logging.getLogger("klamm")
    level = logger.level
    if quiet:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        SCENARIOS[name](simulation)
    except SimulationError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise simulation.error(reason) from error
    finally:
        logger.setLevel(level)
        simulation.end()
    return simulation
