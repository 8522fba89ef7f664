"""One signal's way out by OTLP: an exporter of the OpenTelemetry SDK's, why it fails, and silence for its own lines.

The SDK writes an ERROR for each export that fails, and a WARNING before each retry. Its loggers belong to the whole
process, so what it says is kept back only on the thread that exports for us, and only while it does: an exporter of the
program that embeds the broker says what it always said. Importing this imports the SDK.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, Final, Literal
from urllib.parse import urlsplit, urlunsplit

import requests

from klamm.telemetry.export_health import ExportHealth, Failure
from klamm.telemetry.otel_resource import untraced

logger = logging.getLogger(__name__)

Signal = Literal["traces", "metrics"]

_ITEMS: Final = {"traces": "spans", "metrics": "exports"}
_EXPORTERS: Final = "opentelemetry.exporter."
_CAUSES_MAX: Final = 10
_CREDENTIALS: Final = re.compile(r"OTEL_PYTHON_EXPORTER_OTLP_HTTP_(\w+_)?CREDENTIAL_PROVIDER")
"""Variables by which the SDK takes a session from another package: ours does not go before."""


class OtlpExport:
    """Exports one signal, on one thread, to where the ``OTEL_*`` variables say.

    Attributes:
        exporter: The SDK's.
        failed: Exports that were not taken.
        dropped: Items in them: spans, or exports of metrics.
    """

    def __init__(self, signal: Signal) -> None:
        self._session = _Session()
        self.exporter = _exporter(signal, self._session)
        endpoint = _without_password(str(getattr(self.exporter, "_endpoint", "the OTLP receiver")))
        self._health = ExportHealth(signal, endpoint, _ITEMS[signal])
        self.failed = 0
        self.dropped = 0
        self._ending = False
        self._shutdown = threading.Lock()
        _silence.begin()

    def export(self, what: Any, count: int) -> None:  # noqa: ANN401 (spans or metrics of the SDK)
        """Export ``count`` items; when this returns they were taken, or are dropped, counted and told of."""
        failure = self._export(what)
        if failure is None:
            line = self._health.arrived()
        else:
            self.failed += 1
            self.dropped += count
            line = self._health.failed(failure, count, time.monotonic())
        if line is not None and not self._ending:
            logger.warning(line.sentence, *line.values)

    def _export(self, what: Any) -> Failure | None:  # noqa: ANN401 (as above)
        self._session.failure = None
        with untraced(), _silence.of_this_thread() as said:
            try:
                taken = self.exporter.export(what).name == "SUCCESS"
            except Exception as error:  # noqa: BLE001 (whatever the SDK or a variable's value does, it is told of once)
                return Failure("", f"{type(error).__name__}: {error}")
        return None if taken else self._session.failure or _said(said)

    def unblock(self) -> None:
        """Have an export that waits give up, and take no other; from any thread, and as often as one likes."""
        with self._shutdown:  # the SDK's exporter warns when it is shut down again, and after close() nobody is silent
            if self._ending:
                return
            self._ending = True
            with _silence.of_this_thread():
                self.exporter.shutdown()

    def close(self) -> None:
        """Close connections, and let the SDK's loggers be as they were; after this nothing is exported."""
        self.unblock()
        _silence.end()


class _Session(requests.Session):
    """Keeps why the last request failed: the SDK's exporter tells it to its log only, and not all of it."""

    failure: Failure | None = None

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:  # noqa: ANN401 (requests')
        """Send (requests)."""
        try:
            response = super().send(request, **options)
        except requests.RequestException as error:
            self.failure = _because(error)
            raise
        self.failure = Failure(str(response.status_code), f"{response.status_code} {response.reason}".rstrip())
        return response


def _because(error: BaseException) -> Failure:
    """Return what a failed request comes down to."""
    if isinstance(error, requests.Timeout):
        return Failure("timeout", "no answer in time")
    cause: BaseException | None = error
    for _ in range(_CAUSES_MAX):
        if cause is None:
            break
        if isinstance(cause, ConnectionRefusedError):
            return Failure("refused", "connection refused")
        if isinstance(cause, OSError) and cause.errno and cause.strerror:
            return Failure("", cause.strerror)
        inner = [getattr(cause, "reason", None), *cause.args, cause.__cause__, cause.__context__]
        cause = next((one for one in inner if isinstance(one, BaseException)), None)
    return Failure("", str(error))


class _Silence(logging.Filter):
    """A filter for the SDK's exporters' loggers: what they say on a thread that exports for us is kept for us."""

    def __init__(self) -> None:
        super().__init__()
        self._here = threading.local()
        self._lock = threading.Lock()
        self._users = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep back what is ours (logging)."""
        said: list[logging.LogRecord] | None = getattr(self._here, "said", None)
        if said is None or record.levelno < logging.WARNING:
            return True
        said.append(record)
        return False

    @contextmanager
    def of_this_thread(self) -> Generator[list[logging.LogRecord], None, None]:
        """Keep what is said on this thread, in the list."""
        said: list[logging.LogRecord] = []
        self._here.said = said
        try:
            yield said
        finally:
            self._here.said = None

    def begin(self) -> None:
        """Stand before the loggers of the exporters that are loaded. First of all filters: gRPC's remembers lines."""
        with self._lock:
            self._users += 1
            for one in self._loggers():
                if self not in one.filters:
                    one.filters = [self, *one.filters]  # a new list: others may be going through the old one

    def end(self) -> None:
        """Leave the loggers as they were once nobody needs this any more."""
        with self._lock:
            self._users -= 1
            if not self._users:
                for one in self._loggers():
                    one.filters = [kept for kept in one.filters if kept is not self]

    @staticmethod
    def _loggers() -> list[logging.Logger]:
        known = dict(logging.root.manager.loggerDict)
        return [one for name, one in known.items() if name.startswith(_EXPORTERS) and isinstance(one, logging.Logger)]


_silence = _Silence()


def _said(records: list[logging.LogRecord]) -> Failure:
    """Return why an export failed by what the SDK said of it last: gRPC's status is among the arguments."""
    if not records:
        return Failure("", "the exporter does not say why")
    last = records[-1]
    arguments: tuple[Any, ...] = last.args if isinstance(last.args, tuple) else ()
    for number, one in enumerate(arguments):
        if type(one).__name__ == "StatusCode":
            code, details = one.name, arguments[number + 1 :]
            return Failure(code, f"{code}: {details[-1]}" if details and details[-1] else code)
    return Failure("", last.getMessage())


def _without_password(endpoint: str) -> str:
    parts = urlsplit(endpoint)
    if "@" not in parts.netloc:
        return endpoint
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _exporter(signal: Signal, session: requests.Session) -> Any:  # noqa: ANN401 (one of four classes)
    variable = f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL"
    protocol = os.environ.get(variable) or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL") or "http/protobuf"
    make = _grpc(signal) if protocol.strip().lower() == "grpc" else _http(signal, session)
    return make()


def _grpc(signal: Signal) -> Callable[[], Any]:
    if signal == "metrics":
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import (  # noqa: PLC0415 (gRPC takes 0.3 s)
            OTLPMetricExporter,
        )

        return OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 (as above)

    return OTLPSpanExporter


def _http(signal: Signal, session: requests.Session) -> Callable[[], Any]:
    given: dict[str, Any] = {} if any(_CREDENTIALS.fullmatch(name) for name in os.environ) else {"session": session}
    if signal == "metrics":
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import (  # noqa: PLC0415 (where it is asked for)
            OTLPMetricExporter,
        )

        return lambda: OTLPMetricExporter(**given)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 (as above)

    return lambda: OTLPSpanExporter(**given)
