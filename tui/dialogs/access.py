"""Changes of access rules (ACLs): create, delete."""

from __future__ import annotations

from collections.abc import Sequence

from klamm.client import operations
from klamm.client.acls import (
    ANY_PRINCIPAL,
    CLUSTER_NAME,
    KINDS,
    OPERATIONS,
    WILDCARD,
    Acl,
    create_acls,
    delete_acls,
    list_acls,
    principal_of,
)
from klamm.client.errors import SettingsError
from klamm.client.guard import MODERATE, Plan
from klamm.tui.dialogs.change import Change, Done, Field, Prepared, Values
from klamm.tui.session import Session


class CreateAcls(Change):
    """Entries for one principal on one resource, one for each operation; like one that is there, if one is given."""

    title = "Create access rules"

    def __init__(self, like: Acl | None = None) -> None:
        self.fields = (
            Field(
                "principal", "Who", "" if like is None else like.principal, "alice, or User:alice; User:* is everyone"
            ),
            Field("permission", "May", "allow" if like is None else like.permission, "allow or deny"),
            Field("operations", "Operations", "" if like is None else like.operation, "read,write,describe,…, or all"),
            Field(
                "resource", "On", "" if like is None else _typed(like), "topic orders, topic app.* (prefix), group g"
            ),
            Field("host", "From", WILDCARD if like is None else like.host, "an address; * is anywhere"),
        )

    async def prepare(self, session: Session, values: Values) -> Prepared:
        """Compare with what there is."""
        principal = principal_of(values["principal"].strip())
        plan = Plan("create access rules", MODERATE, principal)
        if not principal or not values["operations"].strip() or not values["resource"].strip():
            return Prepared(plan, ["acl", "create"], problem="who may do what, on what?")
        wanted = _entries(principal, values)
        there = await list_acls(session.cluster)
        new = [acl for acl in wanted if acl not in there]
        count = f"{len(new)} access rule{'' if len(new) == 1 else 's'}"
        lines = [f"+ {acl.text()}" for acl in new]
        lines += [f"{acl.text()}: is there already" for acl in wanted if acl in there]
        lines += _consequences(wanted[0], there)
        plan = plan._replace(what=f"create {count}", lines=lines)
        words = ["acl", "create", *acl_words(wanted[0], ",".join(acl.operation for acl in wanted)), "--yes"]
        if not new:
            return Prepared(plan, words, problem="all of them are there already")

        async def apply() -> Done:
            errors = await create_acls(session.cluster, new)
            inverse = () if errors else [operations.delete_acls(new)]
            return Done(f"created {count}", errors, inverse, changed=not errors)

        return Prepared(plan, words, apply, "deletes them again")


class DeleteAcls(Change):
    """Exactly these entries."""

    title = "Delete access rules"

    def __init__(self, acls: Sequence[Acl]) -> None:
        self.acls = list(acls)

    async def prepare(self, session: Session, values: Values) -> Prepared:
        """Find the entries, and who is left without any."""
        there = await list_acls(session.cluster)
        found = [acl for acl in self.acls if acl in there]
        left = [acl for acl in there if acl not in found]
        lines = [f"- {acl.text()}" for acl in found]
        without = {acl.principal for acl in found} - {acl.principal for acl in left}
        lines += [f"{principal} has no rule left" for principal in sorted(without)]
        for acl in found:
            others = [each for each in left if _resource(each) == _resource(acl)]
            line = f"no rule is left on {_typed(acl)}: allow.everyone.if.no.acl.found decides there"
            if not others and line not in lines:
                lines.append(line)
        count = f"{len(found)} access rule{'' if len(found) == 1 else 's'}"
        plan = Plan(f"delete {count}", MODERATE, ",".join(sorted({acl.principal for acl in found})), lines)
        commands = [["acl", "delete", *acl_words(acl, acl.operation, exact=True), "--yes"] for acl in found]
        if not found:
            return Prepared(plan, ["acl", "delete"], problem="they are gone already")

        async def apply() -> Done:
            gone, errors = await delete_acls(session.cluster, found)
            inverse = [operations.create_acls(gone)] if gone else ()
            return Done(f"deleted {count}", errors, inverse, changed=bool(gone))

        names = [acl.principal for acl in found]
        return Prepared(plan, commands[0], apply, "creates them again", also=commands[1:], names=names)


def acl_words(acl: Acl, operations: str, *, exact: bool = False) -> list[str]:
    """Return the options of ``klamm acl`` that mean an entry; ``exact`` leaves none of a filter's fields open."""
    words = ["--principal", acl.principal, "--operation", operations]
    words += ["--cluster"] if acl.resource_type == "cluster" else [f"--{acl.resource_type}", acl.resource_name]
    words += ["--prefixed"] if acl.pattern == "prefixed" else ["--literal"] if exact else []
    words += ["--deny"] if acl.permission == "deny" else ["--allow"] if exact else []
    return [*words, *(["--host", acl.host] if exact or acl.host != WILDCARD else [])]


def _entries(principal: str, values: Values) -> list[Acl]:
    """Return the entries that are asked for.

    Raises:
        SettingsError: A word is none that Kafka knows.
    """
    permission = values["permission"].strip().lower()
    if permission not in {"allow", "deny"}:
        msg = f"May: allow or deny, not {permission!r}"
        raise SettingsError(msg)
    kind, _, name = values["resource"].strip().partition(" ")
    kind, name = kind.lower(), name.strip()
    if kind not in KINDS:
        msg = f"On: {kind!r} is no kind of resource; there is {', '.join(KINDS)}"
        raise SettingsError(msg)
    if kind == "cluster":
        name = CLUSTER_NAME
    if not name:
        msg = f"On: which {kind}? {kind} NAME, {kind} PREFIX* or {kind} *"
        raise SettingsError(msg)
    prefixed = name.endswith(WILDCARD) and name != WILDCARD
    operations = [each.strip().lower() for each in values["operations"].split(",") if each.strip()]
    for each in operations:
        if each not in OPERATIONS or each == "any":
            msg = f"Operations: {each!r} is none; there is {', '.join(word for word in OPERATIONS if word != 'any')}"
            raise SettingsError(msg)
    pattern = "prefixed" if prefixed else "literal"
    host = values["host"].strip() or WILDCARD
    name = name[:-1] if prefixed else name
    return [Acl(kind, name, pattern, principal, host, each, permission) for each in dict.fromkeys(operations)]


def _consequences(acl: Acl, there: Sequence[Acl]) -> list[str]:
    lines: list[str] = []
    if acl.permission == "deny":
        lines.append("a deny wins over every allow")
        if acl.principal == ANY_PRINCIPAL:
            lines.append("this is for everyone but super users, yourself too")
    elif acl.principal == ANY_PRINCIPAL:
        lines.append("this is for everyone")
    if not any(_resource(each) == _resource(acl) for each in there):
        lines.append(
            f"the first rule on {_typed(acl)}: with allow.everyone.if.no.acl.found=true all others may no longer use it"
        )
    return lines


def _resource(acl: Acl) -> tuple[str, str, str]:
    return acl.resource_type, acl.resource_name, acl.pattern


def _typed(acl: Acl) -> str:
    """Return a resource as it is typed."""
    if acl.resource_type == "cluster":
        return "cluster"
    return f"{acl.resource_type} {acl.resource_name}{WILDCARD if acl.pattern == 'prefixed' else ''}"
