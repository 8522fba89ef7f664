"""The table of what this broker serves: the one place where APIs are added."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from klamm.protocol.apis import ApiKey
from klamm.server.apis import Api, HandledApi
from klamm.server.handlers import cluster, configs, groups, list_offsets, metadata, partitions, producer_ids, topics
from klamm.server.handlers.api_versions import ApiVersionsApi
from klamm.server.handlers.fetch import FetchApi
from klamm.server.handlers.produce import ProduceApi

if TYPE_CHECKING:
    from klamm.server.node import Node

_HANDLER_MODULES: Final = (metadata, list_offsets, producer_ids, topics, configs, cluster, partitions, groups)


def serve_apis(node: Node) -> dict[int, Api]:
    """Return every API that is served, by key."""
    apis: dict[int, Api] = {
        ApiKey.PRODUCE: ProduceApi(node),
        ApiKey.FETCH: FetchApi(node),
        ApiKey.API_VERSIONS: ApiVersionsApi(node),
    }
    for module in _HANDLER_MODULES:
        for key, handler in module.HANDLERS.items():
            apis[key] = HandledApi(node, key, handler)
    return apis
