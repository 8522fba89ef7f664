"""Fetch: the API, its sessions, and which requests are known when they come again; ``fetch_response.py`` answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from klamm.protocol.apis import API_VERSIONS, ApiKey
from klamm.protocol.fetch import FetchRequest, decode_fetch
from klamm.protocol.header import LENGTH_PREFIX_SIZE, RequestHeader
from klamm.server.connection import Connection
from klamm.server.fetch_response import FetchResponse
from klamm.server.fetch_sessions import EPOCH_INITIAL, FetchSessions
from klamm.server.repeated_fetch import MISSES_MAX, RepeatedFetch
from klamm.server.repeated_request import REPEATED_MAX, REPEATED_SIZE_MAX
from klamm.telemetry.requests import RequestStats

if TYPE_CHECKING:
    from klamm.server.node import Node


class FetchApi:
    """Receives Fetch requests (hand-decoded, versions 4 to 18)."""

    name = "Fetch"
    any_version = False

    def __init__(self, node: Node) -> None:
        versions = API_VERSIONS[ApiKey.FETCH]
        self.version_min, self.version_max = versions.min, versions.max
        self.stats = RequestStats()
        self.stats.long_poll = True
        self.node = node
        self.sessions = FetchSessions(node.config.max_incremental_fetch_session_cache_slots, node.new_session_id)

    def receive(self, connection: Connection, header: RequestHeader, frame: memoryview) -> FetchResponse:
        """Answer at once, or wait."""
        request = decode_fetch(frame, header.body_position, header.api_version)
        response = FetchResponse(connection, self, header.api_version, header.correlation_id, header.client_id, request)
        response.start()
        if request.replica_id < 0 and request.session_epoch != EPOCH_INITIAL and len(frame) <= REPEATED_SIZE_MAX:
            self._learn(connection, header, frame, request)
        return response

    def _learn(self, connection: Connection, header: RequestHeader, frame: memoryview, request: FetchRequest) -> None:
        known = connection.known
        before = known.by_size.get(len(frame) + LENGTH_PREFIX_SIZE)
        if isinstance(before, RepeatedFetch) and before.misses < MISSES_MAX:
            return
        if known.may_repeat(len(frame)) or len(known.by_size) < REPEATED_MAX:
            known.add(RepeatedFetch(self, connection, header, frame, request))
