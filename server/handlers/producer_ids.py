"""InitProducerId: a producer id for every idempotent producer (KIP-98).

There are no transactions here: a request with a transactional id gets a fatal INVALID_REQUEST, so that no client
retries for ever.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from klamm.model.errors import ErrorCode
from klamm.protocol.apis import ApiKey
from klamm.protocol.messages import wire_error
from klamm.server.message_types import response_types

if TYPE_CHECKING:
    from klamm.server.apis import Handler
    from klamm.server.node import Node
    from klamm.server.requests import RequestContext

NO_PRODUCER: Final = -1
"""The producer id and epoch beside an error, as Apache Kafka answers them."""


async def init_producer_id(node: Node, _context: RequestContext, request: Any) -> Any:  # noqa: ANN401 (kio messages)
    """Hand out the next producer id, epoch 0, also to a producer that has one: only transactions raise its epoch.

    INVALID_REQUEST to a transactional id, since there are no transactions, and to an id without its epoch or an epoch
    without its id.
    """
    error, producer_id, epoch = ErrorCode.INVALID_REQUEST, NO_PRODUCER, NO_PRODUCER
    halved = (request.producer_id == NO_PRODUCER) != (request.producer_epoch == NO_PRODUCER)
    if request.transactional_id is None and not halved:
        error, producer_id, epoch = ErrorCode.NONE, await node.controller.next_producer_id(), 0
    types = response_types(ApiKey.INIT_PRODUCER_ID)
    return types.InitProducerIdResponse(
        throttle_time=timedelta(0), error_code=wire_error(error), producer_id=producer_id, producer_epoch=epoch
    )


HANDLERS: dict[ApiKey, Handler] = {ApiKey.INIT_PRODUCER_ID: init_producer_id}
