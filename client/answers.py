"""Answers of one connection that were decoded: who asks the same again and is told the same gets the same object.

Screens ask the same each second, and mostly nothing has changed; decoding by a schema takes a hundred times as long as
comparing bytes. Responses are frozen, so that one may be handed out twice.
"""

from __future__ import annotations

from typing import Any, Final

ANSWERS_MAX: Final = 16
ANSWER_SIZE_BYTES_MAX: Final = 1 << 20
"""A larger answer is not kept: together they take 16 MiB at most, and what they were decoded to some times as much."""
ANSWER_SIZE_BYTES_MIN: Final = 1 << 9
"""A smaller one is decoded as quickly. That of an authentication is, and is nowhere kept."""
_KEY_AND_VERSION: Final = slice(4, 8)
_CORRELATION_ID_END: Final = 12
_CORRELATION_ID_SIZE_BYTES: Final = 4


class KeptAnswers:
    """The last answers of one connection, by their questions."""

    def __init__(self) -> None:
        self._kept: dict[tuple[bytes, bytes], tuple[bytes, Any]] = {}

    def decode(self, api_key: int, version: int, question: bytes | bytearray, answer: memoryview) -> Any:  # noqa: ANN401 (a response)
        """Return the newest-shape response to a request; both without any change are the object of the last time.

        Raises:
            ProtocolError: The bytes are no such response.
        """
        from klamm.protocol import messages  # noqa: PLC0415 (kio loads with the first of these)

        if not ANSWER_SIZE_BYTES_MIN <= len(answer) <= ANSWER_SIZE_BYTES_MAX:
            return messages.decode_response(api_key, version, answer)[1]
        asked = bytes(question[_KEY_AND_VERSION]), bytes(question[_CORRELATION_ID_END:])
        said = bytes(answer[_CORRELATION_ID_SIZE_BYTES:])
        before = self._kept.pop(asked, None)
        if before is not None and before[0] == said:
            response = before[1]
        else:
            _, response = messages.decode_response(api_key, version, answer)
        self._kept[asked] = said, response
        if len(self._kept) > ANSWERS_MAX:
            del self._kept[next(iter(self._kept))]
        return response
