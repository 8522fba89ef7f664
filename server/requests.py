"""What a handler knows of a request besides its body."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from klamm.model.errors import ErrorCode, KafkaError

if TYPE_CHECKING:
    from klamm.server.connection import Connection


class RequestContext(NamedTuple):
    """One request's header, and who sent it."""

    api_key: int
    api_version: int
    correlation_id: int
    client_id: str | None
    client_host: str
    connection: Connection


def check_time_left(timeout: timedelta) -> None:
    """Refuse a change whose time is over when it comes: nothing of it is begun, as in Apache Kafka's controller.

    Raises:
        KafkaError: REQUEST_TIMED_OUT.
    """
    if timeout <= timedelta(0):
        raise KafkaError(code=ErrorCode.REQUEST_TIMED_OUT)
