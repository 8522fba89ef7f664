"""Partition actors on simulated nodes."""

from collections.abc import Iterator

import pytest

from tests.actors.partitions import Partitions


@pytest.fixture
def partition() -> Iterator[Partitions]:
    """Return a maker of partitions, which end with the test."""
    made = Partitions()
    yield made
    made.end()
