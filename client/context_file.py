"""One file of contexts: read, and held against what a context may say, before anything is made of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from klamm.client.errors import SettingsError
from klamm.client.text import reason_of

if TYPE_CHECKING:
    from pathlib import Path

_TEXT, _TEXTS, _YES_NO, _TABLE = "a text", "a list of texts", "true or false", "a table"
CONTEXT_KEYS: Final[Mapping[str, str]] = {
    "bootstrap": _TEXTS,
    "cluster_id": _TEXT,
    "env": _TEXT,
    "read_only": _YES_NO,
    "color": _TEXT,
    "protect": _TEXTS,
    "kafka": _TABLE,
    "registry": _TABLE,
    "connect": _TABLE,
    "traces": _TABLE,
}
"""What a context may have, and what each must be. A list of texts may be one text."""
_CONNECT_KEYS: Final[Mapping[str, str]] = {"via": _TEXT, "address_map": _TABLE}


def read_file(path: Path) -> dict[str, Any]:
    """Read one file of contexts.

    Raises:
        SettingsError: It is no TOML, or holds what no context has; names the file, and the line where TOML says it.
    """
    import tomllib  # noqa: PLC0415 (15 ms that a line with -b need not pay)

    try:
        found = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        msg = f"{path}: {reason_of(error)}"
        raise SettingsError(msg, "klamm context edit") from error
    if not isinstance(found.get("current", ""), str):
        msg = f"{path}: current must be a context's name, not {found['current']!r}"
        raise SettingsError(msg, "klamm context edit")
    contexts = found.get("contexts", {})
    if not isinstance(contexts, dict) or not all(isinstance(each, dict) for each in contexts.values()):
        msg = f"{path}: contexts must be tables like [contexts.prod]"
        raise SettingsError(msg, "klamm context edit")
    for name, context in contexts.items():
        _check(context, CONTEXT_KEYS, f"{path}: [contexts.{name}]")
        _check(context.get("connect", {}), _CONNECT_KEYS, f"{path}: [contexts.{name}.connect]")
    return found


def flattened(table: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Return a table's values as texts by dotted names: ``ssl.ca.location = …`` may stand without quotes."""
    found: list[tuple[str, str]] = []
    for key, value in table.items():
        if isinstance(value, dict):
            found += flattened(value, f"{prefix}{key}.")
        elif isinstance(value, list):
            found.append((prefix + key, ",".join(map(str, value))))
        else:
            found.append((prefix + key, str(value).lower() if isinstance(value, bool) else str(value)))
    return found


def texts(value: str | Iterable[str]) -> tuple[str, ...]:
    """Return a list of texts that may have been written as one text, separated by commas."""
    return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else tuple(value)


def _check(table: Mapping[str, Any], keys: Mapping[str, str], where: str) -> None:
    for key, value in table.items():
        if key not in keys:
            import difflib  # noqa: PLC0415

            near = difflib.get_close_matches(key, keys, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; there may be {', '.join(sorted(keys))}"
            msg = f"{where} has {key!r}{hint}"
            raise SettingsError(msg, "klamm context edit")
        if not _is(value, keys[key]):
            table_hint = f": {where.rpartition(': ')[2][:-1]}.{key}]" if keys[key] == _TABLE else ""
            msg = f"{where}: {key} must be {keys[key]}{table_hint}, not {value!r}"
            raise SettingsError(msg, "klamm context edit")


def _is(value: object, wanted: str) -> bool:
    if wanted == _TEXTS:
        return isinstance(value, str) or (isinstance(value, list) and all(isinstance(each, str) for each in value))
    return isinstance(value, {_TEXT: str, _YES_NO: bool, _TABLE: dict}[wanted])
