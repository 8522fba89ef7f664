"""``klamm acl``: list, create, delete, who-can, explain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from klamm.cli.guard import MODERATE, SEVERE, Plan, guard, record
from klamm.cli.output import Column, Item, Result
from klamm.cli.parser import UsageError, suggestion
from klamm.cli.run import Run
from klamm.cli.spec import Argument, Command, Example, Option
from klamm.client import operations
from klamm.client.text import counted

if TYPE_CHECKING:
    from klamm.client.acls import Acl, AclFilter

_KINDS = ("topic", "group", "cluster", "transactional-id", "delegation-token", "user")
_RESOURCE = (
    Option(("--topic",), "on this topic", "NAME"),
    Option(("--group",), "on this group", "NAME"),
    Option(("--cluster",), "on the cluster"),
    Option(("--transactional-id",), "on this transactional id", "NAME"),
    Option(("--delegation-token",), "on this delegation token", "ID"),
    Option(("--user",), "on this user (delegation tokens)", "NAME"),
    Option(("--prefixed",), "the name is a prefix"),
    Option(("--literal",), "the name is no prefix"),
)
_WHO = (
    Option(("--principal",), "who: User:alice or alice", "PRINCIPAL"),
    Option(("--host",), "from this address", "ADDRESS"),
    Option(("--operation",), "read, write, describe, …, all", "NAME,…"),
    Option(("--deny",), "entries that forbid"),
    Option(("--allow",), "entries that allow"),
)
COLUMNS = (
    Column("PRINCIPAL", "principal"),
    Column("PERMISSION", "permission"),
    Column("OPERATION", "operation"),
    Column("RESOURCE", "resource_type"),
    Column("NAME", "resource_name"),
    Column("PATTERN", "pattern"),
    Column("HOST", "host"),
)


async def list_acls(run: Run) -> Result:
    """List ACLs."""
    from klamm.client import acls

    found = await acls.list_acls(run.cluster, _filter(run))
    return Result([_item(acl) for acl in found], COLUMNS, empty="no ACLs")


async def create_acls(run: Run) -> Result:
    """Create ACLs, one for each operation."""
    from klamm.client.acls import OPERATIONS, Acl, AclFilter, principal_of
    from klamm.client.acls import create_acls as create
    from klamm.client.acls import list_acls as list_those

    kind, name = _resource(run)
    principal = run.values.text("principal")
    rights = [each.lower() for each in (run.values.text("operation") or "").split(",") if each]
    if kind is None or principal is None or not rights:
        msg = "klamm acl create needs --principal, --operation and one of --topic, --group, --cluster"
        raise UsageError(msg)
    for each in rights:
        if each not in OPERATIONS or each == "any":
            msg = f"--operation {each!r} is none.{suggestion(each, OPERATIONS)} There is: {', '.join(OPERATIONS)}"
            raise UsageError(msg)
    pattern = "prefixed" if run.values.flag("prefixed") else "literal"
    if name is not None and "*" in name and name != "*":
        run.note(
            f"note: {name!r} is meant as it stands: brokers know no globs but * alone; --prefixed takes a beginning"
        )
    permission = "deny" if run.values.flag("deny") else "allow"
    wanted = [
        Acl(kind, name or "*", pattern, principal_of(principal), run.values.text("host") or "*", each, permission)
        for each in rights
    ]
    there = set(await list_those(run.cluster, AclFilter(kind, name, pattern, wanted[0].principal)))
    new = [acl for acl in wanted if acl not in there]  # the others are not ours to take back
    items = [_item(acl) | {"created": False} for acl in wanted]
    lines = [acl.text() + (": is there already" if acl in there else "") for acl in wanted]
    if not new:
        run.note("\n".join(lines))
        return Result(items, COLUMNS)
    if not await guard(run, Plan(f"create {counted(len(new), 'ACL')}", MODERATE, principal, lines)):
        return Result(items, COLUMNS)
    errors = await create(run.cluster, new)
    if errors:
        return Result([], COLUMNS, errors)
    await record(run, "; ".join(acl.text() for acl in new), [operations.delete_acls(new)])
    return Result([item | {"created": acl in new} for item, acl in zip(items, wanted, strict=True)], COLUMNS)


async def delete_acls(run: Run) -> Result:
    """Delete the ACLs that the options find."""
    from klamm.client import acls

    wanted = _filter(run)
    if wanted == acls.AclFilter() and not run.values.flag("all"):
        msg = "klamm acl delete without an option would delete every ACL; say --all if that is meant"
        raise UsageError(msg)
    found = await acls.list_acls(run.cluster, wanted)
    if not found:
        return Result((), COLUMNS, empty="no such ACLs")
    level = SEVERE if run.values.flag("all") else MODERATE
    name = "all ACLs" if level == SEVERE else run.values.text("principal") or "these ACLs"
    if not await guard(run, Plan(f"delete {counted(len(found), 'ACL')}", level, name, [acl.text() for acl in found])):
        return Result([_item(acl) | {"deleted": False} for acl in found], COLUMNS)
    gone, errors = await acls.delete_acls(run.cluster, found)
    if gone:
        await record(run, f"deleted {counted(len(gone), 'ACL')}", [operations.create_acls(gone)])
    return Result([_item(acl) | {"deleted": True} for acl in gone], COLUMNS, errors)


async def who_can(run: Run) -> Result:
    """Show who may do something, by the ACLs."""
    from klamm.client import acls

    operation = _operation(run)
    resource = _named(run)
    found = await acls.list_acls(run.cluster)
    principals = sorted({acl.principal for acl in found})
    items: list[Item] = []
    for principal in principals:
        hosts = sorted({acl.host for acl in found if acl.principal in {principal, acls.ANY_PRINCIPAL}})
        for host in hosts:
            decision = acls.decide(found, principal, host, operation, resource)
            if decision.allowed:
                because = "; ".join(acl.text() for acl in decision.entries)
                items.append({"name": principal, "principal": principal, "host": host, "because": because})
    run.note("Super users and allow.everyone.if.no.acl.found are brokers' configs: klamm broker config ID")
    columns = (Column("PRINCIPAL", "principal"), Column("HOST", "host"), Column("BECAUSE", "because"))
    return Result(items, columns, empty=f"nobody may {operation} {resource[0]} {resource[1]} by the ACLs")


async def explain(run: Run) -> Result:
    """Tell why somebody may or may not do something; exit code 3 if not."""
    from klamm.client import acls

    principal = acls.principal_of(run.values.required("principal"))
    operation = _operation(run)
    resource = _named(run)
    decision = acls.decide(
        await acls.list_acls(run.cluster), principal, run.values.text("from") or "*", operation, resource
    )
    item = {
        "name": principal,
        "operation": operation,
        "resource": f"{resource[0]} {resource[1]}",
        "allowed": decision.allowed,
        "reason": decision.reason,
        "entries": [acl.text() for acl in decision.entries],
    }
    columns = (
        Column("PRINCIPAL", "name"),
        Column("OPERATION", "operation"),
        Column("RESOURCE", "resource"),
        Column("ALLOWED", "allowed"),
        Column("REASON", "reason"),
        Column("ENTRIES", "entries"),
    )
    return Result([item], columns, exit_code=0 if decision.allowed else 3)


def _item(acl: Acl) -> Item:
    return {"name": acl.text(), **acl._asdict()}


def _resource(run: Run) -> tuple[str | None, str | None]:
    from klamm.client.acls import CLUSTER_NAME

    named: list[tuple[str, str | None]] = [
        (kind.replace("_", "-"), run.values.text(kind))
        for kind in ("topic", "group", "transactional_id", "delegation_token", "user")
    ]
    found = [(kind, name) for kind, name in named if name is not None]
    if run.values.flag("cluster"):
        found.append(("cluster", CLUSTER_NAME))
    for some in ([f"--{kind}" for kind, _ in found], *_given(run, ("--literal", "--prefixed"), ("--allow", "--deny"))):
        if len(some) > 1:
            msg = f"klamm {run.command.path} takes {' or '.join(some)}, not both"
            raise UsageError(msg)
    return found[0] if found else (None, None)


def _given(run: Run, *pairs: tuple[str, str]) -> list[list[str]]:
    return [[option for option in pair if run.values.flag(option[2:])] for pair in pairs]


def _filter(run: Run) -> AclFilter:
    from klamm.client.acls import OPERATIONS, AclFilter, principal_of

    kind, name = _resource(run)
    operation = (run.values.text("operation") or "any").lower()
    if operation not in OPERATIONS:
        msg = f"--operation {operation!r} is none.{suggestion(operation, OPERATIONS)}"
        raise UsageError(msg)
    principal = run.values.text("principal")
    return AclFilter(
        kind or "any",
        name,
        "prefixed" if run.values.flag("prefixed") else "literal" if run.values.flag("literal") else "any",
        None if principal is None else principal_of(principal),
        run.values.text("host"),
        operation,
        "deny" if run.values.flag("deny") else "allow" if run.values.flag("allow") else "any",
    )


def _operation(run: Run) -> str:
    from klamm.client.acls import OPERATIONS

    operation = run.values.required("operation").lower()
    if operation not in OPERATIONS:
        msg = f"{operation!r} is no operation.{suggestion(operation, OPERATIONS)} There is: {', '.join(OPERATIONS)}"
        raise UsageError(msg)
    return operation


def _named(run: Run) -> tuple[str, str]:
    from klamm.client.acls import CLUSTER_NAME

    kind, name = run.values.required("kind"), run.values.text("name")
    if kind == "cluster":
        return kind, CLUSTER_NAME
    if name is None:
        msg = f"which {kind}? klamm acl {run.command.path.split()[1]} … {kind} NAME"
        raise UsageError(msg)
    return kind, name


_QUESTION = (
    Argument("operation", "read, write, create, delete, alter, describe, …"),
    Argument("kind", ", ".join(_KINDS), choices=_KINDS),
    Argument("name", "its name", required=False),
)
_DESCRIBE, _ALTER = ("DESCRIBE on the cluster",), ("ALTER on the cluster",)
COMMANDS = (
    Command(
        "acl list",
        "List ACLs",
        list_acls,
        "AclList",
        (),
        (*_RESOURCE, *_WHO),
        (Example("klamm acls", "every ACL"), Example("klamm acl list --principal alice", "what is said of alice")),
        ("DescribeAcls",),
        _DESCRIBE,
    ),
    Command(
        "acl create",
        "Create ACLs",
        create_acls,
        "AclChange",
        (),
        (*_RESOURCE, *_WHO),
        (
            Example(
                "klamm acl create --principal alice --operation read,describe --topic orders --yes",
                "alice may read orders",
            ),
            Example(
                "klamm acl create --principal app --operation all --topic app. --prefixed --yes",
                "all topics that begin with app.",
            ),
        ),
        ("DescribeAcls", "CreateAcls"),
        (*_DESCRIBE, *_ALTER),
        level=2,
    ),
    Command(
        "acl delete",
        "Delete the ACLs that the options find",
        delete_acls,
        "AclChange",
        (),
        (*_RESOURCE, *_WHO, Option(("--all",), "every ACL there is")),
        (Example("klamm acl delete --principal alice --topic orders --yes", "alice's on orders"),),
        ("DescribeAcls", "DeleteAcls"),
        (*_DESCRIBE, *_ALTER),
        level=2,
    ),
    Command(
        "acl who-can",
        "Show who may do something",
        who_can,
        "AclWhoCan",
        _QUESTION,
        (),
        (Example("klamm acl who-can write topic orders", "its producers, by the ACLs"),),
        ("DescribeAcls",),
        _DESCRIBE,
    ),
    Command(
        "acl explain",
        "Tell why somebody may or may not do something (exit code 3 if not)",
        explain,
        "AclDecision",
        (Argument("principal", "User:alice or alice"), *_QUESTION),
        (Option(("--from",), "address it comes from", "ADDRESS"),),
        (Example("klamm acl explain alice read topic orders", "allowed or not, and the entries that decide"),),
        ("DescribeAcls",),
        _DESCRIBE,
    ),
)
