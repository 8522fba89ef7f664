"""Answers that are kept: the same question with the same answer is one object, and nothing else is."""

from __future__ import annotations

from klamm.client import wire
from klamm.client.answers import ANSWERS_MAX, KeptAnswers
from klamm.protocol import messages
from tests.client.test_wire import _response

KEY, VERSION = wire.METADATA_KEY, 13


def question(correlation_id: int, text: str = "all") -> bytes:
    return bytes(4) + b"\0\3\0\x0d" + correlation_id.to_bytes(4, "big") + text.encode()


def answer(count: int, correlation_id: int) -> memoryview:
    return memoryview(messages.encode_response(KEY, VERSION, _response(count), correlation_id))[4:]


def test_an_answer_is_decoded_anew_only_when_question_or_answer_differ() -> None:
    kept = KeptAnswers()
    first = kept.decode(KEY, VERSION, question(1), answer(30, 1))
    assert kept.decode(KEY, VERSION, question(2), answer(30, 2)) is first
    assert kept.decode(KEY, VERSION, question(3, "some"), answer(30, 3)) is not first
    assert len(kept.decode(KEY, VERSION, question(4), answer(31, 4)).topics) == 31
    assert kept.decode(KEY, VERSION, question(5), answer(30, 5)) == first


def test_few_answers_are_kept_and_no_small_ones() -> None:
    kept = KeptAnswers()
    small = kept.decode(KEY, VERSION, question(1), answer(1, 1))
    assert kept.decode(KEY, VERSION, question(2), answer(1, 2)) is not small
    first = kept.decode(KEY, VERSION, question(3), answer(30, 3))
    for number in range(ANSWERS_MAX):
        kept.decode(KEY, VERSION, question(4, f"{number}"), answer(30, 4))
    assert kept.decode(KEY, VERSION, question(5), answer(30, 5)) is not first
