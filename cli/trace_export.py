"""``klamm trace export``: a path as OTLP, Perfetto or Mermaid, to standard output or to a tracing backend."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from klamm.cli.output import Result
from klamm.cli.parser import UsageError
from klamm.client.errors import ClientError
from klamm.client.text import counted

if TYPE_CHECKING:
    from klamm.client.tracing import Trace

FORMATS = ("otlp", "perfetto", "mermaid")
_SEND_TIMEOUT_S = 10.0
_SUCCESS = range(200, 300)


def exported(trace: Trace, form: str) -> str:
    """Return a trace as text in one of :data:`FORMATS`."""
    from klamm.client.tracing import exports
    from klamm.client.tracing.span_files import line_of

    if form == "otlp":
        return line_of(exports.to_spans(trace))
    if form == "perfetto":
        return json.dumps(exports.to_perfetto(trace), ensure_ascii=False) + "\n"
    return exports.to_mermaid(trace)


async def send(trace: Trace, url: str) -> int:
    """Post a trace's spans to an OTLP/HTTP endpoint; return how many.

    Raises:
        ClientError: It cannot be reached or does not take them.
        UsageError: It is no URL of HTTP.
    """
    from urllib.error import HTTPError, URLError
    from urllib.parse import urlsplit
    from urllib.request import Request, urlopen

    from klamm.client.tracing import exports
    from klamm.client.tracing.otlp import encode_protobuf

    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        msg = f"--to takes the URL of an OTLP/HTTP endpoint, as http://localhost:4318, not {url!r}"
        raise UsageError(msg)
    target = url if parts.path.rstrip("/") else f"{url.rstrip('/')}/v1/traces"
    spans = exports.to_spans(trace)
    headers = {"Content-Type": "application/x-protobuf"}
    request = Request(target, data=encode_protobuf(spans), headers=headers, method="POST")  # noqa: S310 (checked above)

    def post() -> int:
        with urlopen(request, timeout=_SEND_TIMEOUT_S) as response:  # noqa: S310 (the same)
            return int(response.status)

    code = "EXPORT"
    try:
        status = await asyncio.to_thread(post)
    except HTTPError as error:
        msg = f"{target} answered {error.code} {error.reason}"
        raise ClientError(code, msg, "it takes no spans there: look at its log") from error
    except OSError as error:
        reason = error.reason if isinstance(error, URLError) else error
        said = reason.strerror if isinstance(reason, OSError) and reason.strerror else str(reason)
        msg = f"{target}: {said}"
        raise ClientError(code, msg, "does an OTLP/HTTP receiver listen there? klamm trace listen is one") from error
    if status not in _SUCCESS:
        msg = f"{target} answered {status}"
        raise ClientError(code, msg)
    return len(spans)


async def export_result(trace: Trace, form: str, to: str | None) -> Result:
    """Return what ``klamm trace export`` prints."""
    from klamm.cli.trace_hops import path_result

    result = path_result(trace)
    if not trace.hops and (form in FORMATS or to is not None):  # a picture of nothing would be taken for the message's
        return result._replace(text="")
    if to is not None:
        count = await send(trace, to)
        return Result((), (), result.errors, text=f"{counted(count, 'span')} sent to {to}\n")
    if form in FORMATS:
        return result._replace(text=exported(trace, form))
    return result
