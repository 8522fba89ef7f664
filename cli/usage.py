"""How a mistake in the line is told."""

from __future__ import annotations

import sys

EXIT_USAGE = 2


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
