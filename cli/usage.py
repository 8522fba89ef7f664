"""How a mistake in the line is told, and that what is printed cannot be written."""

from __future__ import annotations

import errno
import os
import sys

EXIT_FAILED, EXIT_USAGE = 1, 2
EXIT_PIPE_CLOSED = 141
"""128 + SIGPIPE: what a program ends with that is killed by its reader's end."""
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def report(message: str, *, in_json: bool) -> int:
    """Say what is wrong with the line on standard error, for programs as an envelope too; return the exit code."""
    from klamm.client.text import printable_lines

    sys.stderr.write(f"klamm: {printable_lines(message)}\n")
    if in_json:
        import json

        error = {"code": "USAGE", "message": message, "retriable": False}
        envelope = {"kind": "Error", "version": 1, "context": None, "items": [], "errors": [error]}
        sys.stdout.write(json.dumps(envelope) + "\n")
    return EXIT_USAGE


def open_streams() -> None:
    """Open what is closed of the standard streams: a socket or a segment would get its number, and what is printed."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):  # each gets the lowest number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))


def unwritable(error: BaseException) -> bool:
    """Return whether nobody takes what is written: the reader of a pipe went away, or a disk is full."""
    return isinstance(error, BrokenPipeError) or (isinstance(error, OSError) and error.errno in _NO_ROOM)


def end_unwritten(error: OSError) -> int:
    """Say that a disk is full; return the exit code. Nothing is written any more, by the interpreter's end either."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(error, BrokenPipeError):
        return EXIT_PIPE_CLOSED
    assert error.errno is not None, "asked of what unwritable() takes"
    sys.stderr.write(f"klamm: cannot write: {os.strerror(error.errno)}\n  next: make room, or write elsewhere\n")
    return EXIT_FAILED
