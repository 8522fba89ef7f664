"""``-o jsonpath=``: the part of JSONPath that people use with kubectl.

``.items[*].name``, ``{.items[0].isr}``, ``$.items[?(@.leader==-1)].partition``.
"""

from __future__ import annotations

import json
import re
from typing import Any

from klamm.cli.parser import UsageError

_STEP = re.compile(
    r"""\.?(?P<name>[A-Za-z_][\w-]*) | \[(?P<place>-?\d+)\] | (?:\.|\[)(?P<all>\*)\]?
    | \['(?P<quoted>[^']*)'\] | \[\?\(@\.(?P<field>[\w.-]+)\s*(?P<sign>==|!=|<=|>=|<|>)\s*(?P<value>[^)]*)\)\]""",
    re.VERBOSE,
)


def steps_of(path: str) -> list[re.Match[str]]:
    """Return the steps of a path.

    Raises:
        UsageError: It is no path.
    """
    text = path.strip()
    if text.startswith("{") and text.endswith("}"):
        text = text[1:-1]
    text = text.removeprefix("$")
    if not text:
        msg = "-o jsonpath=EXPRESSION needs one; for example jsonpath=.items[*].name"
        raise UsageError(msg)
    steps: list[re.Match[str]] = []
    place = 0
    while place < len(text):
        step = _STEP.match(text, place)
        if step is None:
            msg = f"-o jsonpath={path}: not understood from {text[place:]!r}; for example jsonpath=.items[*].name"
            raise UsageError(msg)
        steps.append(step)
        place = step.end()
    return steps


def evaluate(path: str, document: Any) -> str:  # noqa: ANN401 (any JSON)
    """Return each value that ``path`` leads to, one a line; texts bare, the rest as JSON.

    Raises:
        UsageError: It is no path.
    """
    values: list[Any] = [document]
    for step in steps_of(path):
        values = [found for value in values for found in _take(value, step)]
    return "".join(
        f"{value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}\n" for value in values
    )


def _take(value: Any, step: re.Match[str]) -> list[Any]:  # noqa: ANN401 (any JSON)
    name = step["name"] if step["name"] is not None else step["quoted"]
    if name is not None:
        return [value[name]] if isinstance(value, dict) and name in value else []
    if step["place"] is not None:
        at = int(step["place"])
        return [value[at]] if isinstance(value, list) and -len(value) <= at < len(value) else []
    children = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    if step["all"] is not None:
        return children
    return [child for child in children if _holds(child, step)]


def _holds(child: Any, step: re.Match[str]) -> bool:  # noqa: ANN401 (any JSON)
    for key in step["field"].split("."):
        if not isinstance(child, dict) or key not in child:
            return False
        child = child[key]
    text = step["value"].strip()
    try:
        wanted: Any = json.loads(text)
    except ValueError:
        wanted = text.strip("'\"")
    sign = step["sign"]
    if sign in {"==", "!="}:
        return (child == wanted) is (sign == "==")
    try:
        return bool({"<": child < wanted, ">": child > wanted, "<=": child <= wanted, ">=": child >= wanted}[sign])
    except TypeError:
        return False
