"""Programs beside the interface: tmux, which keeps to itself what its programs send to the clipboard."""

from __future__ import annotations

from pathlib import Path

import pytest

from klamm.tui.app import COPIED_BYTES_MAX
from klamm.tui.chrome import Footer
from klamm.tui.place import Place
from tests.tui.scripted import ScriptedSession, loaded, make_app, settle

SCRIPT = {"topics": loaded(topics=[])}


@pytest.mark.parametrize("old", [False, True])
async def test_within_tmux_it_is_tmux_that_copies(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    old: bool,  # noqa: FBT001
) -> None:
    program, kept = tmp_path / "tmux", tmp_path / "kept"
    refuse = "[ $2 = -w ] && exit 1\n" if old else ""  # -w came with tmux 3.2
    program.write_text(f"#!/bin/sh\n{refuse}echo $* >>{kept}\ncat >>{kept}\n")
    program.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("TMUX", "/somewhere,1,0")
    app = make_app(ScriptedSession(SCRIPT), Place("topics"))
    async with app.run_test(size=(100, 30)) as pilot:
        await settle(app, pilot, lambda: app.view is not None)
        app.copy("orders\npayments")
        text = f"load-buffer {'' if old else '-w '}-\norders\npayments"
        await settle(app, pilot, lambda: kept.exists() and kept.read_text() == text)
        assert "copied: orders and 1 more" in app.query_one(Footer).text
    app.session.close()


async def test_what_no_clipboard_takes_is_not_said_to_be_copied() -> None:
    app = make_app(ScriptedSession(SCRIPT), Place("topics"))
    async with app.run_test(size=(100, 30)) as pilot:
        await settle(app, pilot, lambda: app.view is not None)
        app.copy("x" * (COPIED_BYTES_MAX + 1))
        assert "too much for a terminal's clipboard" in app.query_one(Footer).text
        assert app.clipboard == ""
    app.session.close()
