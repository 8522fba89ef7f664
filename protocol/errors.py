"""What a peer's bytes can be that a Kafka error code cannot answer."""

from __future__ import annotations


class ProtocolError(Exception):
    """A frame that is not the message it should be.

    There is no way to answer it (the correlation id may be wrong too), so the server closes that one connection, as
    Kafka does on an ``InvalidRequestException`` while parsing, and a client drops the connection and reports it.
    """
