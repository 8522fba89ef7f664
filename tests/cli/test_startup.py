"""Starting: what is imported, and how a line ends whose reader goes or whose user is impatient."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.apache_kafka.node import ApacheKafkaNode
from tests.support.commits import commit

FORBIDDEN = (
    "textual",
    "pyarrow",
    "opentelemetry",
    "typer",
    "rich",
    "hypothesis",
    "uvloop",
    "confluent_kafka",
    "tomlkit",
)
PLAIN_GROUP = "a-group-of-startup"
WITHOUT_KIO = {("topic", "list"), ("group", "list"), ("group", "describe", PLAIN_GROUP), ("group", "members", "nobody")}
"""Lines whose few exchanges are written by hand: importing the thousand dataclasses takes longer than all of them."""


def _commit_as_plain_group(bootstrap: str) -> None:
    """Have a group that is described without ``kio``: what other tests leave on this cluster, share groups, is not."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    (created,) = admin.create_topics([NewTopic(PLAIN_GROUP, 1)]).values()
    created.result(20)
    commit(bootstrap, PLAIN_GROUP, {(PLAIN_GROUP, 0): 0})


def _environment() -> dict[str, str]:
    """Return the environment of a user: with byte code kept, as an installation has it."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("KLAMM_")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return environment


@pytest.mark.parametrize(
    "words", [["--help"], ["topic", "--help"], ["brokers"], *([*each] for each in sorted(WITHOUT_KIO))]
)
def test_no_command_imports_what_it_does_not_need(apache_kafka: ApacheKafkaNode, words: list[str]) -> None:
    if PLAIN_GROUP in words:
        _commit_as_plain_group(apache_kafka.bootstrap)
    forbidden = (*FORBIDDEN, "kio") if tuple(words) in WITHOUT_KIO else FORBIDDEN
    code = (
        "import json, sys\nfrom klamm.cli.main import main\ntry:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print(json.dumps([name for name in {forbidden!r} if name in sys.modules]), file=sys.stderr)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, *words, *([] if "--help" in words else ["-b", apache_kafka.bootstrap])],
        check=True, capture_output=True, text=True, env=_environment(),
    )  # fmt: skip
    assert json.loads(ran.stderr.splitlines()[-1]) == []


def test_a_reader_that_goes_away_causes_no_traceback(apache_kafka: ApacheKafkaNode) -> None:
    line = [
        sys.executable,
        "-m",
        "klamm",
        "cluster",
        "api-versions",
        "-b",
        apache_kafka.bootstrap,
        "-w=0.05s",
        "-o",
        "jsonl",
    ]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=_environment())
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(20) == 141
    assert process.stderr.read() == b""


def test_an_interrupted_command_ends_with_130(apache_kafka: ApacheKafkaNode) -> None:
    line = [sys.executable, "-m", "klamm", "topics", "-b", apache_kafka.bootstrap, "-w=0.05s", "-o", "json"]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=_environment())
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert b"Traceback" not in err


@pytest.mark.parametrize("words", [["--help"], ["topic", "list", "--help"], ["completion", "bash"]])
def test_a_full_disk_is_said_and_is_no_bug(words: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        process = subprocess.run(
            [sys.executable, "-m", "klamm", *words],
            stdout=full, stderr=subprocess.PIPE, text=True, env=_environment(), check=False,
        )  # fmt: skip
    assert process.returncode == 1
    assert process.stderr == "klamm: cannot write: No space left on device\n  next: make room, or write elsewhere\n"


@pytest.mark.parametrize("words", ["--help", "context list"])
def test_with_its_streams_closed_a_command_does_what_it_does(words: str) -> None:
    line = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-m", "klamm", *words.split()]
    assert subprocess.run(line, env=_environment(), check=False).returncode == 0


def test_help_that_nobody_reads_ends_as_any_output_does() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    line = [sys.executable, "-m", "klamm", "--help"]
    process = subprocess.run(line, stdout=writing, stderr=subprocess.PIPE, env=_environment(), check=False)
    os.close(writing)
    assert (process.returncode, process.stderr) == (141, b"")
