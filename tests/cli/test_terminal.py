"""On a terminal: questions, the pager, colours; and the shells' completion."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Klamm
from tests.support.klamm_process import KlammProcess
from tests.support.terminal import Terminal

OnTerminal = Callable[..., Terminal]


@pytest.fixture
def on_terminal(home: Path) -> OnTerminal:
    """Return a function that starts a line of klamm on a terminal, with ``TERM`` and the pager known."""
    environment = {**os.environ, "TERM": "xterm-256color", "PAGER": "cat", "HOME": str(home)}

    def start(*words: str, lines: int = 24, **more: str) -> Terminal:
        return Terminal([sys.executable, "-m", "klamm", *words], {**environment, **more}, lines=lines)

    return start


def test_no_is_the_default_and_changes_nothing(
    klamm: Klamm, on_terminal: OnTerminal, shared_klamm: KlammProcess, topic: str
) -> None:
    at = ("-b", shared_klamm.bootstrap)
    klamm("topic", "create", topic, *at)
    for answer in ("\n", "no\n"):
        with on_terminal("topic", "add-partitions", topic, "--to", "3", *at) as terminal:
            terminal.wait_for("[y/N]")
            terminal.type(answer)
            assert terminal.end() == 4
            assert "nothing was changed" in terminal.shown
    assert klamm("topic", "list", topic, "-o", "json", *at).items[0]["partitions"] == 1
    with on_terminal("topic", "add-partitions", topic, "--to", "3", *at) as terminal:
        terminal.wait_for("[y/N]")
        terminal.type("y\n")
        assert terminal.end() == 0
    assert klamm("topic", "list", topic, "-o", "json", *at).items[0]["partitions"] == 3


def test_a_severe_change_wants_the_name_typed(
    klamm: Klamm, on_terminal: OnTerminal, shared_klamm: KlammProcess, topic: str
) -> None:
    at = ("-b", shared_klamm.bootstrap)
    klamm("topic", "create", topic, *at)
    with on_terminal("topic", "delete", topic, *at) as terminal:
        shown = terminal.wait_for(f"Type {topic!r} to do it")
        assert "last write" in shown or "never written" in shown
        terminal.type("yes\n")
        assert terminal.end() == 4
    with on_terminal("topic", "delete", topic, *at) as terminal:
        terminal.wait_for(f"Type {topic!r} to do it")
        terminal.type(f"{topic}\n")
        assert terminal.end() == 0
    assert klamm("topic", "describe", topic, *at).code == 2


def test_ctrl_c_at_a_question_changes_nothing(
    klamm: Klamm, on_terminal: OnTerminal, shared_klamm: KlammProcess, topic: str
) -> None:
    at = ("-b", shared_klamm.bootstrap)
    klamm("topic", "create", topic, *at)
    with on_terminal("topic", "delete", topic, *at) as terminal:
        terminal.wait_for("to do it")
        terminal.type("\x03")
        assert terminal.end() == 130
        assert "Traceback" not in terminal.shown
    assert klamm("topic", "describe", topic, *at).code == 0


def test_a_long_answer_goes_through_the_pager(
    klamm: Klamm, on_terminal: OnTerminal, shared_klamm: KlammProcess
) -> None:
    line = ("cluster", "api-versions", "-b", shared_klamm.bootstrap)
    with on_terminal(*line, lines=10, PAGER="sed s/^/paged:/") as terminal:
        assert terminal.end() == 0
        assert "paged:" in terminal.shown
    with on_terminal(*line, lines=1000, PAGER="sed s/^/paged:/") as terminal:
        assert terminal.end() == 0
        assert "paged:" not in terminal.shown
    assert "paged:" not in klamm(*line).out


def test_colour_is_for_terminals_that_want_it(
    klamm: Klamm, on_terminal: OnTerminal, shared_klamm: KlammProcess, topic: str
) -> None:
    line = ("topic", "list", topic, "-b", shared_klamm.bootstrap)
    klamm("topic", "create", topic, "-b", shared_klamm.bootstrap)
    with on_terminal(*line) as terminal:
        assert terminal.end() == 0
        assert "\x1b[1m" in terminal.shown
    for plain in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        with on_terminal(*line, **plain) as terminal:
            assert terminal.end() == 0
            assert "\x1b" not in terminal.shown
    assert "\x1b" not in klamm(*line).out


def _completed(shell: str, script: str, bootstrap: str, home: Path) -> str:
    folder = home / "bin"
    folder.mkdir(exist_ok=True)
    program = folder / "klamm"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m klamm "$@"\n')
    program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "KLAMM_BOOTSTRAP": bootstrap}
    ran = subprocess.run([shell, "-c", script], capture_output=True, text=True, env=environment, check=True)
    return ran.stdout


def test_bash_completes_verbs_and_live_names(klamm: Klamm, shared_klamm: KlammProcess, topic: str, home: Path) -> None:
    klamm("topic", "create", topic, "-b", shared_klamm.bootstrap)
    script = (home / "klamm.bash").resolve()
    script.write_text(klamm("completion", "bash").out)

    def found(*words: str) -> list[str]:
        line = " ".join(f"'{word}'" for word in words)
        words_set = f"COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}"
        code = f"source {script}; {words_set}; _klamm; printf '%s\\n' ${{COMPREPLY[@]}}"
        return _completed("bash", code, shared_klamm.bootstrap, home).split()

    assert "topic" in found("klamm", "to")
    assert "describe" in found("klamm", "topic", "desc")
    assert topic in found("klamm", "topic", "describe", topic[:12])
    assert "--output" in found("klamm", "topic", "list", "--out")


def test_zsh_reads_its_script(klamm: Klamm, home: Path) -> None:
    script = home / "_klamm"
    script.write_text(klamm("completion", "zsh").out)
    subprocess.run([_shell("zsh"), "-n", str(script)], check=True)


def test_fish_completes_live_names(klamm: Klamm, shared_klamm: KlammProcess, topic: str, home: Path) -> None:
    klamm("topic", "create", topic, "-b", shared_klamm.bootstrap)
    script = home / "klamm.fish"
    script.write_text(klamm("completion", "fish").out)
    code = f"source {script}; complete -C 'klamm topic describe {topic[:12]}'"
    assert topic in _completed(_shell("fish"), code, shared_klamm.bootstrap, home).split()


def _shell(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def test_long_work_has_a_bar_on_the_terminal_and_nowhere_else(home: Path) -> None:
    code = (
        "import sys, time\nfrom types import SimpleNamespace as N\nfrom klamm.cli.progress import Progress\n"
        "run = N(values=N(flag=lambda _: False), form=N(color=False))\n"
        "with Progress(run, 'copying', 10, 'records') as bar:\n"
        "    for done in range(11):\n        bar.at(done)\n        time.sleep(0.1)\n"
        "print('done')"
    )
    environment = {**os.environ, "TERM": "xterm-256color", "HOME": str(home)}
    with Terminal([sys.executable, "-c", code], environment, columns=100) as terminal:
        assert terminal.end() == 0
        assert "copying" in terminal.shown
        assert "/10" in terminal.shown
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (ran.stdout, ran.stderr) == ("done\n", "")
