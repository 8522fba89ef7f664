"""ACLs, users, quotas: one table each."""

from __future__ import annotations

from collections.abc import Callable

from textual.app import ComposeResult

from klamm.client.acls import Acl
from klamm.client.text import count_text, size_text
from klamm.tui.columns import Cell, Column
from klamm.tui.data.security import QuotaRow, UserRow
from klamm.tui.signs import Signs
from klamm.tui.table import TableView
from klamm.tui.view import View


def acl_columns(signs: Signs) -> list[Column]:
    """Return the columns of ACLs."""

    def permission(acl: Acl) -> Cell:
        if acl.permission == "deny":
            return Cell(f"{signs.bad} deny", "warn")
        return Cell(f"{signs.good} {acl.permission}", "good")

    def resource(acl: Acl) -> Cell:
        return Cell(acl.resource_name + ("*" if acl.pattern == "prefixed" else ""))

    return [
        Column("principal", "PRINCIPAL", lambda a: a.principal, None, 20, flex=True, search=True),
        Column("permission", "MAY", lambda a: a.permission, permission, 7, search=True),
        Column("operation", "OPERATION", lambda a: a.operation, None, 16, search=True),
        Column("type", "ON", lambda a: a.resource_type, lambda a: Cell(a.resource_type, "dim"), 16, search=True),
        Column("resource", "RESOURCE", lambda a: a.resource_name, resource, 20, flex=True, search=True),
        Column("host", "FROM", lambda a: a.host, lambda a: Cell(a.host, "dim"), 16, drop=1, search=True),
    ]


class AclsView(View):
    """All access control entries."""

    HELP = "Who may do what. A deny wins over every allow; a name with * at its end is a prefix."

    def compose(self) -> ComposeResult:
        """Yield the table."""
        yield TableView(
            "acls",
            acl_columns(self.signs),
            title="ACLs",
            key=lambda acl: acl,
            sort="principal",
            empty="There is no entry: with an authorizer only super users may do anything.",
        )

    def copy_text(self, row: Acl) -> str:
        """Return the entry in words."""
        return row.text()

    def command_line(self) -> str:
        """Return the command that lists the same."""
        return "klamm acl list"


USER_COLUMNS = [
    Column("name", "USER", lambda r: r.name, None, 24, flex=True, search=True),
    Column("credentials", "CREDENTIALS", lambda r: r.credentials, None, 30, flex=True, search=True),
]


class UsersView(View):
    """All SCRAM users."""

    HELP = "Users with SCRAM credentials, and how many iterations each has. Passwords are nowhere to be had."

    def compose(self) -> ComposeResult:
        """Yield the table."""
        yield TableView("users", USER_COLUMNS, title="Users", sort="name", empty="No user has SCRAM credentials.")

    def copy_text(self, row: UserRow) -> str:
        """Return the user's name."""
        return row.name

    def command_line(self) -> str:
        """Return the command that lists the same."""
        return "klamm user list"


_SHOWN: dict[str, Callable[[float], str]] = {
    "producer_byte_rate": lambda value: f"{size_text(value)}/s",
    "consumer_byte_rate": lambda value: f"{size_text(value)}/s",
    "request_percentage": lambda value: f"{value:g} %",
}


def quota_text(row: QuotaRow) -> str:
    """Return a quota's value with its unit."""
    show = _SHOWN.get(row.key)
    return show(row.value) if show is not None else f"{count_text(int(row.value))}/s"


QUOTA_COLUMNS = [
    Column("entity", "ENTITY", lambda r: r.entity, None, 30, flex=True, search=True),
    Column("key", "QUOTA", lambda r: r.key, None, 26, search=True),
    Column("value", "LIMIT", lambda r: r.value, quota_text, 16, right=True, descending=True),
]


class QuotasView(View):
    """All client quotas."""

    HELP = "What clients are held to. The most specific entity wins: user and client id, user, client id, defaults."

    def compose(self) -> ComposeResult:
        """Yield the table."""
        yield TableView(
            "quotas",
            QUOTA_COLUMNS,
            title="Quotas",
            key=lambda row: (row.entity, row.key),
            sort="entity",
            empty="No quota is set: nobody is held back.",
        )

    def copy_text(self, row: QuotaRow) -> str:
        """Return the entity and its value, as ``klamm quota alter`` takes them."""
        return f"{row.entity} {row.key}={row.value:.15g}"

    def command_line(self) -> str:
        """Return the command that lists the same."""
        return "klamm quota describe"
