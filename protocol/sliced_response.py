"""A response whose one large array is encoded some elements at a time, so that a broker serves others in between."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from itertools import islice
from typing import Any, Final

from klamm.protocol.apis import API_VERSIONS, ApiKey
from klamm.protocol.header import response_header
from klamm.protocol.messages import encode_response
from klamm.protocol.primitives import write_size, write_string

SLICE_MAX: Final = 100
"""Elements encoded at once: their count then stands in one byte, or in the last of four."""
_TOGETHER: Final = 20
"""Elements encoded before the next turn of others: some hundred microseconds."""
_LENGTH_SIZE: Final = 4


class SlicedResponse:
    """Encodes one array of a response apart from the rest of it.

    Args:
        key: The API.
        version: The version to encode; it has the array.
        build: Returns the newest shape of the response with these elements; everything else in it stays the same.
    """

    def __init__(self, key: ApiKey, version: int, build: Callable[[tuple[Any, ...]], Any]) -> None:
        self._key, self._version, self._build = key, version, build
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

    def around(self, value: Any, text: str, start: int) -> tuple[bytearray, bytearray]:  # noqa: ANN401 (a kio message)
        """Return what stands before and behind the string ``text``, which one element has at the byte ``start``."""
        encoded, name = self.elements((value,)), bytearray()
        write_string(name, text, flexible=self.flexible)
        return encoded[:start], encoded[start + len(name) :]

    def whole(self, values: Iterable[Any]) -> Generator[None, None, list[bytes | bytearray]]:
        """Return the whole body with these elements; they are made when their turn comes."""
        encoded, count, rest = bytearray(), 0, iter(values)
        while together := tuple(islice(rest, _TOGETHER)):
            encoded += self.elements(together)
            count += len(together)
            yield
        return self.parts(count, encoded)

    def parts(self, count: int, elements: bytearray) -> list[bytes | bytearray]:
        """Return the whole body with these ``count`` elements, of which :meth:`elements` made all bytes."""
        if not count:
            return [self._empty]
        head = self._empty[: self._at - (1 if self.flexible else 4)]
        write_size(head, count, flexible=self.flexible)
        return [head, elements, self._empty[self._at :]]

    def _body(self, values: tuple[Any, ...]) -> bytearray:
        return encode_response(self._key, self._version, self._build(values), 0)[self._head_size :]
