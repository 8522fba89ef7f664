"""``--filter``, ``--sort`` and ``--columns``: which items of a result are shown, in which order, and what of them."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import NamedTuple

from klamm.cli.fields import fields_of
from klamm.cli.output import Column, Format, Result
from klamm.cli.parser import UsageError, suggestion

_SIGNS = ("!=", "<=", ">=", "=", "<", ">")


class Condition(NamedTuple):
    """One filter: a column, a sign, and a glob or, with a sign that orders, a number."""

    column: str
    sign: str
    wanted: str
    limit: float
    text: str


def parse_condition(text: str) -> Condition:
    """Return the condition that ``COLUMN=GLOB`` or ``COLUMN>N`` means.

    Raises:
        UsageError: It is neither.
    """
    for sign in _SIGNS:
        column, found, wanted = text.partition(sign)
        if not found or not column.strip():
            continue
        limit = 0.0
        if sign not in {"=", "!="}:
            try:
                limit = float(wanted)
            except ValueError:
                msg = f"--filter {text!r} compares numbers, and {wanted!r} is none"
                raise UsageError(msg) from None
        return Condition(column.strip(), sign, wanted.strip(), limit, text)
    msg = f"--filter {text!r} is no COLUMN=GLOB, COLUMN!=GLOB, COLUMN<N or COLUMN>N"
    raise UsageError(msg)


def check_selection(kind: str, form: Format) -> None:
    """Check what a line selects, as far as the kind of its items tells: before a cluster is asked.

    Raises:
        UsageError: No such column, or a filter that is none.
    """
    named = [parse_condition(each).column for each in form.filters]
    if form.sort is not None:
        named.append(form.sort.lstrip("-"))
    known = fields_of(kind)
    if known:
        for name in (*named, *form.columns):
            _field(name, known)


def selected(kind: str, result: Result, form: Format) -> Result:
    """Return the result with the items and columns that the line asks for.

    Raises:
        UsageError: A column that the result has not.
    """
    known = _known(kind, result)
    items = list(result.items)
    for each in form.filters:
        condition = parse_condition(each)
        field = _field(condition.column, known)
        items = [item for item in items if _matches(item.get(field), condition)]
    if form.sort is not None:
        key = _field(form.sort.lstrip("-"), known)
        items.sort(key=lambda item: _order(item.get(key)), reverse=form.sort.startswith("-"))
    columns = result.columns
    if form.columns:
        by_key = {column.key: column for column in result.columns}
        keys = [_field(name, known) for name in form.columns]
        columns = [by_key.get(key) or Column(key.upper().replace("_", "-"), key) for key in keys]
    return result._replace(items=items, columns=columns)


def _known(kind: str, result: Result) -> dict[str, str]:
    """Return the fields by what they may be called: by the table's titles first."""
    known = {_folded(column.title): column.key for column in result.columns}
    known |= {column.key.lower(): column.key for column in result.columns}
    for name, field in (*fields_of(kind).items(), *((key, key) for item in result.items for key in item)):
        known.setdefault(name, field)
    return known


def _folded(title: str) -> str:
    return title.lower().replace("-", "_").replace(" ", "_")


def _field(name: str, known: dict[str, str]) -> str:
    found = known.get(_folded(name))
    if found is not None:
        return found
    fields = dict.fromkeys(known.values())
    msg = f"there is no column {name!r}.{suggestion(_folded(name), known)} There is: {', '.join(fields)}"
    raise UsageError(msg)


def _matches(value: object, condition: Condition) -> bool:
    sign, limit = condition.sign, condition.limit
    if sign in {"=", "!="}:
        shown = str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)
        return fnmatchcase(shown, condition.wanted) is (sign == "=")
    if value is None:
        return False
    if not isinstance(value, (int, float)):
        msg = f"--filter {condition.text!r} compares numbers, and {value!r} is none"
        raise UsageError(msg)
    return {"<": value < limit, ">": value > limit, "<=": value <= limit, ">=": value >= limit}[sign]


def _order(value: object) -> tuple[int, float, str]:
    if value is None:
        return (2, 0, "")
    if isinstance(value, (int, float)):
        return (0, float(value), "")
    return (1, 0, str(value))
