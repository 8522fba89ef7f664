"""InitProducerId: a producer id for every idempotent producer (KIP-98).

There are no transactions here: a request with a transactional id gets a fatal INVALID_REQUEST, so that no client
retries for ever.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from klamm.model.errors import ErrorCode, InvalidRequestError
from klamm.protocol.apis import ApiKey
from klamm.protocol.messages import wire_error
from klamm.server.message_types import response_types

if TYPE_CHECKING:
    from klamm.server.apis import Handler
    from klamm.server.node import Node
    from klamm.server.requests import RequestContext


async def init_producer_id(node: Node, _context: RequestContext, request: Any) -> Any:  # noqa: ANN401 (kio messages)
    """Hand out the next producer id, epoch 0.

    Raises:
        InvalidRequestError: A transactional id was given.
    """
    if request.transactional_id is not None:
        msg = f"transactional.id={request.transactional_id!r}: this broker has no transactions"
        raise InvalidRequestError(msg)
    producer_id = await node.next_producer_id()
    types = response_types(ApiKey.INIT_PRODUCER_ID)
    return types.InitProducerIdResponse(
        throttle_time=timedelta(0), error_code=wire_error(ErrorCode.NONE), producer_id=producer_id, producer_epoch=0
    )


HANDLERS: dict[ApiKey, Handler] = {ApiKey.INIT_PRODUCER_ID: init_producer_id}
