"""Fixtures of the interface's tests: nothing of the person who runs them is read, and the clock's zone is fixed."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from klamm.client.settings import Settings, parse_bootstrap
from klamm.tui.app import KlammApp
from klamm.tui.place import Place
from klamm.tui.preferences import Preferences
from klamm.tui.registry import loader_of
from klamm.tui.session import Session
from klamm.tui.signs import Signs
from tests.support.brokers import Broker

Ui = Callable[[Place], KlammApp]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name in ("KLAMM_CONTEXT", "KLAMM_BOOTSTRAP", "KLAMM_READ_ONLY", "NO_COLOR", "COLUMNS", "KLAMM_ASCII", "TMUX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KLAMM_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("TERM", "xterm-256color")  # of how many colours there are the theme depends
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield tmp_path
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def ui(any_broker: Broker) -> Iterator[Ui]:
    """Return a function that makes the application at a place of a real cluster; its sessions are closed afterwards."""
    sessions: list[Session] = []

    def make(place: Place) -> KlammApp:
        session = Session(Settings(parse_bootstrap(any_broker.bootstrap), {}), loader_of)
        session.start()
        sessions.append(session)
        return KlammApp(session, Preferences(None, {}), place, signs=Signs())

    yield make
    for session in sessions:
        session.close()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that is a coroutine; these six lines are all we would use of a plugin."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True
