"""The terminal's driver, asleep while nobody types.

Textual's own looks ten times a second whether a key has come, which is most of what an idle interface costs. Here the
thread that reads keys waits for one. Only after a key it looks again soon: an escape character with nothing behind it
is a key of its own, which time alone tells.
"""

from __future__ import annotations

import contextlib
import os
import selectors
from codecs import getincrementaldecoder
from threading import Event
from typing import Any, Final

from textual import constants
from textual._parser import ParseError
from textual._xterm_parser import XTermParser
from textual.drivers.linux_driver import LinuxDriver

LOOKS_AFTER_KEY: Final = 2
"""So often the parser is asked, an escape's delay apart, whether what it holds is whole by now."""
_READ_SIZE: Final = 4096


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

    def run_input_thread(self) -> None:
        """Wait for input and dispatch events until the driver ends or hands the terminal to another program."""
        parser = XTermParser(self._debug)
        decode = getincrementaldecoder("utf-8")().decode
        looks = 0
        with selectors.SelectSelector() as selector:
            for each in (self.fileno, self._woken):
                selector.register(each, selectors.EVENT_READ)
            while not self.exit_event.is_set():
                ready = selector.select(constants.ESCAPE_DELAY if looks else None)
                looks = max(0, looks - 1)
                if any(key.fd == self.fileno for key, _ in ready):
                    came = os.read(self.fileno, _READ_SIZE)
                    if not came:  # the terminal is gone
                        break
                    looks = LOOKS_AFTER_KEY
                    text = decode(came)
                    for event in parser.feed(text) if text else ():
                        self.process_message(event)
                for event in parser.tick():
                    self.process_message(event)
            else:
                os.read(self._woken, _READ_SIZE)
        with contextlib.suppress(EOFError, ParseError):
            list(parser.feed(""))
