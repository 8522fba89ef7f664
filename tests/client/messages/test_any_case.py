"""Texts found in bytes whatever the case of their letters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from klamm.client.messages.any_case import AnyCase

TEXTS = st.text("0123456789abcdefxyz-\x16$.", min_size=1, max_size=40)


@given(TEXTS, st.binary(), st.binary(), st.lists(st.booleans(), min_size=40, max_size=40))
def test_a_text_is_found_in_whatever_case(text: str, before: bytes, behind: bytes, upper: list[bool]) -> None:
    written = "".join(letter.upper() if up else letter for letter, up in zip(text, upper, strict=False))
    data = before + written.encode() + behind
    at = AnyCase(text.encode()).find(data, 0, len(data))
    assert 0 <= at < len(before) + len(text)
    assert text.encode() in data.lower()[max(0, at - len(text)) :]


@given(TEXTS, st.binary(max_size=200))
def test_what_is_not_there_is_not_found(text: str, data: bytes) -> None:
    found = AnyCase(text.encode()).find(data, 0, len(data)) >= 0
    assert found == (text.encode() in data.lower())


@pytest.mark.parametrize("text", [b"abcdef", b"1", b"\x16traceparent"])
def test_only_what_is_asked_for_is_searched(text: bytes) -> None:
    data = text.upper() + b" " + text
    found = AnyCase(text)
    assert found.find(data, len(text), len(data)) >= len(text) + 1
    assert found.find(data, 0, len(text) - 1) == -1
    assert found.find(bytearray(data), 0, len(data)) < len(text)
