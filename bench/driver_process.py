"""The C load driver: compiled once, run once a measurement."""

import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import cast

import confluent_kafka.cimpl

DRIVER_TIMEOUT_S = 600
SOURCES = ("main.c", "librdkafka.c", "wire.c")
HEADERS = ("driver.h", "librdkafka.h")

_HERE = Path(__file__).parent / "driver"


class DriverError(Exception):
    """The driver cannot be built, or a step of it failed; the message holds what it said."""


def build(folder: Path) -> Path:
    """Compile the driver into folder unless these very sources have been compiled there.

    It links against the librdkafka inside the confluent-kafka wheel.

    Raises:
        DriverError: No C compiler, or the wheel holds no librdkafka.
    """
    library = _librdkafka()
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        message = "no C compiler: the load driver needs one (apt-get install gcc libc6-dev)"
        raise DriverError(message)
    digest = hashlib.sha256(str(library).encode())
    for name in (*SOURCES, *HEADERS):
        digest.update((_HERE / name).read_bytes())
    binary = folder / f"driver-{digest.hexdigest()[:12]}"
    if not binary.exists():
        sources = [str(_HERE / name) for name in SOURCES]
        flags = ["-O2", "-Wall", "-Wextra", f"-Wl,-rpath,{library.parent}", "-pthread"]
        command = [compiler, *flags, "-o", str(binary), *sources, str(library)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            message = f"{' '.join(command)}\n{done.stderr}"
            raise DriverError(message)
    return binary


def run(binary: Path, step: str, options: dict[str, object]) -> dict[str, float]:
    """Run one step and return the numbers it printed. An option whose value is True is a bare flag.

    Raises:
        DriverError: The step failed or took longer than DRIVER_TIMEOUT_S.
    """
    words = [str(binary), step]
    for name, value in options.items():
        words += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=DRIVER_TIMEOUT_S)
    except subprocess.TimeoutExpired as late:
        message = f"{' '.join(words)}: not done after {DRIVER_TIMEOUT_S} s"
        raise DriverError(message) from late
    if done.returncode:
        message = f"{' '.join(words)}\n{done.stdout}{done.stderr}"
        raise DriverError(message)
    return cast("dict[str, float]", json.loads(done.stdout.splitlines()[-1]))


def _librdkafka() -> Path:
    package = Path(confluent_kafka.cimpl.__file__).resolve().parent
    for folder in (package.parent / "confluent_kafka.libs", package / ".dylibs"):
        found = sorted(folder.glob("librdkafka*"))
        if found:
            return found[0]
    message = f"no librdkafka beside {package}: install confluent-kafka from its wheel"
    raise DriverError(message)
