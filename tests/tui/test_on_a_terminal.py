"""The interface on a terminal of its own, against a real broker, typed to as fast as a program can type."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.support.brokers import Broker
from tests.support.terminal import Terminal


def test_commands_that_come_in_one_piece_are_understood(any_broker: Broker, tmp_path: Path) -> None:
    environment = {
        **os.environ, "TERM": "xterm-256color", "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path),
        "XDG_STATE_HOME": str(tmp_path), "KLAMM_CONFIG": str(tmp_path / "config.toml"),
    }  # fmt: skip
    command = [sys.executable, "-m", "klamm", "ui", "topics", "-b", any_broker.bootstrap]
    with Terminal(command, environment, columns=120, lines=40) as terminal:
        terminal.wait_for("━ Topics ", 60)
        terminal.type(":brokers\r")
        terminal.wait_for("━ Brokers 1 ", 60)
        terminal.type(":groups\r")
        terminal.wait_for("━ Groups ", 60)
        terminal.type(":transactions\r")
        terminal.wait_for("━ Transactions ", 60)
        terminal.type("\x10clien\r")  # Ctrl-P and what is meant for its line
        terminal.wait_for("━ Clients", 60)
        terminal.type("\x10topics\r")
        terminal.wait_for("clients › topics", 60)  # noqa: RUF001 (between places)
        terminal.type("a\r")  # the menu, and the first of what is in it
        terminal.wait_for("a topic needs a name", 60)
        terminal.type("typed-at-once\t3\t1\r")  # field by field, faster than any of them is drawn
        terminal.wait_for("klamm topic create typed-at-once --partitions 3 --replication-factor 1 ", 60)
        terminal.type("\x1ba")  # Esc and a key in one piece are no key with Alt: the dialog closes, a menu opens
        terminal.wait_for("━ Change ", 60)
        terminal.type("\x1b:brokers\r")
        terminal.wait_for("topics › brokers", 60)  # noqa: RUF001 (as above)
        terminal.type("\x03")
        assert terminal.end(60) == 0


_BROKEN = """
from klamm.cli.main import main
from klamm.tui.data import home


async def load(*_):
    raise ValueError("a mistake of our own")


home.load = load
main(["ui", "-b", "127.0.0.1:1"])
"""


def test_an_end_that_nobody_asked_for_has_an_exit_code(tmp_path: Path) -> None:
    environment = {
        **os.environ, "TERM": "xterm-256color", "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path),
        "XDG_STATE_HOME": str(tmp_path), "KLAMM_CONFIG": str(tmp_path / "config.toml"),
    }  # fmt: skip
    with Terminal([sys.executable, "-c", _BROKEN], environment, columns=100, lines=30) as terminal:
        terminal.wait_for("a mistake of our own", 60)
        assert terminal.end(60) == 1
