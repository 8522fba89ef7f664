"""Texts that stand in bytes in either case of each of their letters, found in one pass."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

_RUNS: Final = re.compile(rb"[^A-Za-z]+")
_LARGE: Final = 8 << 10
"""Bytes from which on RE2 is quicker: a call takes it 3 µs, and 10 ms the first one, which loads it."""
_RARE_GAP: Final = 256
"""Bytes for each first byte of a text that are worth a look at what follows, before all is searched for it."""

_Search = Callable[[bytes | bytearray, int, int], Any]


class AnyCase:
    """Looks for an ASCII text, or for one of several, whatever the case of their letters.

    What a byte looked at costs: RE2 0.3 to 0.5 ns for one text (a literal: 0.15 to 0.25) and 1.7 ns for several,
    however many. Of a text that begins with a byte that texts seldom have, such as a size, that byte is looked for
    first, which costs next to nothing where there are few.
    """

    def __init__(self, *texts: bytes) -> None:
        self.texts = tuple(text.lower() for text in texts)
        first = self.texts[0][:1]
        self._rare = first if len(texts) == 1 and len(self.texts[0]) > 1 and not first.isalnum() else b""
        self._small: _Search = re.compile(b"|".join(map(_anchored, self.texts)), re.IGNORECASE).search
        self._large: _Search | None = None

    def __len__(self) -> int:
        """Return the size of the shortest text in bytes."""
        return min(map(len, self.texts))

    def find(self, data: bytes | bytearray, start: int, end: int) -> int:
        """Return a place of the first such text in ``data[start:end]``, behind its beginning; -1 if there is none."""
        return self._find_rare(data, start, end) if self._rare else self._search(data, start, end)

    def _find_rare(self, data: bytes | bytearray, start: int, end: int) -> int:
        text = self.texts[0]
        size = len(text)
        place, looked = data.find(self._rare, start, end), 0
        while place >= 0:
            if data[place : min(place + size, end)].lower() == text:
                return place
            looked += 1
            if looked * _RARE_GAP > place - start + _RARE_GAP * 16:
                return self._search(data, place + 1, end)
            place = data.find(self._rare, place + 1, end)
        return -1

    def _search(self, data: bytes | bytearray, start: int, end: int) -> int:
        if end - start < _LARGE:
            match = self._small(data, start, end)
        else:
            self._large = self._large or _compiled_by_re2(self.texts)
            match = self._large(data, start, end)
        return -1 if match is None else int(match.start())


def _anchored(text: bytes) -> bytes:
    """Return a pattern that begins with what has no case, the longest run of it: ``re`` finds a literal quickest."""
    run = max(_RUNS.finditer(text), key=lambda match: len(match[0]), default=None)
    start, end = (0, 0) if run is None else run.span()
    anchor, before, behind = re.escape(text[start:end]), re.escape(text[:end]), re.escape(text[end:])
    return rb"%b(?<=%b)%b" % (anchor, before, behind)


def _compiled_by_re2(texts: tuple[bytes, ...]) -> _Search:
    import re2  # type: ignore[import-untyped]  # noqa: PLC0415 - no types published; short searches do without

    search: _Search = re2.compile(b"(?i)" + b"|".join(map(re2.escape, texts))).search
    return search
