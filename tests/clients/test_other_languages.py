"""Clients that share no code with librdkafka or Java: kafkajs on Node, franz-go and kafka-go in Go.

Their programs stand in ``programs/``. What they need is installed into the user's cache folder on first use.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import platformdirs
import pytest

from tests.clients.confluent import consume, make_producer, produce_values
from tests.support.brokers import Broker

pytestmark = pytest.mark.wire

PROGRAMS = Path(__file__).parent / "programs"
INSTALL_TIMEOUT_S = 600.0
RUN_TIMEOUT_S = 90.0
COUNT = 500


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


def run(command: Sequence[str | Path], folder: Path, timeout_s: float) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder, capture_output=True, text=True, timeout=timeout_s, check=False,
        env={**os.environ, "KAFKAJS_NO_PARTITIONER_WARNING": "1", "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=mod"},
    )  # fmt: skip
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def kafkajs() -> Path:
    """Return the folder of the kafkajs programs with kafkajs beside them."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("Node or npm is missing: apt-get install nodejs npm")
    with prepared_folder("kafkajs") as folder:
        if not (folder / "node_modules" / "kafkajs" / "package.json").exists():
            run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder, INSTALL_TIMEOUT_S)
        return folder


@pytest.fixture(scope="module")
def go_clients() -> Path:
    """Return the built program of the Go clients."""
    if shutil.which("go") is None:
        pytest.skip("Go is missing: apt-get install golang-go")
    with prepared_folder("go") as folder:
        if not (folder / "clients").exists():
            run(["go", "build", "-o", "clients", "."], folder, INSTALL_TIMEOUT_S)
        return folder / "clients"


def test_kafkajs_creates_a_topic_and_produces(any_broker: Broker, topic: str, kafkajs: Path) -> None:
    command = ["node", "round_trip.js", any_broker.bootstrap, topic, str(COUNT)]
    answer = json.loads(run(command, kafkajs, RUN_TIMEOUT_S))
    assert answer == {"created": True, "base": [0, COUNT], "high": {"0": 2 * COUNT, "1": 0}, "partitions": 2}
    messages = consume(any_broker, topic, 2 * COUNT, check_crcs=True)
    assert [message.value() for message in messages] == [b"v%d" % number for number in range(COUNT)] * 2
    assert messages[7].headers() == [("number", b"7")]


def test_kafkajs_consumes_in_a_group(any_broker: Broker, topic: str, kafkajs: Path) -> None:
    produce_values(make_producer(any_broker, compression_type="gzip"), topic, [b"%d" % n for n in range(COUNT)])
    command = ["node", "consume.js", any_broker.bootstrap, topic, str(COUNT)]
    answer = json.loads(run(command, kafkajs, RUN_TIMEOUT_S))
    assert answer == {"values": [str(number) for number in range(COUNT)]}


@pytest.mark.parametrize("client", ["franz", "segmentio"])
def test_go_clients_produce_and_consume(any_broker: Broker, topic: str, go_clients: Path, client: str) -> None:
    output = run([go_clients, client, any_broker.bootstrap, topic, str(COUNT)], go_clients.parent, RUN_TIMEOUT_S)
    assert output == f"{COUNT} produced, {COUNT} consumed\n"
