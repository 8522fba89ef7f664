"""``python bench/run.py``: see command.py. Runs it with the repository's root as the place where imports start."""

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    runpy.run_module("bench.command", run_name="__main__", alter_sys=True)
