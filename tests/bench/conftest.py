"""Makes the bench importable: it is no part of the package. Last on the path, so that it hides nothing."""

import sys
from pathlib import Path

ROOT = str(Path(__file__).resolve().parents[2])
if ROOT not in sys.path:
    sys.path.append(ROOT)
