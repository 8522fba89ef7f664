"""Threads have names that the system shows."""

import contextlib
import threading
from pathlib import Path

import pytest

from klamm.actors import thread_names
from klamm.actors.dispatchers import PoolDispatcher, ThreadDispatcher
from klamm.actors.runtime import LoopActor
from tests.support.process import wait_until


class Quiet(LoopActor):
    def on_receive(self, message: object) -> None:
        del message


def comms() -> list[str]:
    found: list[str] = []
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # another test's thread that has just ended
            found.append((task / "comm").read_text().strip())
    return found


@pytest.mark.skipif(not Path("/proc/thread-self/comm").exists(), reason="Linux names threads there")
def test_an_actors_thread_and_a_pools_are_named_for_the_system() -> None:
    thread, pool = ThreadDispatcher("names"), PoolDispatcher(2, "naming")
    try:
        Quiet.start(dispatcher=thread)
        wanted = {"klamm-names", "klamm-naming-0", "klamm-naming-1"}
        wait_until(lambda: wanted <= set(comms()), 30, f"threads named {wanted}")
    finally:
        thread.close()
        pool.close()


def test_where_threads_have_no_such_names_nothing_happens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(thread_names, "_COMM", tmp_path / "none" / "comm")
    thread = threading.Thread(target=thread_names.name_thread, args=("a name longer than fifteen bytes",))
    thread.start()
    thread.join(30)
    assert not list(tmp_path.iterdir())
