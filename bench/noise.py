"""How much of the machine somebody else uses: the condition under which a number was taken."""

import os
import time
from pathlib import Path

CALM_SHARE_MAX = 0.08  # of all cores: below this a measurement may begin
WINDOW_S = 0.3

CORES = os.cpu_count() or 1
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def busy_seconds() -> float:
    """CPU seconds all cores have spent on anything but idling and waiting for disks, since boot."""
    fields = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / _TICKS_PER_SECOND


def wait_for_calm(patience_s: float) -> float:
    """Wait until the machine is calm or patience_s is over; nothing of ours may run meanwhile.

    Returns:
        The share of all cores in use in the last window.
    """
    deadline = time.monotonic() + patience_s
    while True:
        busy, begin = busy_seconds(), time.monotonic()
        time.sleep(WINDOW_S)
        share = (busy_seconds() - busy) / ((time.monotonic() - begin) * CORES)
        if share < CALM_SHARE_MAX or time.monotonic() >= deadline:
            return share


def others_share(sample: dict[str, float]) -> float:
    """Share of all cores that went to anything but driver and broker during a sample of the driver."""
    rest = sample["busy_cpu_s"] - sample["broker_cpu_s"] - sample["client_cpu_s"]
    return max(0.0, rest / (sample["seconds"] * CORES))
