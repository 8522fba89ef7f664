"""``klamm ui`` in a real terminal, tmux's, against brokers that come and go; and in a browser."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from klamm.cli.web import is_local
from tests.apache_kafka.cluster import ApacheKafkaCluster
from tests.support.brokers import Broker
from tests.support.klamm_process import KlammProcess
from tests.support.ports import free_port

TIMEOUT_S = 40.0
KLAMM = [sys.executable, "-m", "klamm"]


class Terminal:
    """One tmux with a server of its own, so that nobody's tmux is touched."""

    def __init__(self, folder: Path) -> None:
        self._socket = str(folder / "tmux")
        self._folder = folder

    def run(self, *words: str, width: int = 100, height: int = 30) -> None:
        """Run a command line in a new terminal."""
        environment = (
            f"env -u KLAMM_CONTEXT XDG_STATE_HOME={self._folder} KLAMM_CONFIG={self._folder}/c.toml LC_ALL=C.UTF-8"
        )
        line = f"{environment} {shlex.join([*KLAMM, *words])}; echo ended with $?; sleep 1000"
        self._tmux("-f", "/dev/null", "new-session", "-d", "-x", str(width), "-y", str(height), line)

    def keys(self, *keys: str) -> None:
        """Press keys."""
        self._tmux("send-keys", *keys)

    def text(self) -> str:
        """Return what the screen shows."""
        return self._tmux("capture-pane", "-p")

    def resize(self, width: int, height: int) -> None:
        """Change the size of the terminal."""
        self._tmux("resize-window", "-x", str(width), "-y", str(height))

    def shows(self, *texts: str) -> None:
        """Wait until the screen shows all of these."""
        self.until(lambda text: all(each in text for each in texts), f"{texts}")

    def until(self, holds: Callable[[str], bool], what: str) -> None:
        """Wait until something holds of what the screen shows."""
        deadline = time.monotonic() + TIMEOUT_S
        while not holds(text := self.text()):
            assert time.monotonic() < deadline, f"not within {TIMEOUT_S} s: {what}; it shows\n{text}"
            time.sleep(0.1)

    def close(self) -> None:
        """End the terminal and what runs in it."""
        subprocess.run(["tmux", "-S", self._socket, "kill-server"], check=False, capture_output=True)

    def _tmux(self, *words: str) -> str:
        line = ["tmux", "-u", "-S", self._socket, *words]
        environment = {**os.environ, "LC_ALL": "C.UTF-8"}
        return subprocess.run(line, check=True, capture_output=True, text=True, env=environment).stdout


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    if shutil.which("tmux") is None:
        pytest.skip("tmux: the terminal that tests look at (Debian package tmux)")
    made = Terminal(tmp_path)
    yield made
    made.close()


def test_a_newcomer_finds_a_topic_and_leaves(terminal: Terminal, any_broker: Broker, topic: str) -> None:
    subprocess.run([*KLAMM, "topic", "create", topic, "-b", any_broker.bootstrap], check=True, capture_output=True)
    terminal.run("ui", "-b", any_broker.bootstrap)
    terminal.shows("Attention")
    terminal.keys(":topics", "Enter")
    terminal.shows("Topics")
    terminal.keys("/", topic[-40:], "Enter")
    terminal.shows(topic[:12], topic[-40:], "⏎ Open")  # its row is there, and the table has the keys again
    terminal.keys("Enter")
    terminal.shows("partitions 1", "IN SYNC")
    terminal.resize(20, 5)
    terminal.keys("j", "Tab", "Tab")
    terminal.resize(120, 40)
    terminal.shows("topics", "Configs")
    terminal.keys(":q", "Enter")
    terminal.shows("ended with 0")


def test_a_broker_that_dies_is_said_and_so_is_its_return(
    terminal: Terminal, klamm_process: Callable[..., KlammProcess]
) -> None:
    broker = klamm_process().start()
    terminal.run("ui", "brokers", "-b", broker.bootstrap)
    terminal.shows("Brokers 1")
    broker.kill()
    terminal.shows("unreachable since", "connection refused", "Brokers 1")
    terminal.keys("?")
    terminal.shows("This screen")
    terminal.keys("Escape")
    broker.start()
    terminal.until(lambda text: "unreachable" not in text, "the banner goes")
    terminal.keys("C-c")
    terminal.shows("ended with 0")


def test_a_broker_that_hangs_is_said(terminal: Terminal, klamm_process: Callable[..., KlammProcess]) -> None:
    broker = klamm_process().start()
    terminal.run("ui", "topics", "-b", broker.bootstrap)
    terminal.shows("Topics 0")
    os.kill(broker.pid, signal.SIGSTOP)
    try:
        terminal.until(lambda text: "no answer since" in text or "unreachable since" in text, "silence is said")
    finally:
        os.kill(broker.pid, signal.SIGCONT)
    terminal.until(lambda text: "since" not in text, "the banner goes")


def test_without_a_terminal_it_says_so() -> None:
    ran = subprocess.run([*KLAMM, "ui"], check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert ran.returncode == 4
    assert "needs a terminal" in ran.stderr


def test_the_demonstration_loses_nothing_where_there_is_no_terminal() -> None:
    line = [*KLAMM, "demo", "--seconds", "1"]
    ran = subprocess.run(line, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    last = ran.stdout.splitlines()[-1]
    assert last.startswith("demo: ")
    assert last.endswith(" 0 lost")


@pytest.mark.parametrize(
    ("host", "origin", "local"),
    [
        ("localhost:8321", "http://localhost:8321", True),
        ("127.0.0.1:8321", None, True),
        ("localhost:8321", "http://evil.example", False),
        ("evil.example:8321", "http://evil.example:8321", False),
        ("localhost:8321", "http://localhost:9999", False),
    ],
)
def test_only_pages_of_this_server_may_talk_to_it(host: str, origin: str | None, local: bool) -> None:  # noqa: FBT001
    assert is_local(host, origin, 8321) is local


def test_the_interface_runs_in_a_browser(shared_klamm: KlammProcess, tmp_path: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("chromium: the browser that klamm web is tested in (Debian package chromium)")
    port = free_port()
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
    server = subprocess.Popen(
        [*KLAMM, "web", "topics", "-b", shared_klamm.bootstrap, "--port", str(port)],
        stderr=subprocess.PIPE, env=environment, text=True,
    )  # fmt: skip
    try:
        assert server.stderr is not None
        assert "read-only" in server.stderr.readline()
        picture = tmp_path / "picture.png"
        flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/chromium"]
        flags += ["--window-size=1200,800", "--virtual-time-budget=20000", f"--screenshot={picture}"]
        began = time.monotonic()
        subprocess.run([chromium, *flags, f"http://localhost:{port}/"], check=True, capture_output=True, timeout=90)
        assert picture.stat().st_size > 8_000, f"an empty page after {time.monotonic() - began:.0f} s"
    finally:
        server.send_signal(signal.SIGINT)
        assert server.wait(30) == 130


@pytest.mark.apache
def test_one_broker_of_three_that_dies_is_said_and_so_is_its_return(
    terminal: Terminal, tmp_path: Path, apache_kafka_jars: Path
) -> None:
    with ApacheKafkaCluster(tmp_path / "three") as cluster:
        line = [*KLAMM, "topic", "create", "orders", "--partitions", "6", "-b", cluster.bootstrap]
        subprocess.run(line, check=True, capture_output=True)
        terminal.run("ui", "topic", "orders", "-b", cluster.bootstrap, width=120)
        terminal.shows("partitions 6", "Configs 3")
        terminal.keys(":home", "Enter")
        terminal.shows("are well", "brokers 3")
        cluster.nodes[2].stop(signal.SIGKILL)
        terminal.shows("broker 2 unreachable since ", "✗ broker 2")
        terminal.keys(":topic orders", "Enter")
        terminal.shows("broker 2 unreachable since ", "orders: partitions 6")
        cluster.nodes[2].start()
        terminal.shows("broker 2 is back since ")
        terminal.keys("C-c")
        terminal.shows("ended with 0")
