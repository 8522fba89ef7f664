"""How the interface's two threads share one interpreter: neither the other thread nor the collector holds up a key.

Only one thread runs Python at a time. The one that draws must get its turn soon while the other decodes ten thousand
topics, and a collection of all objects stops both: with Textual's own hundred thousand objects for a tenth of a second.
"""

from __future__ import annotations

import gc
import sys
from typing import Final

SWITCH_S: Final = 0.001
"""A thread that waits for its turn asks for it after this long. Of Python's 5 ms a key press takes several."""
COLLECT_AFTER: Final = (20_000, 20, 20)
"""A refresh of a large cluster makes tens of thousands of objects, none of them in a cycle: Python's 700 would collect
dozens of times for each. What is in cycles still goes, after some minutes."""


def share_interpreter() -> None:
    """Set both, once everything is imported: what was made until now is never looked at again."""
    sys.setswitchinterval(SWITCH_S)
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
