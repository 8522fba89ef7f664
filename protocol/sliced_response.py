"""A response whose one large array is encoded some elements at a time, so that a broker serves others in between."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from klamm.protocol.apis import API_VERSIONS, ApiKey
from klamm.protocol.header import response_header
from klamm.protocol.messages import encode_response
from klamm.protocol.primitives import write_size

SLICE_MAX: Final = 100
"""Elements encoded at once: their count then stands in one byte, or in the last of four."""
_LENGTH_SIZE: Final = 4


class SlicedResponse:
    """Encodes ``field`` of a response apart from the rest of it.

    Args:
        key: The API.
        version: The version to encode.
        empty: The newest shape of the response; the array is empty.
        field: The array's name, of a field that every version has.
    """

    def __init__(self, key: ApiKey, version: int, empty: Any, field: str) -> None:  # noqa: ANN401 (kio messages)
        self._key, self._version, self._rest, self._field = key, version, empty, field
        self.flexible = version >= API_VERSIONS[key].flexible_since
        self._head_size = _LENGTH_SIZE + len(response_header(0, key, version))
        self._empty = self._body(())
        self._at = 0

    def elements(self, values: tuple[Any, ...]) -> bytearray:
        """Return the bytes of one element or more, at most :data:`SLICE_MAX`."""
        assert 0 < len(values) <= SLICE_MAX, f"{len(values)} elements"
        body, empty = self._body(values), self._empty
        if not self._at:  # the count is the first that differs
            self._at = next(at for at, (one, other) in enumerate(zip(body, empty, strict=False), 1) if one != other)
        return body[self._at : len(body) - (len(empty) - self._at)]

    def parts(self, count: int, elements: bytearray) -> list[bytes | bytearray]:
        """Return the whole body with these ``count`` elements, of which :meth:`elements` made all bytes."""
        if not count:
            return [self._empty]
        head = self._empty[: self._at - (1 if self.flexible else 4)]
        write_size(head, count, flexible=self.flexible)
        return [head, elements, self._empty[self._at :]]

    def _body(self, values: tuple[Any, ...]) -> bytearray:
        response = replace(self._rest, **{self._field: values})
        return encode_response(self._key, self._version, response, 0)[self._head_size :]
