"""Every API's answer that says only what went wrong can be made, or its handler has to place errors itself."""

import contextlib

import pytest

from klamm.model.errors import ErrorCode, KafkaError
from klamm.protocol.apis import ApiKey
from klamm.server.error_responses import error_response
from klamm.server.served_apis import HANDLED, HANDLED_WITH_TELEMETRY

SERVED = {key for keys in (*HANDLED.values(), *HANDLED_WITH_TELEMETRY.values()) for key in keys}


@pytest.mark.parametrize("key", sorted(SERVED))
def test_an_error_has_a_response_or_is_passed_on(key: ApiKey) -> None:
    refused = KafkaError("refused", code=ErrorCode.INVALID_REQUEST)
    response = None
    with contextlib.suppress(KafkaError):  # there is no place for it in this API's response
        response = error_response(key, refused)
    assert response is None or response.error_code == ErrorCode.INVALID_REQUEST
