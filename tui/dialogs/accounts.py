"""Changes of SCRAM users and of client quotas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from klamm.client import operations
from klamm.client.acls import AclFilter, list_acls
from klamm.client.errors import ClientError
from klamm.client.guard import MODERATE, Plan
from klamm.client.quotas import KEYS, Entity, entity_text, list_quotas, plan_quotas, quota_text, quota_values
from klamm.client.text import counted
from klamm.client.users import (
    ITERATIONS_DEFAULT,
    ITERATIONS_MAX,
    ITERATIONS_MIN,
    MECHANISMS,
    delete_users,
    list_users,
    set_password,
)
from klamm.tui.dialogs.change import Change, Done, Field, Prepared, Values
from klamm.tui.session import Session

_STRONGEST = "SCRAM-SHA-512"
_KINDS = ("user", "client-id", "ip")
_DEFAULT = "default"


class SetPassword(Change):
    """A new user, or another password for one that is there."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.title = "Change a password" if name else "Create a user"
        self.fields = (
            *([] if name else [Field("name", "Name")]),
            Field("password", "Password", "", "never shown, and in no command line", secret=True),
            Field("mechanism", "Mechanism", _STRONGEST, "or SCRAM-SHA-256"),
            Field("iterations", "Iterations", str(ITERATIONS_DEFAULT), f"{ITERATIONS_MIN} to {ITERATIONS_MAX}"),
        )

    async def prepare(self, session: Session, values: Values) -> Prepared:
        """Look whether there is such a user."""
        name, password = self.name or values["name"].strip(), values["password"]
        mechanism, iterations = values["mechanism"].strip().upper(), values["iterations"].strip()
        verb = "alter" if self.name else "create"
        what = f"change the {mechanism} password of {name}" if self.name else f"create user {name or '…'}"
        plan = Plan(what, MODERATE, name, (), "the old password cannot be read back" if self.name else "")
        words = ["user", verb, name, "--mechanism", mechanism, "--iterations", iterations]
        words += ["--password-file", "-", "--yes"]
        if not name:
            return Prepared(plan, words, problem="a user needs a name")
        if mechanism not in MECHANISMS:
            return Prepared(plan, words, problem=f"there is no {mechanism!r}; there is {', '.join(MECHANISMS)}")
        if not iterations.isdigit():
            return Prepared(plan, words, problem=f"iterations are a number, not {iterations!r}")
        if not ITERATIONS_MIN <= int(iterations) <= ITERATIONS_MAX:
            return Prepared(plan, words, problem=f"iterations are {ITERATIONS_MIN} to {ITERATIONS_MAX}")
        found, _ = await list_users(session.cluster, [name])
        has = dict(found[0].credentials) if found else {}
        plan = plan._replace(lines=[*_passwords(has), f"+ {mechanism} with {iterations} iterations"])
        if not self.name and mechanism in has:
            return Prepared(plan, words, problem=f"user {name} has a {mechanism} password already: change it instead")
        if not password:
            return Prepared(plan, words, problem="which password?")

        async def apply() -> Done:
            await set_password(session.cluster, name, mechanism, password, int(iterations))
            inverse = [] if mechanism in has else [operations.delete_users([(name, mechanism)])]
            return Done(what.replace("create", "created"), (), inverse, plan.cannot_undo)

        return Prepared(plan, words, apply, "" if mechanism in has else "deletes the password again")


class DeleteUsers(Change):
    """Users with all their credentials."""

    title = "Delete users"

    def __init__(self, names: Sequence[str]) -> None:
        self.names = list(names)

    async def prepare(self, session: Session, values: Values) -> Prepared:
        """Find their credentials and what else names them."""
        found, errors = await list_users(session.cluster, self.names)
        credentials = [(user.name, mechanism) for user in found for mechanism, _ in user.credentials]
        lines = [f"- {name} {mechanism}" for name, mechanism in credentials]
        lines += [line for user in found for line in await _hangs_on(session, user.name)]
        what = f"delete user {self.names[0]}" if len(self.names) == 1 else f"delete {len(self.names)} users"
        plan = Plan(what, MODERATE, ",".join(self.names), lines, "a password cannot be read back")
        commands = [["user", "delete", name, "--yes"] for name in self.names]
        if not credentials:
            problem = next((error.message for error in errors.values()), "they are gone already")
            return Prepared(plan, commands[0], problem=problem, also=commands[1:], names=self.names)

        async def apply() -> Done:
            gone, errors = await delete_users(session.cluster, credentials)
            return Done(what.replace("delete", "deleted"), errors, (), plan.cannot_undo, bool(gone))

        return Prepared(plan, commands[0], apply, also=commands[1:], names=self.names)


class AlterQuotas(Change):
    """Quotas of one entity: set, or with nothing after the sign removed."""

    title = "Set quotas"

    def __init__(self, entity: Entity = (), values: Mapping[str, float] | None = None) -> None:
        named = {kind: _DEFAULT if name is None else name for kind, name in entity}
        pairs = " ".join(f"{key}={value:.15g}" for key, value in (values or {}).items())
        self.fields = (
            Field("user", "User", named.get("user", ""), "empty: any; default: who has none of its own"),
            Field("client-id", "Client id", named.get("client-id", ""), "empty: any; default"),
            Field("ip", "Address", named.get("ip", ""), "instead of both"),
            Field("values", "Quotas", pairs, "producer_byte_rate=1048576; KEY= removes"),
        )
        self.starts_at = "values" if entity else ""

    async def prepare(self, session: Session, values: Values) -> Prepared:
        """Show before and after, and have the broker check it."""
        cluster = session.cluster
        entity = tuple((kind, None if name == _DEFAULT else name) for kind in _KINDS if (name := values[kind].strip()))
        name, wanted = entity_text(entity), quota_values(values["values"].split())
        words = [
            "quota",
            "alter",
            *(f"{key}={'' if value is None else f'{value:.15g}'}" for key, value in wanted.items()),
        ]
        words += [word for kind, each in entity for word in (f"--{kind}", each or _DEFAULT)] + ["--yes"]
        plan = Plan(f"change {counted(len(wanted), 'quota')} of {name or '…'}", MODERATE, name)
        if not entity:
            return Prepared(plan, words, problem="whose? a user, a client id or an address")
        change = await plan_quotas(cluster, entity, wanted)
        if not wanted:
            known = [f"{key}  {quota_text(key, value)}" for key, value in change.before.items()]
            return Prepared(change.plan._replace(lines=known), words, problem=f"which? there is {', '.join(KEYS)}")
        if not change.values:
            return Prepared(change.plan, words, problem="that is what they are now")

        async def apply() -> Done:
            return Done.of(await change.apply(cluster))

        return Prepared(change.plan, words, apply, "sets them back to what they were")


class RemoveQuotas(AlterQuotas):
    """Quotas of one entity taken away."""

    title = "Remove quotas"

    def __init__(self, entity: Entity, keys: Sequence[str]) -> None:
        super().__init__(entity)
        self._values = dict.fromkeys(_KINDS, "") | {kind: _DEFAULT if n is None else n for kind, n in entity}
        self._values["values"] = " ".join(f"{key}=" for key in keys)
        self.fields, self.starts_at = (), ""

    async def prepare(self, session: Session, values: Values) -> Prepared:
        """Show what goes."""
        return await super().prepare(session, self._values)


def _passwords(has: Mapping[str, int]) -> list[str]:
    return [f"has {mechanism} with {iterations} iterations" for mechanism, iterations in has.items()]


async def _hangs_on(session: Session, name: str) -> list[str]:
    """Return what names a user and stays: access rules, quotas; nothing where that may not be seen."""
    lines: list[str] = []
    try:
        rules = await list_acls(session.cluster, AclFilter(principal=f"User:{name}"))
        quotas = await list_quotas(session.cluster, [("user", name)])
    except ClientError as error:
        return [f"what else names {name} cannot be seen: {error.message}"]
    lines += [f"{len(rules)} access rules name User:{name} and stay"] if rules else []
    return lines + ([f"{len(quotas)} quotas of user {name} stay"] if quotas else [])
