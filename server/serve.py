"""One broker as a process: its configs put together, what it says when it is up, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import logging
import os
import resource
import signal
import socket
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

from klamm.model.configs_broker import BrokerConfig
from klamm.model.errors import InvalidConfigError
from klamm.model.properties import parse_properties
from klamm.model.version import VERSION
from klamm.server.event_loop import new_event_loop
from klamm.server.exports_wanted import wanted
from klamm.server.listeners import choose
from klamm.server.node import Node
from klamm.server.options import WILDCARD, Address, AddressError, NodeOptions
from klamm.storage.errors import StorageError

logger = logging.getLogger(__name__)

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2

LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
STOPPING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What stops a broker cleanly: Ctrl-C, a service manager, a terminal that is closed."""

YOUNG_OBJECTS_MAX: Final = 10_000
"""Objects made between collections of cyclic garbage: a collection looks at them for some milliseconds. The hot path
makes no garbage, and keeps as many objects as it makes, so they are rare."""

COLLECTIONS: Final = 1, 2_000
"""After how many of those the survivors of the last ones are looked at too, and after how many of these all objects.
What survives is looked at while it is little: a million objects at once take a fifth of a second."""

SWITCH_INTERVAL_S: Final = 0.0001
"""How long a thread that computes may keep the interpreter while the node's loop waits for it: the loop gives it up
with every system call, five times for a record that is produced, flushed and consumed, and would wait for Python's 5 ms
each time while telemetry or compaction has something to do."""


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What stood on the command line; an empty string is what was not given."""

    data: Path | None = None
    listen: str = ""
    advertise: str = ""
    config: Path | None = None
    overrides: tuple[str, ...] = ()
    memory: bool = False
    metrics: str = ""
    quiet: bool = False


class UsageError(Exception):
    """The command line or the config file is wrong; the message says where and what was expected."""


def run(options: ServeOptions) -> int:
    """Serve until Ctrl-C or SIGTERM; return the process's exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s", stream=sys.stderr)
    _log_with_fields()
    try:
        config, node_options, warnings = configure(options)
    except UsageError as error:
        return _fail(str(error), EXIT_USAGE)
    for warning in warnings:
        print(f"klamm: warning: {warning}", file=sys.stderr)  # noqa: T201
    _raise_open_files()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    loop = new_event_loop()
    try:
        return loop.run_until_complete(_serve(config, node_options, loop, quiet=options.quiet))
    except StorageError as error:
        known = not error.next_step or error.next_step in str(error)
        return _fail(str(error) if known else f"{error}; {error.next_step}", EXIT_FAILED)
    except OSError as error:
        where = node_options.listen
        if isinstance(error, socket.gaierror):
            reason = "no address is known for that name"
        else:
            reason = (
                os.strerror(error.errno) if error.errno else str(error)
            )  # asyncio's own text says the address again
        return _fail(f"cannot listen on {where}: {reason}; {_listen_hint(error)}", EXIT_FAILED)
    finally:
        loop.close()


def _raise_open_files() -> None:
    """Raise the limit of open files to the hard one: this process is the broker's own, as an embedding one is not."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # macOS says "unlimited" and means less
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _listen_hint(error: OSError) -> str:
    """Return what to do about an address that cannot be listened on."""
    if error.errno == errno.EADDRINUSE:
        return "another broker may be running there: stop it, or give another address with --listen"
    if error.errno == errno.EACCES:
        return "ports below 1024 need rights of their own: give another one with --listen"
    return "give an address of this machine with --listen, and with --advertise the one that clients are to use"


def configure(options: ServeOptions) -> tuple[BrokerConfig, NodeOptions, list[str]]:
    """Return the broker's config, its options, and what a person should be warned of.

    Precedence, highest first: the flags, ``-X``, the config file, defaults.

    Raises:
        UsageError: A file that cannot be read, a value out of its range, an address that is none.
    """
    if options.memory and options.data is not None:
        msg = "--memory keeps nothing, --data keeps it: give one of them"
        raise UsageError(msg)
    of_file = _file_properties(options.config) if options.config is not None else {}
    properties = {**of_file, **_overrides(options.overrides)}
    if options.memory:
        properties.setdefault("acks.all.single", "written")  # nothing survives anyway: no flush is worth waiting for
    if options.metrics:
        properties["klamm.metrics.listen"] = options.metrics
    try:
        config, warnings = BrokerConfig.from_properties(properties)
        metrics = wanted(os.environ, config.klamm_metrics_listen)
        listen, advertised, others = choose(config, options.listen, options.advertise)
    except (InvalidConfigError, AddressError) as error:
        raise UsageError(_with_file(options.config, of_file, str(error))) from error
    if advertised is not None and advertised.host in WILDCARD:
        msg = (
            f"clients cannot connect to {advertised}: give --advertise the name or address that they reach this host by"
        )
        raise UsageError(msg)
    warnings += _of_reach(listen, advertised, others)
    if metrics.prometheus is not None and config.klamm_telemetry_enable:
        _check_metrics(metrics.prometheus, listen)
    if metrics.anything and not config.klamm_telemetry_enable:
        warnings.append("klamm.telemetry.enable is false: no metrics and traces are exported")
    data = None if options.memory else _data_directory(options, config, warnings)
    return config, NodeOptions(data, listen, advertised), warnings


def _of_reach(listen: Address, advertised: Address | None, others: tuple[str, ...]) -> list[str]:
    """Return what to warn of: who cannot reach it, and who can."""
    warnings = []
    if others:
        warnings.append(f"one of listeners is listened on, {listen}: not {', '.join(others)}")
    if listen.host in WILDCARD and advertised is None:
        warnings.append(
            "clients on other hosts are sent to localhost: tell them where this one is with --advertise HOST"
        )
    if listen.host not in LOOPBACK:
        warnings.append(
            f"listening on {listen} without authentication: whoever reaches this port can read and write all"
        )
    return warnings


def _check_metrics(address: Address, listen: Address) -> None:
    """Check that metrics can be served there, before anything is started.

    Raises:
        UsageError: They cannot.
    """
    if address == listen and address.port:
        msg = f"--metrics and --listen are both {address}: give metrics a port of their own"
        raise UsageError(msg)
    try:
        with socket.create_server((address.host, address.port), family=_family(address)):
            pass
    except OSError as error:
        msg = f"cannot serve metrics on {address}: {error.strerror or error}; give another address with --metrics"
        raise UsageError(msg) from error


def _family(address: Address) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address.host else socket.AF_INET


def _file_properties(path: Path) -> dict[str, str]:
    """Return what stands in a properties file.

    Raises:
        UsageError: It cannot be read, or is none.
    """
    try:
        content = path.expanduser().read_bytes()
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror}; give --config a file of key=value lines"
        raise UsageError(msg) from error
    if b"\0" in content:
        msg = f"{path} is no text: give --config a file of key=value lines, in UTF-8"
        raise UsageError(msg)
    try:
        text = content.decode("utf-8-sig")  # editors on Windows begin a file with a byte order mark
    except UnicodeDecodeError:
        text = content.decode("iso-8859-1")  # as Java reads properties
    try:
        return parse_properties(text)
    except InvalidConfigError as error:
        msg = f"{path}: {error}"
        raise UsageError(msg) from error


def _overrides(texts: tuple[str, ...]) -> dict[str, str]:
    properties: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            msg = f"-X {text!r}: expected KEY=VALUE, for example -X num.partitions=3"
            raise UsageError(msg)
        properties[key.strip()] = value.strip()
    return properties


def _with_file(path: Path | None, of_file: dict[str, str], error: str) -> str:
    """Return the error with the file that it comes from, and what is often meant there."""
    try:
        choose(BrokerConfig.from_properties(of_file)[0], "", "")
    except (InvalidConfigError, AddressError) as alone:
        if str(alone) == error:
            hint = "; a comment needs a line of its own" if " #" in error else ""
            return f"{path}: {error}{hint}"
    return error


def _data_directory(options: ServeOptions, config: BrokerConfig, warnings: list[str]) -> Path:
    """Return the data directory; a ``~`` that the shell left as it is (``--data=~/x``) means the user's home."""
    if options.data is not None:
        return options.data.expanduser()
    static = config.layers.static
    configured = config.log_dirs if "log.dirs" in static else config.log_dir if "log.dir" in static else None
    first, *others = configured or ("",)
    if others:
        warnings.append(f"one data directory is used, {first}: not {', '.join(others)}")
    if first:
        return Path(first)
    import platformdirs  # noqa: PLC0415 (only needed without --data)

    return Path(platformdirs.user_data_dir("klamm", appauthor=False))


async def _serve(config: BrokerConfig, options: NodeOptions, loop: asyncio.AbstractEventLoop, *, quiet: bool) -> int:
    stopping = asyncio.Event()
    for number in STOPPING:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup has it ignored
            loop.add_signal_handler(number, stopping.set)
    gc.disable()  # what a start makes lives on: with 10,000 partitions a third of its time would go into looking at it
    node = Node(config, options, loop)
    await node.start()
    if not quiet:
        _say(banner(node), sys.stdout)
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS_MAX, *COLLECTIONS)
    gc.enable()
    if options.advertised is not None:
        threading.Thread(target=_look_up, args=(options.advertised.host,), daemon=True).start()
    await stopping.wait()
    if not quiet:
        _say("stopping: flushing and closing every partition", sys.stderr)
    await node.stop()
    return EXIT_OK


def _look_up(host: str) -> None:
    """Warn if clients are told a name that is not known here."""
    try:
        socket.getaddrinfo(host, None)
    except OSError:
        logger.warning("clients are told to connect to a name that is not known here", extra={"advertise": host})


def _say(text: str, stream: TextIO) -> None:
    """Print for whoever still reads; a broker that nobody watches any more has to flush and close all the same."""
    try:
        print(text, file=stream, flush=True)
    except OSError:  # what could not be written would be tried again at the exit, and make another exit code of it
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def banner(node: Node) -> str:
    """Return the one screen that says what is served and where."""
    options, config = node.options, node.config
    where = "in memory: nothing is kept" if options.data is None else str(options.data.absolute())
    kept = "written to memory" if options.data is None else "written to the page cache"
    durable = "flushed to disk" if config.acks_all_single == "flushed" and options.data is not None else kept
    metrics = wanted(os.environ, config.klamm_metrics_listen).prometheus if config.klamm_telemetry_enable else None
    topics = f"{len(node.image.topics)}, {len(node.partitions)} partitions; "
    if config.auto_create_topics_enable:
        topics += f"made on first use with num.partitions={config.num_partitions}"
    else:
        topics += "not made on first use (auto.create.topics.enable=false)"
    return "\n".join(
        [
            f"klamm {VERSION} serves the Kafka protocol on {node.advertised}",
            "",
            f"  cluster     {node.cluster_id}, broker {node.broker_id}",
            f"  data        {where}",
            f"  topics      {topics}",
            f"  acks=all    answered once {durable} (acks.all.single={config.acks_all_single})",
            *([f"  metrics     http://{metrics}/metrics"] if metrics is not None and metrics.port else []),
            "",
            f"  Try: kcat -b {node.advertised} -L        Stop: Ctrl-C",
        ]
    )


class _WithFields(logging.Formatter):
    """Adds a record's own fields to its sentence: ``partition is offline partition=orders-0``."""

    def format(self, record: logging.LogRecord) -> str:
        fields = " ".join(f"{key}={value}" for key, value in record.__dict__.items() if key not in _STANDARD_FIELDS)
        text = super().format(record)
        first, newline, rest = text.partition("\n")
        return f"{first} {fields}{newline}{rest}" if fields else text


_STANDARD_FIELDS: Final = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


def _log_with_fields() -> None:
    for handler in logging.getLogger().handlers:
        handler.setFormatter(_WithFields("%(asctime)s %(levelname)s %(message)s"))


def _fail(message: str, code: int) -> int:
    print(f"klamm: {message}", file=sys.stderr)  # noqa: T201
    return code
