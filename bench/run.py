"""``python bench/run.py``: the bench (command.py); after a name of ``commands`` below another.

Runs them with the repository's root as the place where imports start.
"""

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    commands = {
        "profile": "bench.profiling", "telemetry": "bench.telemetry", "groups": "bench.group_load", "tui": "bench.tui",
        "tui-leak": "bench.tui_leak",
    }  # fmt: skip
    module = commands.get("".join(sys.argv[1:2]), "bench.command")
    if module != "bench.command":
        del sys.argv[1]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
