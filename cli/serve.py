"""``klamm serve``, started without Typer when its options are plain: loading Typer takes a quarter of a broker's start.

What is not plain (help, a mistyped option, a missing value) goes to the Typer application in ``serve_app.py``, which
says what was expected; both end in the same :class:`ServeOptions`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

VALUES: Final = ("--data", "--listen", "--advertise", "--config", "--metrics", "-X")
FLAGS: Final = ("--memory", "--quiet", "-q")


def quick(words: Sequence[str]) -> int | None:
    """Serve, and return the exit code; None if the words need Typer."""
    values: dict[str, list[str]] = {name: [] for name in (*VALUES, *FLAGS)}
    rest = list(words)
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        if name in FLAGS and not equals:
            values[name].append("")
        elif name in VALUES and name != "-X" and value:
            values[name].append(value)
        elif name in VALUES and not equals and rest and rest[0] and not rest[0].startswith("-"):
            values[name].append(rest.pop(0))
        else:
            return None
    from klamm.server.serve import ServeOptions, run

    data, config = values["--data"], values["--config"]
    return run(
        ServeOptions(
            data=Path(data[-1]) if data else None,
            listen=(values["--listen"] or [""])[-1],
            advertise=(values["--advertise"] or [""])[-1],
            config=Path(config[-1]) if config else None,
            overrides=tuple(values["-X"]),
            memory=bool(values["--memory"]),
            metrics=(values["--metrics"] or [""])[-1],
            quiet=bool(values["--quiet"] or values["-q"]),
        )
    )


def __getattr__(name: str) -> Any:  # noqa: ANN401 (PEP 562)
    """Load the Typer application when it is asked for."""
    if name == "app":
        from klamm.cli.serve_app import app

        return app
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
