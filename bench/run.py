"""``python bench/run.py``: the bench (command.py), or with ``profile`` first where the time goes (profiling.py).

Runs them with the repository's root as the place where imports start.
"""

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    is_profile = sys.argv[1:2] == ["profile"]
    if is_profile:
        del sys.argv[1]
    runpy.run_module("bench.profiling" if is_profile else "bench.command", run_name="__main__", alter_sys=True)
