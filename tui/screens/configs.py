"""Config entries as a table: topics, brokers and groups have them alike."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType

from klamm.client.configs import ConfigEntry, Resource
from klamm.client.errors import ClientError
from klamm.tui.columns import Cell, Column
from klamm.tui.dialogs.change import MenuItem
from klamm.tui.signs import Signs
from klamm.tui.view import View


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
        Column("key", "CONFIG", lambda r: r.name, key, 36, flex=True, search=True, shows_more=True),
        Column("value", "VALUE", lambda r: r.value or "", value, 16, flex=True, search=True),
        Column("source", "SOURCE", lambda r: r.source, lambda r: Cell(r.source, "dim"), 9, search=True, drop=1),
        Column("default", "DEFAULT", lambda r: r.default or "", default, 14, drop=2),
        Column("changed", "SET", lambda r: r.overridden, changed, 4, drop=3, descending=True),
        Column("doc", "WHAT IT DOES", lambda r: r.documentation or "", doc, 20, flex=True, search=True, drop=4),
    ]


class ConfigsView(View):
    """A screen with a panel of configs, which ``e`` edits one by one and ``E`` together, in the person's editor."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("e", "edit", "Edit a config", show=False, priority=True, id="configs.edit"),
        Binding("E", "edit_all", "Edit all configs in $EDITOR", show=False, id="configs.edit-all"),
    ]

    @property
    def resource(self) -> Resource:
        """Whose configs they are."""
        return (self.place.kind, self.place.name)

    def config_changes(self) -> list[MenuItem]:
        """Return what can be done to the config under the cursor, where the configs have the focus."""
        from klamm.tui.dialogs.topics import EditConfig

        config: ConfigEntry | None = self.table("configs").rows.current
        if not self.table("configs").has_focus or config is None:
            return []
        return [MenuItem(f"Edit {config.name}…", lambda: EditConfig(self.resource, config.name, config.value))]

    def show_config(self, entry: ConfigEntry) -> None:
        """Tell all of one config."""
        from klamm.tui.about import AboutScreen

        facts = [
            ("value", "(secret)" if entry.sensitive else entry.value or ""),
            ("default", "" if entry.default is None else entry.default),
            ("set by", entry.source),
        ]
        facts += [("", "it cannot be changed while the broker runs")] if entry.read_only else []
        about = plain(entry.documentation) or "The broker sends no documentation."
        self.app.push_screen(AboutScreen(self.klamm, entry.name, facts, about))

    def action_edit(self) -> None:
        """Edit the config under the cursor."""
        items = self.config_changes()
        if items:
            self.klamm.open_change(items[0].make())
        else:
            self.klamm.say("Tab goes to the configs; e edits the one under the cursor, E all in $EDITOR", "dim")

    def action_edit_all(self) -> None:
        """Edit all configs in the person's editor; what comes of it is shown before it is sent."""
        from klamm.tui import outside
        from klamm.tui.dialogs.configs import EditConfigs, read_configs, write_configs

        entries: list[ConfigEntry] = list(self.table("configs").rows.all)
        if not entries:
            self.klamm.say("the configs have not been loaded", "dim")
            return
        edited = outside.edit(self.klamm, f"{self.place.kind}.properties", write_configs(self.resource, entries))
        if edited is None:
            self.klamm.say("nothing was edited", "dim")
            return
        try:
            changes = read_configs(edited, self.resource, entries)
        except ClientError as error:
            self.klamm.say(error.message, "bad")
            return
        if changes:
            self.klamm.open_change(EditConfigs(self.resource, changes))
        else:
            self.klamm.say("nothing was edited", "dim")


def plain(documentation: str | None) -> str:
    """Return a config's documentation without the marks of HTML that Apache Kafka's have."""
    import re

    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", documentation or "")).strip()
