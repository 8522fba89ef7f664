"""The response that says only what went wrong, for any API whose response has a top-level error."""

from __future__ import annotations

import dataclasses
import datetime as dt
import typing
from typing import Any

from klamm.model.errors import KafkaError
from klamm.protocol.apis import ApiKey
from klamm.protocol.messages import response_class, wire_error


def error_response(key: ApiKey, error: KafkaError) -> Any:  # noqa: ANN401 (the kio class of this API's response)
    """Return the newest response of an API with this error and otherwise nothing.

    Raises:
        KafkaError: The response has no place for a top-level error: a handler let one out that it should have placed.
    """
    response = response_class(key)
    names = {field.name for field in dataclasses.fields(response)}
    if "error_code" not in names:
        raise error
    hints = typing.get_type_hints(response)
    values: dict[str, Any] = {}
    for field in dataclasses.fields(response):
        if field.name == "error_code":
            values[field.name] = wire_error(error.error_code)
        elif field.name == "error_message":
            values[field.name] = error.message or None
        elif field.default is dataclasses.MISSING:
            values[field.name] = _nothing(hints[field.name])
    return response(**values)


def _nothing(hint: Any) -> Any:  # noqa: ANN401 (a type hint, and a value of it)
    if type(None) in typing.get_args(hint):
        return None
    origin = typing.get_origin(hint) or hint
    if issubclass(origin, dt.timedelta):
        return dt.timedelta(0)
    if issubclass(origin, int):  # kio's integers are types to check by, and cannot be called
        return 0
    return origin()
