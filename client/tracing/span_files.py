"""Files of spans: a line of OTLP JSON for each export, as the OpenTelemetry Collector's file exporter writes them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from klamm.client.errors import SettingsError
from klamm.client.tracing.otlp import OtherSignalError, OtlpError, decode_json, encode_json
from klamm.client.tracing.spans import Span, SpanStore


def read_files(paths: Iterable[str]) -> SpanStore:
    """Return the spans of files; the newest, if there are more than a store holds.

    Raises:
        SettingsError: A file cannot be read, or a line is no OTLP.
    """
    store = SpanStore()
    for path in paths:
        try:
            with Path(path).open("rb") as file:
                for number, line in enumerate(file, 1):
                    store.add(_spans_of(line, f"{path}:{number}"))
        except OSError as error:
            msg = f"{path}: {error.strerror or error}"
            raise SettingsError(msg, "klamm trace listen --save FILE writes one") from error
    return store


def _spans_of(line: bytes, where: str) -> list[Span]:
    if not line.strip():
        return []
    try:
        return decode_json(line).spans
    except OtherSignalError:
        return []
    except OtlpError as error:
        msg = f"{where}: {error}"
        hint = "lines of OTLP JSON, as klamm trace listen --save or the Collector's file exporter write them"
        raise SettingsError(msg, hint) from error


def line_of(spans: Iterable[Span]) -> str:
    """Return a line for a file."""
    return json.dumps(encode_json(spans), separators=(",", ":"), ensure_ascii=False) + "\n"
