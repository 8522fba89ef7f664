"""Records that are made and not read: what ``--template`` and ``--rate`` mean."""

from __future__ import annotations

import time
from collections.abc import Callable

from klamm.cli.parser import UsageError
from klamm.cli.run import parse_seconds


def compile_template(text: str) -> Callable[[int], str]:
    """Return a function of the record's number: ``{{i}} {{uuid}} {{now}} {{time}} {{random N}} {{pick a b}}``.

    Raises:
        UsageError: There is no such placeholder.
    """
    import random
    import re
    import uuid

    parts = re.split(r"\{\{\s*(.*?)\s*\}\}", text)
    makers: list[Callable[[int], str]] = []
    for place, part in enumerate(parts):
        if place % 2 == 0:
            makers.append(lambda _, text=part: text)  # type: ignore[misc]
            continue
        name, *words = part.split()
        if name == "i":
            makers.append(str)
        elif name == "uuid":
            makers.append(lambda _: str(uuid.uuid4()))
        elif name == "now":
            makers.append(lambda _: str(int(time.time() * 1000)))
        elif name == "time":
            makers.append(lambda _: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
        elif name == "random" and len(words) == 1 and words[0].isdecimal():
            makers.append(lambda _, most=int(words[0]): str(random.randrange(most + 1)))  # type: ignore[misc]  # noqa: S311
        elif name == "pick" and words:
            makers.append(lambda _, words=words: random.choice(words))  # type: ignore[misc]  # noqa: S311
        else:
            msg = f"the template has no {{{{{part}}}}}; it has {{{{i}}}}, uuid, now, time, random N, pick A B"
            raise UsageError(msg)
    return lambda number: "".join([make(number) for make in makers])


def rate_of(text: str | None) -> float | None:
    """Return records a second of ``100``, ``100/s`` or ``5/m``."""
    if text is None:
        return None
    number, _, unit = text.partition("/")
    try:
        rate = float(number) / parse_seconds(f"1{unit or 's'}", "--rate")
    except ValueError:
        rate = 0.0
    if not 0 < rate < float("inf"):
        msg = f"--rate takes records a second like 100, 100/s or 5/m, not {text!r}"
        raise UsageError(msg)
    return rate
