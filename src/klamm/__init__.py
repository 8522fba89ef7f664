"""klamm: a Kafka-compatible broker made of actors, and the terminal from which any Kafka cluster is run.

The public Python API is what this module names; everything else may change. Names load on first use, so that
``import klamm`` costs next to nothing and the command line never pays for the broker.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from klamm.model.version import VERSION

if TYPE_CHECKING:
    from klamm.server.embedded import Broker

__all__ = ["Broker", "__version__"]

__version__ = VERSION


def __getattr__(name: str) -> Any:  # noqa: ANN401 (PEP 562: the type is the attribute's own)
    """Load ``Broker`` when it is first asked for (PEP 562)."""
    if name == "Broker":
        return importlib.import_module("klamm.server.embedded").Broker
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    """Return the public names, those included that are not loaded yet."""
    return __all__
