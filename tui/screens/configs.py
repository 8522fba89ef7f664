"""Config entries as a table: topics, brokers and groups have them alike."""

from __future__ import annotations

from klamm.client.configs import ConfigEntry
from klamm.tui.columns import Cell, Column
from klamm.tui.signs import Signs


def config_columns(signs: Signs) -> list[Column]:
    """Return the columns; what was set on the resource itself is marked."""

    def key(row: ConfigEntry) -> Cell:
        return Cell(
            f"{signs.mark} {row.name}" if row.overridden else f"  {row.name}", "accent" if row.overridden else ""
        )

    def value(row: ConfigEntry) -> Cell:
        if row.sensitive:
            return Cell("(secret)", "dim")
        return Cell("" if row.value is None else row.value, "strong" if row.overridden else "")

    def default(row: ConfigEntry) -> Cell:
        return Cell("" if row.default is None or not row.overridden else row.default, "dim")

    def changed(row: ConfigEntry) -> Cell:
        return Cell("yes" if row.overridden else "", "dim")

    def doc(row: ConfigEntry) -> Cell:
        return Cell(plain(row.documentation), "dim")

    return [
        Column("key", "CONFIG", lambda r: r.name, key, 36, flex=True, search=True),
        Column("value", "VALUE", lambda r: r.value or "", value, 16, flex=True, search=True),
        Column("source", "SOURCE", lambda r: r.source, lambda r: Cell(r.source, "dim"), 9, search=True, drop=1),
        Column("default", "DEFAULT", lambda r: r.default or "", default, 14, drop=2),
        Column("changed", "SET", lambda r: r.overridden, changed, 4, drop=3, descending=True),
        Column("doc", "WHAT IT DOES", lambda r: r.documentation or "", doc, 20, flex=True, search=True, drop=4),
    ]


def plain(documentation: str | None) -> str:
    """Return a config's documentation without the marks of HTML that Apache Kafka's have."""
    import re

    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", documentation or "")).strip()
