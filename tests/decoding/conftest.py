from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.schema_registry import RegistryServer, schema_registry


@pytest.fixture
def registry() -> Iterator[RegistryServer]:
    """A schema registry for one test."""
    with schema_registry() as running:
        yield running
