"""``klamm doctor``: why a cluster does not answer."""

from __future__ import annotations

from klamm.cli.output import Column, Item, Result
from klamm.cli.run import Run
from klamm.cli.spec import Command, Example
from klamm.client.errors import ClientError

_STYLES = {"ok": "good", "FAILED": "bad", "not tried": "faint"}


def _verdict_style(item: Item) -> str:
    return _STYLES[item["verdict"]]


COLUMNS = (
    Column("STEP", "name"),
    Column("TARGET", "target"),
    Column("OK", "verdict", style=_verdict_style),
    Column("MS", "took_ms", right=True),
    Column("DETAIL", "detail"),
)


async def examine(run: Run) -> Result:
    """Walk DNS, TCP, TLS, SASL, ApiVersions, Metadata and the advertised addresses; name the step that fails."""
    from klamm.client import doctor

    steps = await doctor.examine(run.resolved.settings)
    items = [{"name": step.step, **step._asdict()} for step in steps]
    errors = [
        ClientError(f"UNREACHABLE_{step.step.upper()}", step.detail, _next(step.next_step))
        for step in steps
        if step.verdict == doctor.FAILED
    ]
    return Result(items, COLUMNS, errors, exit_code=5 if errors else 0)


def _next(step: str) -> str:
    """Return what to do next, without the advice to do what was just done."""
    return "" if step == "klamm doctor" else step.removesuffix(" klamm doctor")


COMMANDS = (
    Command(
        "doctor",
        "Find out why a cluster does not answer",
        examine,
        "DoctorReport",
        (),
        (),
        (Example("klamm doctor -c prod", "DNS, TCP, TLS, SASL, ApiVersions, Metadata, advertised addresses"),),
        ("Metadata",),
        (),
        details="Exit code 5 if a step fails. Changes nothing.",
    ),
)
