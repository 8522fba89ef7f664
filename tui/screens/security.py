"""ACLs, users, quotas: one table each."""

from __future__ import annotations

from textual.app import ComposeResult

from klamm.client.acls import Acl
from klamm.client.quotas import quota_text
from klamm.client.text import printable
from klamm.tui.columns import Cell, Column
from klamm.tui.data.security import QuotaRow, UserRow
from klamm.tui.dialogs.change import MenuItem
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

    HELP = (
        "Who may do what. A deny wins over every allow; a name with * at its end is a prefix. a creates rules, X "
        "deletes those that are marked: both with a plan first."
    )

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

    def changes(self) -> list[MenuItem]:
        """Return what can be done to access rules: to the marked ones, or to the one under the cursor."""
        from klamm.tui.dialogs import access

        items = [MenuItem("Create access rules…", access.CreateAcls)]
        chosen: list[Acl] = self.table("acls").rows.chosen()
        if chosen:
            about = printable(chosen[0].text()) if len(chosen) == 1 else f"{len(chosen)} access rules"
            items.append(MenuItem("Create one like this…", lambda: access.CreateAcls(chosen[0])))
            items.append(MenuItem(f"Delete {about}…", lambda: access.DeleteAcls(chosen), destructive=True))
        return items

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

    def changes(self) -> list[MenuItem]:
        """Return what can be done to users: to the marked ones, or to the one under the cursor."""
        from klamm.tui.dialogs import accounts

        items = [MenuItem("Create a user…", accounts.SetPassword)]
        names = [row.name for row in self.table("users").rows.chosen()]
        about = printable(names[0]) if len(names) == 1 else f"{len(names)} users"
        if names:
            items.append(MenuItem(f"Delete {about}…", lambda: accounts.DeleteUsers(names), destructive=True))
        if len(names) == 1:
            items.append(MenuItem(f"Change the password of {about}…", lambda: accounts.SetPassword(names[0])))
        return items

    def copy_text(self, row: UserRow) -> str:
        """Return the user's name."""
        return row.name

    def command_line(self) -> str:
        """Return the command that lists the same."""
        return "klamm user list"


QUOTA_COLUMNS = [
    Column("entity", "ENTITY", lambda r: r.entity, None, 30, flex=True, search=True),
    Column("key", "QUOTA", lambda r: r.key, None, 26, search=True),
    Column("value", "LIMIT", lambda r: r.value, lambda r: quota_text(r.key, r.value), 16, right=True, descending=True),
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

    def changes(self) -> list[MenuItem]:
        """Return what can be done to quotas."""
        from klamm.tui.dialogs import accounts

        items = [MenuItem("Set quotas…", accounts.AlterQuotas)]
        row: QuotaRow | None = self.table("quotas").rows.current
        if row is not None:
            of = printable(f"{row.key} of {row.entity}")
            entity, key, value = row.parts, row.key, row.value
            items.append(MenuItem(f"Set {of}…", lambda: accounts.AlterQuotas(entity, {key: value})))
            items.append(MenuItem(f"Remove {of}…", lambda: accounts.RemoveQuotas(entity, [key]), destructive=True))
        return items

    def copy_text(self, row: QuotaRow) -> str:
        """Return the entity and its value, as ``klamm quota alter`` takes them."""
        return f"{row.entity} {row.key}={row.value:.15g}"

    def command_line(self) -> str:
        """Return the command that lists the same."""
        return "klamm quota describe"
