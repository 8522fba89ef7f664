"""Answers that come late, half, or never; a broker that dies in the middle of a command."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Klamm
from tests.conftest import KlammFactory
from tests.support.klamm_process import KlammProcess
from tests.support.proxy import Proxy


@pytest.fixture
def proxy(shared_klamm: KlammProcess) -> Iterator[Proxy]:
    with Proxy(shared_klamm.bootstrap) as proxy:
        yield proxy


def _through(proxy: Proxy, shared_klamm: KlammProcess, home_file: str) -> None:
    """Have klamm reach the broker through the proxy only, whatever address the broker advertises."""
    with Path(home_file).open("w") as file:
        file.write(
            f'current = "far"\n[contexts.far]\nbootstrap = ["{proxy.address}"]\n'
            f'[contexts.far.connect]\naddress_map = {{"{shared_klamm.bootstrap}" = "{proxy.address}"}}\n'
            # Of what happens to an answer the end is to come, and not of a machine that has no time to connect.
            '[contexts.far.kafka]\n"socket.connection.setup.timeout.ms" = "60000"\n'
        )


@pytest.fixture
def far(proxy: Proxy, shared_klamm: KlammProcess) -> Proxy:
    _through(proxy, shared_klamm, os.environ["KLAMM_CONFIG"])
    return proxy


def test_a_slow_network_is_slow_and_nothing_else(klamm: Klamm, far: Proxy, topic: str) -> None:
    assert klamm("topic", "create", topic, "-p", "3").code == 0
    far.delay_s = 0.2
    ran = klamm("topic", "describe", topic, "-o", "json")
    assert (ran.code, len(ran.items[0]["partitions"])) == (0, 3)


def test_a_deadline_passes_while_an_answer_is_on_its_way(klamm: Klamm, far: Proxy) -> None:
    far.delay_s = 3.0
    ran = klamm("topics", "--timeout", "1s", "-o", "json")
    assert (ran.code, ran.codes) == (124, ["TIMEOUT"])
    assert "Traceback" not in ran.err


@pytest.mark.parametrize("size", [0, 1, 3, 30, 200, 600])
def test_a_cut_connection_is_an_error_and_never_half_an_answer(klamm: Klamm, far: Proxy, topic: str, size: int) -> None:
    assert klamm("topic", "create", topic).code == 0
    far.answer_size_max = size
    ran = klamm("topic", "describe", topic, "-o", "json")
    assert far.cut > 0, "the whole exchange was shorter"
    assert ran.code == 5
    assert ran.codes[0].startswith("UNREACHABLE"), ran.out
    assert "Traceback" not in ran.err


def test_a_reading_request_is_asked_again_on_a_new_connection(klamm: Klamm, far: Proxy, topic: str) -> None:
    """Each connection is long enough for the greeting and one answer, not for two."""
    assert klamm("topic", "create", topic).code == 0
    whole = klamm("cluster", "info", "-o", "json")
    assert whole.code == 0
    far.answer_size_max = 900
    again = klamm("cluster", "info", "-o", "json")
    assert (again.code, again.out) == (0, whole.out)


def test_a_broker_that_is_killed_during_a_command_is_named(klamm_process: KlammFactory) -> None:
    broker = klamm_process().start()
    line = [sys.executable, "-m", "klamm", "topics", "-b", broker.bootstrap, "-w=0.1s", "-o", "json"]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        process.stdout.readline()
        broker.kill()
        said = process.stderr.readline()  # of TCP, or of the request that was not answered yet
        assert said.startswith("klamm: UNREACHABLE_")
        assert broker.bootstrap in said
        assert "next:" in process.stderr.readline()
        broker.start()  # --watch goes on, and the next round finds the broker again
        assert any('"errors": []' in line for line in process.stdout)
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    assert process.returncode == 130
