"""Esc beside what begins with an escape character, however it is cut; and what a terminal of ASCII is sent."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from klamm.tui.driver import Escapes, QuietDriver
from klamm.tui.signs import ASCII, Signs, in_ascii

ESC = "\x1b"


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("j", ["j"]),
        (f"{ESC}a", [ESC, "a"]),
        (f"{ESC}:topics\r", [ESC, ":topics\r"]),
        (f"ab{ESC}cd", ["ab", ESC, "cd"]),
        (f"{ESC}{ESC}x", [ESC, ESC, "x"]),
        (f"{ESC}[A", [f"{ESC}[A"]),  # an arrow
        (f"{ESC}OP", [f"{ESC}OP"]),  # F1
        (f"{ESC}{ESC}[A", [f"{ESC}{ESC}[A"]),  # an arrow with Alt, in some terminals
        (f"{ESC}[27u", [f"{ESC}[27u"]),  # Esc, where the terminal speaks Kitty's protocol
        (f"{ESC}[<0;3;4M", [f"{ESC}[<0;3;4M"]),  # a click
        (f"{ESC}b{ESC}f", [ESC, "b", ESC, "f"]),
        (f"{ESC}\x7f", [f"{ESC}\x7f"]),  # Alt-Backspace
        (f"{ESC}[200~a{ESC}b{ESC}[201~{ESC}c", [f"{ESC}[200~", f"a{ESC}b", f"{ESC}[201~", ESC, "c"]),
    ],
)
def test_esc_and_a_key_are_two_keys_and_sequences_stay_whole(text: str, pieces: list[str]) -> None:
    assert Escapes().split(text) == pieces


def test_who_is_typing_moves_by_words_with_alt() -> None:
    escapes = Escapes()
    assert escapes.split(f"{ESC}b{ESC}f{ESC}c", typing=True) == [f"{ESC}b{ESC}f", ESC, "c"]


@pytest.mark.parametrize(
    ("reads", "pieces"),
    [
        ([ESC, "a"], [ESC, "a"]),
        ([ESC, "[A"], [f"{ESC}[A"]),
        ([f"{ESC}[", "A"], [f"{ESC}[A"]),
        ([f"j{ESC}", f"{ESC}", "k"], ["j", ESC, ESC, "k"]),
        ([f"{ESC}[200~a{ESC}", "b"], [f"{ESC}[200~", f"a{ESC}", "b"]),
    ],
)
def test_what_may_be_either_waits_for_what_comes_next(reads: list[str], pieces: list[str]) -> None:
    escapes = Escapes()
    assert [piece for read in reads for piece in escapes.split(read)] == pieces
    assert escapes.settle() == []


def test_an_escape_character_that_nothing_follows_is_the_key() -> None:
    escapes = Escapes()
    assert escapes.split(ESC) == []
    assert escapes.settle() == [ESC]
    assert escapes.split(f"{ESC}[") == []
    assert escapes.settle() == [ESC, "["]  # the key that goes back in the history, pressed at once behind Esc
    assert escapes.settle() == []


@given(st.text())
def test_what_is_drawn_in_ascii_has_the_same_cells(drawn: str) -> None:
    assert in_ascii(drawn).isascii()
    assert cell_len(in_ascii(drawn)) == cell_len(drawn)


@pytest.mark.parametrize(("signs", "written"), [(ASCII, "+-+ < Open~ |"), (Signs(), "╭─╮ ⏎ Open… ▐")])
def test_a_terminal_of_ascii_is_sent_nothing_else(signs: Signs, written: str) -> None:
    sent: list[str] = []
    driver = object.__new__(QuietDriver)
    driver._app = SimpleNamespace(signs=signs)  # type: ignore[assignment]
    driver._writer_thread = SimpleNamespace(write=sent.append)  # type: ignore[assignment]
    driver.write("╭─╮ ⏎ Open… ▐")
    assert sent == [written]
