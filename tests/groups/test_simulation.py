"""Some seeds of the group simulation; ``python -m tests.simulation.run_seeds --scenario groups`` runs more."""

from __future__ import annotations

import pytest

from tests.simulation.scenarios import run

SEEDS = 100


@pytest.mark.parametrize("first", range(0, SEEDS, 20))
def test_groups_keep_their_promises_under_faults(first: int) -> None:
    for seed in range(first, first + 20):
        run("groups", seed)


def test_a_seed_gives_the_same_run_again() -> None:
    assert run("groups", 7).trace_hash() == run("groups", 7).trace_hash()
