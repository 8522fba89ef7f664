"""The terminal's driver, asleep while nobody types.

Textual's own looks ten times a second whether a key has come, which is most of what an idle interface costs. Here the
thread that reads keys waits for one. Only after a key it looks again soon: an escape character with nothing behind it
is a key of its own, which time alone tells.

Terminals send Alt and a key as an escape character and that key, so Textual takes Esc and a key soon after it for Alt,
and the Esc is lost. klamm has no key with Alt: here they are two keys.
"""

from __future__ import annotations

import contextlib
import os
import re
import selectors
from codecs import getincrementaldecoder
from threading import Event
from typing import Any, Final

from textual import constants
from textual._parser import ParseError
from textual._xterm_parser import XTermParser
from textual.drivers.linux_driver import LinuxDriver
from textual.events import Key

from klamm.tui.signs import Signs, in_ascii

LOOKS_AFTER_KEY: Final = 2
"""So often the parser is asked, an escape's delay apart, whether what it holds is whole by now."""
_READ_SIZE: Final = 4096
_ESCAPES: Final = re.compile("(\x1b+)(?![\x1b\\[\\]OP_^])")
"""Escape characters with no sequence behind them: those begin with one of these characters (ECMA-48 §5.3, and SS3)."""
_UNDECIDED: Final = re.compile("\x1b+[\\[O]?\\Z")
_WORDS: Final = ("\x1b\x7f", "\x1bb", "\x1bf")
"""What terminals send for Alt with Backspace and arrows: who is typing goes, or deletes, by words with these."""
_PASTE, _PASTED = "\x1b[200~", "\x1b[201~"


class Escapes:
    """Tells Esc and a key from the sequences that begin with an escape character.

    What may be either is held back: :meth:`split` decides with what comes next, :meth:`settle` when nothing has come.
    """

    def __init__(self) -> None:
        self._held = ""
        self._pasting = False

    def split(self, text: str, *, typing: bool = False) -> list[str]:
        """Return pieces to parse one by one; an escape alone is the key Esc. While ``typing``, Alt moves by words."""
        text, self._held = self._held + text, ""
        pieces: list[str] = []
        while text:
            marker = _PASTED if self._pasting else _PASTE
            before, found, text = text.partition(marker)
            pieces += [before] if self._pasting else self._keys(before, typing=typing, last=not found)
            if found:
                pieces.append(found)
                self._pasting = not self._pasting
        return [piece for piece in pieces if piece]

    def settle(self) -> list[str]:
        """Return what was held back: nothing came behind it, so those were keys."""
        held, self._held = self._held, ""
        return [*held] if held else []

    def _keys(self, text: str, *, typing: bool, last: bool) -> list[str]:
        undecided = _UNDECIDED.search(text) if last else None
        if undecided is not None:
            text, self._held = text[: undecided.start()], undecided[0]
        pieces: list[str] = []
        at = 0
        for found in _ESCAPES.finditer(text):
            if text.startswith(_WORDS if typing else _WORDS[0], found.end() - 1):
                continue
            pieces += [text[at : found.start()], *found[0]]
            at = found.end()
        return [*pieces, text[at:]]


class _WakingEvent(Event):
    """An event whose setting also wakes who waits for a file descriptor."""

    def __init__(self, wake: int) -> None:
        super().__init__()
        self._wake = wake

    def set(self) -> None:
        super().set()
        os.write(self._wake, b"\0")


class QuietDriver(LinuxDriver):
    """Textual's driver of Unix terminals but for how it waits for keys."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Take what Textual's driver takes."""
        super().__init__(*arguments, **options)
        self._woken, wake = os.pipe()
        self.exit_event = _WakingEvent(wake)

    def write(self, data: str) -> None:
        """Write to the terminal, ASCII only where that is all it has."""
        signs = getattr(self._app, "signs", None)
        super().write(in_ascii(data) if isinstance(signs, Signs) and signs.ascii else data)

    def run_input_thread(self) -> None:
        """Wait for input and dispatch events until the driver ends or hands the terminal to another program."""
        parser = XTermParser(self._debug)
        escapes = Escapes()
        decode = getincrementaldecoder("utf-8")().decode
        looks = 0
        with selectors.SelectSelector() as selector:
            for each in (self.fileno, self._woken):
                selector.register(each, selectors.EVENT_READ)
            while not self.exit_event.is_set():
                ready = selector.select(constants.ESCAPE_DELAY if looks else None)
                looks = max(0, looks - 1)
                pieces = [] if ready else escapes.settle()
                if any(key.fd == self.fileno for key, _ in ready):
                    came = os.read(self.fileno, _READ_SIZE)
                    if not came:  # the terminal is gone
                        break
                    looks = LOOKS_AFTER_KEY
                    pieces = escapes.split(decode(came), typing=getattr(self._app, "is_typing", False))
                for piece in pieces:
                    for event in [Key("escape", "\x1b")] if piece == "\x1b" else parser.feed(piece):
                        self.process_message(event)
                for event in parser.tick():
                    self.process_message(event)
            else:
                os.read(self._woken, _READ_SIZE)
        with contextlib.suppress(EOFError, ParseError):
            list(parser.feed(""))
