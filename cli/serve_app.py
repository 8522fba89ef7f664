"""``klamm serve`` as Typer declares it: its options, their help, and what is said of a mistyped one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False, no_args_is_help=False)

EXAMPLES = """
Examples:

  klamm serve                                   127.0.0.1:9092, data where this platform keeps it

  klamm serve --memory --listen 127.0.0.1:0     nothing kept, a free port

  klamm serve --data ./data -X num.partitions=6 -X log.retention.hours=24

  klamm serve --listen 0.0.0.0:9092 --advertise broker.example:9092

  klamm serve --metrics 127.0.0.1:9464          metrics for Prometheus
"""


def _given(value: str | None) -> str | None:
    """Refuse an empty value: a shell's unset variable would silently mean the default, or this folder."""
    if value == "":
        msg = "it is empty: leave it out, or give a value"
        raise typer.BadParameter(msg)
    return value


@app.command(epilog=EXAMPLES)
def serve(
    data: Annotated[
        str | None, typer.Option(metavar="DIR", callback=_given, help="Folder of the data; made if it isn't there.")
    ] = None,
    listen: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", callback=_given, help="Where to listen; port 0: a free one.")
    ] = None,
    advertise: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT", callback=_given, help="What clients are told to connect to, if it is not the same."
        ),
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(metavar="FILE", callback=_given, help="A server.properties, with Kafka's key names."),
    ] = None,
    x: Annotated[list[str] | None, typer.Option("-X", metavar="KEY=VALUE", help="A broker config; repeatable.")] = None,
    memory: Annotated[bool, typer.Option("--memory", help="Keep everything in memory, nothing on disk.")] = False,
    metrics: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT", callback=_given, help="Serve metrics for Prometheus there, as on 127.0.0.1:9464."
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but warnings.")] = False,
) -> None:
    """Serve the Kafka protocol from this machine."""
    from klamm.server.serve import ServeOptions, run

    options = ServeOptions(
        data=Path(data) if data else None,
        listen=listen or "",
        advertise=advertise or "",
        config=Path(config) if config else None,
        overrides=tuple(x or ()),
        memory=memory,
        metrics=metrics or "",
        quiet=quiet,
    )
    raise typer.Exit(run(options))
