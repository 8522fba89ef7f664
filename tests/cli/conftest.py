"""The command line in this process: what a line prints and how it ends."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from klamm.cli.fields import fields_of
from klamm.cli.main import main
from klamm.cli.output import Format, Result, render


class Ran(NamedTuple):
    """One line's end."""

    code: int
    out: str
    err: str

    @property
    def envelope(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found

    @property
    def items(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.envelope["items"]
        return found

    @property
    def codes(self) -> list[str]:
        return [error["code"] for error in self.envelope["errors"]]


Klamm = Callable[..., Ran]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep contexts, journal and environment of the person who runs the tests out of them."""
    for name in ("KLAMM_CONTEXT", "KLAMM_BOOTSTRAP", "KLAMM_READ_ONLY", "NO_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KLAMM_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def fields_are_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hold the fields and titles of every result against what ``--filter`` and ``--sort`` know before connecting."""

    def checked(kind: str, context: str | None, result: Result, form: Format) -> str:
        known = fields_of(kind)
        if known:
            named = {key for item in result.items for key in item} | {column.key for column in result.columns}
            assert named <= set(known), f"cli/fields.py: {kind} lacks {sorted(named - set(known))}"
        return render(kind, context, result, form)

    monkeypatch.setattr("klamm.cli.run.render", checked)


@pytest.fixture
def klamm(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Klamm:
    """Return a function that runs one line and returns (exit code, standard output, standard error)."""

    def run(*words: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["klamm", *words])
        capsys.readouterr()
        code: int | str | None = 0
        try:
            main(words)
        except SystemExit as end:
            code = end.code
        captured = capsys.readouterr()
        return Ran(int(code or 0), captured.out, captured.err)

    return run
