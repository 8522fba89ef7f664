"""ApiVersions: what this broker serves, said so that every client can read it (KIP-35, KIP-511, KIP-584).

The response header is always version 0. A version that isn't served is answered in version 0 with UNSUPPORTED_VERSION
and the versions that are, the body unread: that is how a newer client finds the version to ask again with.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from klamm.model.errors import ErrorCode
from klamm.protocol.apis import API_VERSIONS, ApiKey
from klamm.protocol.header import RequestHeader
from klamm.protocol.messages import decode_request, encode_response, wire_error
from klamm.server.apis import served_versions
from klamm.server.connection import Connection
from klamm.server.message_types import response_types
from klamm.server.response_slot import ResponseSlot
from klamm.telemetry.requests import RequestStats

if TYPE_CHECKING:
    from klamm.server.node import Node

SOFTWARE_SINCE: Final = 3
CLIENT_METRICS_KEYS: Final = (ApiKey.GET_TELEMETRY_SUBSCRIPTIONS, ApiKey.PUSH_TELEMETRY)
"""Advertised once somebody wants clients' metrics: clients that see them ask at once, which librdkafka logs."""
SOFTWARE_NAME: Final = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?")
"""What a client and its version may be called (KIP-511)."""


class ApiVersionsApi:
    """Receives ApiVersions requests of any version."""

    name = "ApiVersions"
    any_version = True

    def __init__(self, node: Node) -> None:
        versions = API_VERSIONS[ApiKey.API_VERSIONS]
        self.version_min, self.version_max = versions.min, versions.max
        self.stats = RequestStats()
        self._node = node

    def receive(self, connection: Connection, header: RequestHeader, frame: memoryview) -> ResponseSlot:
        """Answer at once."""
        slot = ResponseSlot(connection)
        version, error = header.api_version, ErrorCode.NONE
        if not self.version_min <= version <= self.version_max:
            version, error = 0, ErrorCode.UNSUPPORTED_VERSION
        elif version >= SOFTWARE_SINCE:
            request = decode_request(ApiKey.API_VERSIONS, version, frame[header.body_position :])
            software = (request.client_software_name, request.client_software_version)
            if all(SOFTWARE_NAME.fullmatch(text) for text in software):
                connection.client_software = software
            else:
                error = ErrorCode.INVALID_REQUEST
        response = self._response(error)
        slot.complete([encode_response(ApiKey.API_VERSIONS, version, response, header.correlation_id)])
        return slot

    def _response(self, error: ErrorCode) -> Any:  # noqa: ANN401 (a kio message)
        types = response_types(ApiKey.API_VERSIONS)
        keys = tuple(
            types.ApiVersion(api_key=key, min_version=low, max_version=high)
            for key, low, high in served_versions(self._node.apis)
            if key not in CLIENT_METRICS_KEYS or self._node.wants_client_metrics
            if error is ErrorCode.NONE or (error is ErrorCode.UNSUPPORTED_VERSION and key == ApiKey.API_VERSIONS)
        )
        features = self._node.features
        if error is not ErrorCode.NONE:
            features = {}
        return types.ApiVersionsResponse(
            error_code=wire_error(error),
            api_keys=keys,
            throttle_time=timedelta(0),
            supported_features=tuple(
                types.SupportedFeatureKey(name=name, min_version=0, max_version=level)
                for name, level in features.items()
            ),
            finalized_features_epoch=self._node.features_epoch,
            finalized_features=tuple(
                types.FinalizedFeatureKey(name=name, max_version_level=level, min_version_level=level)
                for name, level in features.items()
            ),
        )
