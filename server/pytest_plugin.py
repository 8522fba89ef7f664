"""The pytest fixture ``klamm_broker``: a real broker for one test, on a free port, with temporary data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from klamm.server.embedded import Broker


@pytest.fixture
def klamm_broker() -> Iterator[Broker]:
    """Yield a running :class:`klamm.Broker`; connect clients to ``klamm_broker.bootstrap``."""
    from klamm.server.embedded import Broker  # noqa: PLC0415 (a test run without brokers must not pay for one)

    with Broker() as broker:
        yield broker
