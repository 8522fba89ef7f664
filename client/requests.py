"""What all operations share: the classes of a request, and error codes of responses as errors."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar

from klamm.client.errors import DeadlineError, ResponseError

if TYPE_CHECKING:
    from klamm.client.cluster import Cluster

TIMEOUT: Final = timedelta(seconds=30)
"""How long a broker may take to carry out a change, as in Kafka's own admin client."""
BROKER_TIMEOUT_S: Final = 10.0
"""A broker that has not answered by then counts as unavailable: what the others say is shown."""
DESCRIBE_CLUSTER_RIGHT: Final = "DESCRIBE on the cluster"
"""The right that most of what describes a cluster takes."""
DESCRIBE_GROUP_RIGHT: Final = "DESCRIBE on the group"
"""The right to see a group and its offsets."""
_Result = TypeVar("_Result")


def shapes(api_key: int) -> Any:  # noqa: ANN401 (a module of generated classes)
    """Return the module with the newest request of an API and the classes it is made of."""
    from klamm.protocol import messages  # noqa: PLC0415 (`klamm topic list` does without kio)

    newest = messages.request_class(api_key)
    return _Shapes(newest)


def response_shapes(api_key: int) -> Any:  # noqa: ANN401 (as above)
    """Return the module with the newest response of an API and the classes it is made of: for who answers."""
    from klamm.protocol import messages  # noqa: PLC0415 (as above)

    return _Shapes(messages.response_class(api_key))


class _Shapes:
    """The classes of one request by name.

    Where ``klamm.protocol`` has a newest shape of its own, the classes it takes over from ``kio`` stand in the
    module of the class it extends.
    """

    def __init__(self, newest: type) -> None:
        self._modules = [sys.modules[each.__module__] for each in newest.__mro__]

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 (a generated class)
        for module in self._modules:
            if hasattr(module, name):
                return getattr(module, name)
        msg = f"no class {name} in {', '.join(module.__name__ for module in self._modules)}"
        raise AttributeError(msg)


def code_of(error_code: Any) -> int:  # noqa: ANN401 (an enum's member as kio decodes it)
    """Return the number of an error code as a response holds it."""
    return int(error_code.value)


def failure(
    error_code: Any,  # noqa: ANN401 (as above)
    message: str | None = None,
    name: str | None = None,
    *,
    needs: str = "",
) -> ResponseError | None:
    """Return the error that a code means, None for none; ``needs`` is the right that the request takes."""
    code = code_of(error_code)
    return None if code == 0 else ResponseError(code, message, name=name, needs=needs)


def check(
    error_code: Any,  # noqa: ANN401 (as above)
    message: str | None = None,
    name: str | None = None,
    *,
    needs: str = "",
) -> None:
    """Raise the error that a code means, if it means one; ``needs`` as for :func:`failure`.

    Raises:
        ResponseError: The code is not 0.
    """
    error = failure(error_code, message, name, needs=needs)
    if error is not None:
        raise error


def integers(values: Iterable[Any]) -> tuple[int, ...]:
    """Return plain integers of wire integers."""
    return tuple(int(value) for value in values)


def milliseconds(value: Any) -> int:  # noqa: ANN401 (an integer, or a time, as kio has the field)
    """Return a time of a message in milliseconds; negative ones have a meaning of their own."""
    return int(value.timestamp() * 1000) if hasattr(value, "timestamp") else int(value)


def time_ms(value: Any) -> int | None:  # noqa: ANN401 (as above)
    """Return a time of a response in milliseconds; None where it has none."""
    return None if value is None or milliseconds(value) < 0 else milliseconds(value)


async def within(cluster: Cluster, seconds: float, broker_id: int, asked: Awaitable[_Result]) -> _Result:
    """Return what was asked of a broker.

    Raises:
        DeadlineError: It did not answer in time. Its connection is closed: what is asked next would wait behind this.
    """
    try:
        async with asyncio.timeout(seconds):
            return await asked
    except TimeoutError:
        cluster.drop(broker_id)
        msg = f"broker {broker_id} did not answer within {seconds:g} s"
        raise DeadlineError(msg) from None
