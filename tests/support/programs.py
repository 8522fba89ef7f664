"""Programs of other languages and other Python environments, installed into the user's cache folder on first use."""

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import platformdirs
import pytest

PROGRAMS = Path(__file__).parent.parent / "clients" / "programs"
INSTALL_TIMEOUT_S = 600.0
GO = {"GOTOOLCHAIN": "local", "GOFLAGS": "-mod=mod"}


@contextmanager
def prepared_folder(name: str) -> Generator[Path]:
    """Give a folder in the cache with a copy of ``programs/<name>``, to one process at a time.

    Its name has a checksum of the programs, so that a change makes a new one.
    """
    sources = sorted(path for path in (PROGRAMS / name).iterdir() if path.is_file())
    checksum = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    folder = Path(platformdirs.user_cache_dir("klamm")) / "clients" / f"{name}-{checksum}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for path in sources:
            shutil.copy(path, folder)
        yield folder


def run(
    command: Sequence[str | Path], folder: Path, timeout_s: float, environment: Mapping[str, str] | None = None
) -> str:
    """Run a program that must succeed in ``folder`` and return its standard output.

    Raises:
        AssertionError: It exited with another code than 0; the message has both its outputs.
    """
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder, capture_output=True, text=True, timeout=timeout_s, check=False,
        env={**os.environ, **(environment or {})},
    )  # fmt: skip
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def built_with_go(name: str) -> Path:
    """Return the program of the Go module in ``programs/<name>``; it is built on first use, which may take minutes."""
    if shutil.which("go") is None:
        pytest.skip("Go is missing: apt-get install golang-go")
    with prepared_folder(name) as folder:
        if not (folder / name).exists():
            run(["go", "build", "-ldflags=-s -w", "-o", name, "."], folder, INSTALL_TIMEOUT_S, GO)
        return folder / name
