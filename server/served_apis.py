"""The table of what this broker serves: the one place where APIs are added.

Handlers load when they are first needed, or in the background once the broker is up (:func:`prewarm`): loading them all
takes longer than everything else that a start does.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from klamm.protocol import messages
from klamm.protocol.apis import ApiKey
from klamm.server.apis import Api, HandledApi, ReceivedApi
from klamm.server.handlers.api_versions import ApiVersionsApi
from klamm.server.handlers.fetch import FetchApi
from klamm.server.handlers.produce import ProduceApi

if TYPE_CHECKING:
    from klamm.server.node import Node

HANDLED: Final = {
    "klamm.server.handlers.metadata": (ApiKey.METADATA,),
    "klamm.server.handlers.list_offsets": (ApiKey.LIST_OFFSETS, ApiKey.OFFSET_FOR_LEADER_EPOCH),
    "klamm.server.handlers.producer_ids": (ApiKey.INIT_PRODUCER_ID,),
    "klamm.server.handlers.topics": (ApiKey.CREATE_TOPICS, ApiKey.DELETE_TOPICS, ApiKey.CREATE_PARTITIONS),
    "klamm.server.handlers.groups": (
        ApiKey.FIND_COORDINATOR,
        ApiKey.JOIN_GROUP,
        ApiKey.SYNC_GROUP,
        ApiKey.LEAVE_GROUP,
        ApiKey.OFFSET_DELETE,
        ApiKey.LIST_GROUPS,
        ApiKey.DESCRIBE_GROUPS,
        ApiKey.DELETE_GROUPS,
        ApiKey.CONSUMER_GROUP_DESCRIBE,
    ),
    "klamm.server.handlers.offset_fetch": (ApiKey.OFFSET_FETCH,),
    "klamm.server.handlers.configs": (
        ApiKey.DESCRIBE_CONFIGS,
        ApiKey.INCREMENTAL_ALTER_CONFIGS,
        ApiKey.ALTER_CONFIGS,
        ApiKey.LIST_CONFIG_RESOURCES,
    ),
    "klamm.server.handlers.cluster": (ApiKey.DESCRIBE_CLUSTER, ApiKey.DESCRIBE_QUORUM, ApiKey.DESCRIBE_LOG_DIRS),
    "klamm.server.handlers.partitions": (
        ApiKey.DELETE_RECORDS,
        ApiKey.DESCRIBE_PRODUCERS,
        ApiKey.ELECT_LEADERS,
        ApiKey.ALTER_PARTITION_REASSIGNMENTS,
        ApiKey.LIST_PARTITION_REASSIGNMENTS,
        ApiKey.DESCRIBE_TOPIC_PARTITIONS,
    ),
}
"""Modules with a ``HANDLERS`` table, and the keys in it; in the order in which clients come to need them."""

RECEIVED: Final = {
    ApiKey.HEARTBEAT: "klamm.server.handlers.heartbeat",
    ApiKey.CONSUMER_GROUP_HEARTBEAT: "klamm.server.handlers.heartbeat",
    ApiKey.OFFSET_COMMIT: "klamm.server.handlers.offset_commit",
}
"""APIs that have a codec of their own, because they are asked so often, and their modules with ``RECEIVERS``."""

HANDLED_WITH_TELEMETRY: Final = {
    "klamm.server.handlers.client_metrics": (ApiKey.GET_TELEMETRY_SUBSCRIPTIONS, ApiKey.PUSH_TELEMETRY),
}
"""The same, of what is served only while telemetry is on: without it there is nowhere for clients' metrics to go."""


def serve_apis(node: Node) -> dict[int, Api]:
    """Return every API that is served, by key."""
    apis: dict[int, Api] = {
        ApiKey.PRODUCE: ProduceApi(node),
        ApiKey.FETCH: FetchApi(node),
        ApiKey.API_VERSIONS: ApiVersionsApi(node),
    }
    handled = HANDLED if node.journal is None else HANDLED | HANDLED_WITH_TELEMETRY
    for module, keys in handled.items():
        for key in keys:
            apis[key] = HandledApi(node, key, module)
    for key, module in RECEIVED.items():
        apis[key] = ReceivedApi(node, key, module)
    return apis


def prewarm(apis: Iterable[Api]) -> None:
    """Load every handler and the newest messages of its API, so that no first request waits; on a thread."""
    for api in apis:
        if isinstance(api, ReceivedApi):
            api.load()
        elif isinstance(api, HandledApi):
            api.load()
            messages.prewarm((api.key,))
