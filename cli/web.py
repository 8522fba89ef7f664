"""``klamm web``: the terminal interface in a browser. It reads only unless asked, and listens on this machine only.

textual-serve runs ``klamm ui`` once for each page and carries its screen over a websocket. A page of another origin
could open that websocket as well, so the server looks at ``Host`` and ``Origin`` first.
"""

from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from klamm.cli.output import Result
from klamm.cli.parser import UsageError
from klamm.cli.run import Run
from klamm.cli.spec import Argument, Command, Example, Option
from klamm.client.errors import SettingsError

if TYPE_CHECKING:
    from aiohttp import web

PORT: Final = 8321
PORT_MAX: Final = 65_535
HERE: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})


async def serve_web(run: Run) -> Result:
    """Serve the interface until interrupted."""
    try:
        from textual_serve.server import Server
    except ModuleNotFoundError as error:
        msg = f"klamm web needs {error.name}, which is not installed"
        raise SettingsError(msg, "pip install 'klamm[web]'") from error
    given = run.values.number("port")
    port: int = PORT if given is None else given
    if not 0 < port <= PORT_MAX:
        msg = f"--port must be between 1 and {PORT_MAX}, not {port}"
        raise UsageError(msg)
    run.resolved.settings.check()
    if not run.values.flag("write"):
        os.environ["KLAMM_READ_ONLY"] = "1"

    class LocalServer(Server):
        """textual-serve's, for pages of this server only."""

        def initialize_logging(self) -> None:
            """Leave logging alone."""

        async def on_startup(self, app: web.Application) -> None:  # noqa: ARG002 (textual-serve calls it so)
            """Say where it is."""
            mode = "changes are allowed" if run.values.flag("write") else "read-only; --write allows changes"
            run.note(f"http://localhost:{port}  ({mode})  Ctrl-C ends it")

        async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
            """Refuse who comes from elsewhere."""
            if not is_local(request.headers.get("Host", ""), request.headers.get("Origin"), port):
                from aiohttp.web import HTTPForbidden

                raise HTTPForbidden(text="this page is of another origin\n")
            return await super().handle_websocket(request)

    server = LocalServer(command(run), host="localhost", port=port, title="klamm")
    with run.without_deadline():
        await _serve(server, port)
    return Result((), ())


async def _serve(server: object, port: int) -> None:
    import asyncio

    from aiohttp.web import AppRunner, TCPSite

    runner = AppRunner(await server._make_app())  # type: ignore[attr-defined]  # noqa: SLF001 (Server.serve owns the loop)
    await runner.setup()
    try:
        try:
            await TCPSite(runner, "127.0.0.1", port).start()
        except OSError as error:
            msg = f"port {port} cannot be listened on: {error.strerror or error}"
            raise SettingsError(msg, "choose another: klamm web --port NUMBER") from error
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def is_local(host: str, origin: str | None, port: int) -> bool:
    """Return whether a request is to this server by its own name, and from a page of this server."""
    own = {f"{name}:{port}" for name in HERE}
    return host in own and (origin is None or urlsplit(origin).netloc in own)


def command(run: Run) -> str:
    """Return the line that each page runs."""
    values = run.values
    words = [sys.executable, "-m", "klamm", "ui"]
    for option, key in (("-c", "context"), ("-b", "bootstrap")):
        if values.text(key):
            words += [option, str(values.text(key))]
    for pair in values.texts("X"):
        words += ["-X", pair]
    words += ["--write"] if values.flag("write") else []
    words += [str(values.text("screen"))] if values.text("screen") else []
    return shlex.join([*words, *values.texts("names")])


COMMANDS = (
    Command(
        "web",
        "The terminal interface in a browser on this machine, read-only unless --write",
        serve_web,
        "Web",
        (
            Argument("screen", "screen to open first", required=False),
            Argument("names", "what the screen is about", required=False, repeat=True),
        ),
        (
            Option(("--port",), f"where to listen on localhost ({PORT})", "NUMBER"),
            Option(("--write",), "allow changes"),
        ),
        (
            Example("klamm web", f"then open http://localhost:{PORT}"),
            Example("klamm web groups --port 9000", "begin with the lag board"),
        ),
        ("Metadata", "ListOffsets", "ListGroups", "OffsetFetch"),
        ("DESCRIBE on what is to be seen",),
        details="It listens on 127.0.0.1 only. Who may reach that port may see the cluster with your rights.",
    ),
)
