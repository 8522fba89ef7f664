"""Running one command: settings, connection, deadline, output, exit code.

Exit codes: 0 ok, 1 an item failed, 2 usage (also where the cluster has no name of the line, see ``names.py``), 3 an
assertion is false, 4 refused, 5 unreachable or not authenticated, 124 deadline, 130 interrupted, 143 terminated.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING

from klamm.cli.output import Format, Result, parse_format, render
from klamm.cli.parser import Line, UsageError, Values
from klamm.cli.spec import Command
from klamm.cli.termination import EXIT_TERMINATED, Termination
from klamm.cli.usage import EXIT_FAILED, EXIT_USAGE, report, unwritable
from klamm.client.cluster import Cluster
from klamm.client.contexts import Layers, Resolved, resolve
from klamm.client.errors import ClientError, DeadlineError, RefusedError, SettingsError, UnreachableError
from klamm.client.text import printable, printable_lines

if TYPE_CHECKING:
    from klamm.client.recording.reading import Recording

TIMEOUT_S_DEFAULT = 60.0
EXIT_REFUSED, EXIT_UNREACHABLE, EXIT_TIMEOUT, EXIT_INTERRUPTED = 4, 5, 124, 130
EXIT_ASSERTION = 3
"""What was asserted is false."""
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class Run:
    """What a command works with.

    Attributes:
        values: The words of the line.
        line: The line itself, for the journal and for hints.
    """

    def __init__(self, line: Line) -> None:
        self.command: Command = line.command
        self.values: Values = line.values
        self.form: Format = _format(line.values, line.command.formats)
        self._resolved: Resolved | None = None
        self._cluster: Cluster | None = None
        self._deadline: asyncio.Timeout | None = None
        self.termination = Termination()

    @property
    def line(self) -> str:
        """The line as typed, without the interpreter."""
        import shlex

        return shlex.join(["klamm", *sys.argv[1:]])

    @property
    def resolved(self) -> Resolved:
        """Settings with their origins.

        Raises:
            RefusedError: The line is about a recording, which has none: nothing may reach the live cluster.
        """
        if self._resolved is None:
            values = self.values
            if values.text("replay") is not None:
                raise self._only_recorded()
            layers = Layers(values.text("context"), values.text("bootstrap"), values.texts("X"), values.flag("write"))
            self._resolved = resolve(layers)
        return self._resolved

    @property
    def cluster(self) -> Cluster:
        """The cluster; it connects when first asked."""
        if self._cluster is None and self.values.text("replay") is not None:
            if self.command.changes:
                raise self._only_recorded()
            self._cluster = self._recorded()
        elif self._cluster is None:
            on_request = self._say_request if self.values.flag("verbose") else None
            self._cluster = Cluster(self.resolved.settings, on_request)
            if self.values.texts("X"):
                self._say_what_is_not_read()
        return self._cluster

    @property
    def recording(self) -> Recording:
        """The recording of ``--replay``."""
        from klamm.client.recording.reading import Recording

        return Recording(self.values.text("replay") or "")

    @property
    def dry_run(self) -> bool:
        """Whether nothing may be changed."""
        return self.values.flag("dry_run")

    @property
    def interactive(self) -> bool:
        """Whether somebody can be asked."""
        return sys.stdin.isatty() and sys.stderr.isatty() and not self.values.flag("no_input")

    def note(self, text: str) -> None:
        """Say something beside the data, on standard error."""
        if not self.values.flag("quiet"):
            sys.stderr.write(f"{printable_lines(text)}\n")
            sys.stderr.flush()

    def close(self) -> None:
        """Close the connections."""
        if self._cluster is not None:
            self._cluster.close()

    def start_deadline(self, seconds: float) -> asyncio.Timeout:
        """Return the deadline of one execution, for ``async with``."""
        self._deadline = asyncio.timeout(seconds)
        return self._deadline

    @contextlib.contextmanager
    def without_deadline(self) -> Generator[None, None, None]:
        """Stop the deadline's clock while a person thinks."""
        assert self._deadline is not None, "a question before the command runs"
        now = asyncio.get_running_loop().time()
        left = (self._deadline.when() or now) - now
        self._deadline.reschedule(None)
        try:
            yield
        finally:
            self._deadline.reschedule(asyncio.get_running_loop().time() + left)

    def waiting_for(self) -> str:
        """Say what has been asked and not answered."""
        return self._cluster.waiting_for if self._cluster is not None else ""

    def context_name(self) -> str | None:
        """Return the context's name without failing where settings cannot be resolved."""
        if self.values.text("replay") is not None:
            return None
        try:
            return self.resolved.settings.context
        except ClientError:
            return self.values.text("context")

    def _only_recorded(self) -> RefusedError:
        msg = f"klamm {self.command.path} refused: it goes to a live cluster, and --replay is a recording"
        return RefusedError(msg, "leave --replay out if you mean the live cluster")

    def _recorded(self) -> Cluster:
        from klamm.client.recording.reading import parse_at, time_text

        recording = self.recording
        at = self.values.text("at")
        cluster = recording.cluster_at(None if at is None else parse_at(at, recording.times))
        span = f"{time_text(recording.times[0])} to {time_text(recording.times[-1])}"
        self.note(f"replaying {recording.path} at {time_text(cluster.recorded_at_ms)} (it holds {span})")
        return cluster

    def _say_what_is_not_read(self) -> None:
        """Say what becomes of properties of this line that klamm's own connections do not go by."""
        from klamm.client.property_names import KLAMM, LIBRDKAFKA, used_by

        joins = "JoinGroup" in self.command.requests and self.values.text("group")
        takes = LIBRDKAFKA if joins or "Produce" in self.command.requests else KLAMM
        for name in dict.fromkeys(pair.partition("=")[0] for pair in self.values.texts("X")):
            if name not in KLAMM and name not in takes:
                self.note(f"note: -X {name} changes nothing here. It is for {used_by(name)}")

    def _say_request(self, api: str, address: str) -> None:
        self.note(f"→ {api} to {address}")


def run_line(line: Line) -> int:
    """Run a parsed line; print its result; return the exit code."""
    values = line.values
    if values.flag("help") or values.flag("help_json") or values.flag("explain"):
        return _describe(line)
    try:
        run = Run(line)
        watch = values.text("watch")
        seconds = None if watch is None else parse_seconds(watch, "--watch")
        timeout = parse_seconds(values.text("timeout") or f"{TIMEOUT_S_DEFAULT}s", "--timeout")
        _check_selection(run)
    except UsageError as error:
        return report(str(error), in_json=values.text("output") == "json")
    try:
        return asyncio.run(_watch(run, timeout, seconds) if seconds is not None else _once(run, timeout))
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except asyncio.CancelledError:
        assert run.termination.came, "nothing else cancels a command"
        return EXIT_TERMINATED
    except Exception as error:
        if values.flag("debug") or unwritable(error):
            raise
        sys.stderr.write(
            f"klamm: internal error: {type(error).__name__}: {error}\n  next: run it with --debug, report it\n"
        )
        return EXIT_FAILED


def _check_selection(run: Run) -> None:
    """Check the columns that a line names; where records are read, --filter is about them (see ``message_source``)."""
    if run.form.filters or run.form.sort or run.form.columns:
        from klamm.cli.selection import check_selection

        form = run.form
        if run.values.has("where"):
            from klamm.cli.checks import BY_METAVAR

            for text in form.filters:
                BY_METAVAR["FILTER"]("--filter", text)
            form = form._replace(filters=())
        check_selection(run.command.kind, form)


def parse_seconds(text: str, option: str) -> float:
    """Return the seconds that ``500ms``, ``5s``, ``1m`` or ``5`` mean.

    Raises:
        UsageError: It is no time.
    """
    number = text.rstrip("hms")
    unit = text[len(number) :] or "s"
    try:
        seconds = float(number) * _UNITS[unit]
    except (ValueError, KeyError):
        msg = f"{option} takes a time like 500ms, 5s or 1m, not {text!r}"
        raise UsageError(msg) from None
    if not seconds > 0:
        msg = f"{option} must be longer than nothing, not {text!r}"
        raise UsageError(msg)
    return seconds


def exit_code_of(error: ClientError) -> int:
    """Return the exit code of an error that ended a command."""
    if isinstance(error, UnreachableError):
        return EXIT_UNREACHABLE
    if isinstance(error, DeadlineError):
        return EXIT_TIMEOUT
    if isinstance(error, RefusedError):
        return EXIT_REFUSED
    return EXIT_USAGE if isinstance(error, SettingsError) or error.names_nothing else EXIT_FAILED


async def _once(run: Run, timeout_s: float) -> int:
    try:
        result, code = await _result(run, timeout_s)
        return _print(run, result, code)
    finally:
        run.close()


async def _result(run: Run, timeout_s: float) -> tuple[Result, int]:
    """Run the command once; an error that ends it becomes a result with that error."""
    try:
        try:
            with run.termination:
                async with run.start_deadline(timeout_s):
                    result = await _explained(run)
        except TimeoutError:
            waiting = run.waiting_for()
            msg = f"no result within {timeout_s:g} s" + (f"; waiting for {waiting}" if waiting else "")
            raise DeadlineError(msg) from None
    except UsageError as error:
        return Result((), (), [ClientError("USAGE", str(error))]), EXIT_USAGE
    except ClientError as error:
        if run.values.flag("debug"):
            raise
        return Result((), (), [_with_start_hint(run, error)]), exit_code_of(error)
    return result, result.exit_code or _exit_code_of_errors(run, result)


async def _explained(run: Run) -> Result:
    """Run the command; what is said of names that the cluster does not have names the near ones."""
    try:
        result = await run.command.run(run)
    except ClientError as error:
        from klamm.cli.names import explain

        await explain(run, [error])
        raise
    assert isinstance(result, Result), f"{run.command.path} returned {result!r}"
    if result.errors and not result.streamed:
        from klamm.cli.names import explain

        await explain(run, result.errors)
        # A broker that is away fails each request to it, and is to be told of once.
        once = {(error.code, error.message, error.name): error for error in result.errors}
        result = result._replace(errors=list(once.values()))
    return result


def _exit_code_of_errors(run: Run, result: Result) -> int:
    """Return 1 where something failed, but 2 where no name of the line is one that the cluster has."""
    if not result.errors:
        return 0
    from klamm.cli.names import all_mistaken

    return EXIT_USAGE if all_mistaken(run, result) else EXIT_FAILED


def _with_start_hint(run: Run, error: ClientError) -> ClientError:
    """Tell who has no context and nothing on localhost how to get a broker."""
    if isinstance(error, UnreachableError) and error.step == "tcp":
        with contextlib.suppress(ClientError):
            if not (run.values.text("replay") or run.resolved.chosen):
                error.next_step = "start a broker: klamm serve; or say where one is: klamm topics -b HOST:PORT"
    return error


async def _watch(run: Run, timeout_s: float, seconds: float) -> int:
    looked = False
    table = run.form.name == "table" and sys.stdout.isatty()
    try:
        while True:
            result, code = await _result(run, timeout_s)
            if table:
                sys.stdout.write("\x1b[H\x1b[2J")
            shown = _print(run, result, code)
            sys.stdout.flush()
            gone = looked and shown == EXIT_USAGE and bool(result.errors) and result.errors[0].names_nothing
            if shown in {EXIT_USAGE, EXIT_REFUSED} and not gone:  # no later look would find anything else
                return shown
            looked = True
            await asyncio.sleep(seconds)
    finally:
        run.close()


def _print(run: Run, result: Result, code: int) -> int:
    try:
        text = _text(run, result)
    except UsageError as error:
        return report(str(error), in_json=run.form.name == "json")
    if not _paged(run, text):
        sys.stdout.write(text)
        sys.stdout.flush()
    if not result.items and not result.errors and result.empty and run.form.name == "table":
        run.note(result.empty)
    for failed in result.errors:
        # Only what is wrong with a filter or a file takes several lines; elsewhere a line break is part of a name.
        shown = printable_lines if isinstance(failed, SettingsError) else printable
        code_text = "" if failed.code == "USAGE" else f"{failed.code}: "
        sys.stderr.write(f"klamm: {code_text}{shown(failed.message)}\n")
        if failed.next_step:
            sys.stderr.write(f"  next: {printable_lines(failed.next_step)}\n")
    return code


def _paged(run: Run, text: str) -> bool:
    if run.form.name != "table" or run.values.text("watch") or not sys.stdout.isatty():
        return False
    from klamm.cli.pager import paged

    return paged(text)


def _text(run: Run, result: Result) -> str:
    if result.streamed:
        return ""
    if run.form.name in {"json", "yaml"} or result.items or result.columns or result.tables or result.text:
        return render(run.command.kind, run.context_name(), result, run.form)
    return ""


def _format(values: Values, more: Sequence[str] = ()) -> Format:
    return parse_format(
        values.text("output"),
        values.text("columns"),
        values.text("sort"),
        values.texts("filter"),
        no_color=values.flag("no_color"),
        more=more,
    )


def _describe(line: Line) -> int:
    from klamm.cli import help as help_text

    if line.values.flag("help_json"):
        import json

        sys.stdout.write(json.dumps(help_text.command_json(line.command), indent=2) + "\n")
    elif line.values.flag("help"):
        sys.stdout.write(help_text.command_help(line.command))
    else:
        sys.stdout.write(help_text.explain(line.command))
    return 0
