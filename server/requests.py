"""What a handler knows of a request besides its body."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

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
