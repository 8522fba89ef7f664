"""``klamm demo``: a live cluster to look at, in ten seconds and without any other."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

from klamm.cli.output import Result
from klamm.cli.run import Run
from klamm.cli.spec import Command, Example, Option
from klamm.client.errors import ClientError

SECONDS_WITHOUT_TERMINAL = 6
STOP_TIMEOUT_S = 15.0


async def demo(run: Run) -> Result:
    """Start the demonstration's cluster; on a terminal show it, elsewhere say what went through."""
    if sys.stdin.isatty() and sys.stdout.isatty():
        with run.without_deadline():
            return await _show(run)
    seconds = run.values.number("seconds") or SECONDS_WITHOUT_TERMINAL
    line = [sys.executable, "-m", "klamm.cli.demo_load", str(seconds)]
    with run.without_deadline():
        ran = await asyncio.to_thread(subprocess.run, line, stdout=subprocess.PIPE, text=True, check=False)
    if ran.returncode:
        msg = f"the demonstration ended with exit code {ran.returncode}"
        code = "DEMO"
        raise ClientError(code, msg, "its own words are above")
    return Result((), (), text=ran.stdout.splitlines()[-1] + "\n")


async def _show(run: Run) -> Result:
    from klamm.cli.ui import show
    from klamm.client.settings import Settings, parse_bootstrap
    from klamm.tui.place import Place

    run.note("starting a broker, four topics and five groups …")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "klamm.cli.demo_load",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None, "a pipe was asked for"
    assert process.stdin is not None, "a pipe was asked for"
    try:
        address = (await process.stdout.readline()).decode().strip()
        if not address:
            msg = f"the demonstration's broker did not start (exit code {await process.wait()})"
            code = "DEMO"
            raise ClientError(code, msg, f"{Path(sys.executable).name} -m klamm.cli.demo_load shows why")
        settings = Settings(parse_bootstrap(address), {})
        exit_code = await show(run, settings, Place("home"))
    finally:
        process.stdin.close()  # that is how it knows
        try:
            await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
        except TimeoutError:
            process.kill()
            await process.wait()
    run.note("The demonstration's cluster is gone. Your own: klamm serve, klamm ui -b HOST:PORT")
    return Result((), (), exit_code=exit_code)


COMMANDS = (
    Command(
        "demo",
        "A live cluster to look at: an embedded broker, topics and groups, one of them slow, one rebalancing",
        demo,
        "Demo",
        options=(Option(("--seconds",), "how long to work where there is no terminal (6)", "COUNT"),),
        examples=(Example("klamm demo", "look around; Ctrl-C ends it all"),),
        local=True,
        details="Without a terminal its last line is: demo: N produced, N consumed, 0 lost",
    ),
)
