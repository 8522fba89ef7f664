"""Texts found in bytes whatever the case of their letters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from klamm.client.messages.any_case import AnyCase

TEXTS = st.text("0123456789abcdefxyz-\x16$.", min_size=1, max_size=40)


LARGE = bytes(10_000)
"""So much is searched in another way."""


@pytest.mark.parametrize("more", [b"", LARGE], ids=["small", "large"])
@given(text=TEXTS, before=st.binary(), behind=st.binary(), upper=st.lists(st.booleans(), min_size=40, max_size=40))
def test_a_text_is_found_in_whatever_case(
    more: bytes, text: str, before: bytes, behind: bytes, upper: list[bool]
) -> None:
    written = "".join(letter.upper() if up else letter for letter, up in zip(text, upper, strict=False))
    data = before + more + written.encode() + behind + more
    at = AnyCase(text.encode()).find(data, 0, len(data))
    assert 0 <= at < len(before) + len(more) + len(text)
    assert text.encode() in data.lower()[max(0, at - len(text)) :]


@pytest.mark.parametrize("more", [b"", LARGE], ids=["small", "large"])
@given(text=TEXTS, data=st.binary(max_size=200))
def test_what_is_not_there_is_not_found(more: bytes, text: str, data: bytes) -> None:
    data += more
    found = AnyCase(text.encode()).find(data, 0, len(data)) >= 0
    assert found == (text.encode() in data.lower())


@pytest.mark.parametrize("text", [b"abcdef", b"1", b"\x16traceparent"])
def test_only_what_is_asked_for_is_searched(text: bytes) -> None:
    data = text.upper() + b" " + text
    found = AnyCase(text)
    assert found.find(data, len(text), len(data)) >= len(text) + 1
    assert found.find(data, 0, len(text) - 1) == -1
    assert found.find(bytearray(data), 0, len(data)) < len(text)


@pytest.mark.parametrize("more", [b"", LARGE], ids=["small", "large"])
@given(texts=st.lists(TEXTS, min_size=2, max_size=30), data=st.binary(max_size=200))
def test_one_of_several_is_found(more: bytes, texts: list[str], data: bytes) -> None:
    found = AnyCase(*(text.encode() for text in texts)).find(data + more, 0, len(data) + len(more))
    places = [at for at in ((data + more).lower().find(text.encode()) for text in texts) if at >= 0]
    assert (found >= 0) == bool(places)
    assert not places or min(places) <= found < min(places) + 40


def test_a_first_byte_that_is_not_rare_is_no_reason_to_miss_the_text() -> None:
    data = b"$" * 100_000 + b"$X-Datadog" + b"$" * 100
    assert 100_000 <= AnyCase(b"$x-datadog").find(data, 0, len(data)) < 100_010
    assert AnyCase(b"$x-datadog").find(data, 0, 100_005) == -1
