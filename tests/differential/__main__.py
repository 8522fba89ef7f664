"""Compare two brokers: ``python -m tests.differential PORT PORT [SCRIPT…]`` prints where their answers differ."""

from __future__ import annotations

import sys
from uuid import uuid4

from tests.differential import (
    admin_scripts,
    config_scripts,
    edge_scripts,
    fetch_scripts,
    group_scripts,
    malformed_scripts,
    offset_scripts,
    produce_scripts,
    refused_scripts,
)
from tests.differential.compare import differences


def main() -> int:
    first, second, *names = sys.argv[1:]
    failures = 0
    for script in (
        *admin_scripts.SCRIPTS,
        *edge_scripts.SCRIPTS,
        *config_scripts.SCRIPTS,
        *produce_scripts.SCRIPTS,
        *fetch_scripts.SCRIPTS,
        *group_scripts.SCRIPTS,
        *malformed_scripts.SCRIPTS,
        *offset_scripts.SCRIPTS,
        *refused_scripts.SCRIPTS,
    ):
        if names and script.__name__ not in names:
            continue
        found = differences(script, int(first), int(second), uuid4().hex[:8])
        failures += bool(found)
        print(f"{script.__name__}: {'same' if not found else f'{len(found)} differences'}")
        for line in found:
            print("   ", line)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
