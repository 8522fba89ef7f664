"""ACLs: list, create, delete, and what they decide (KIP-11, KIP-290)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from klamm.client.cluster import Cluster
from klamm.client.errors import ClientError
from klamm.client.requests import DESCRIBE_CLUSTER_RIGHT, check, failure, shapes

DESCRIBE_ACLS: Final = 29
CREATE_ACLS: Final = 30
DELETE_ACLS: Final = 31
# org.apache.kafka.common.resource.ResourceType, .acl.AclOperation, .acl.AclPermissionType, .resource.PatternType
RESOURCE_TYPES: Final = {
    "any": 1,
    "topic": 2,
    "group": 3,
    "cluster": 4,
    "transactional-id": 5,
    "delegation-token": 6,
    "user": 7,
}
OPERATIONS: Final = {
    "any": 1,
    "all": 2,
    "read": 3,
    "write": 4,
    "create": 5,
    "delete": 6,
    "alter": 7,
    "describe": 8,
    "cluster-action": 9,
    "describe-configs": 10,
    "alter-configs": 11,
    "idempotent-write": 12,
    "create-tokens": 13,
    "describe-tokens": 14,
    "two-phase-commit": 15,
}
KINDS: Final = tuple(kind for kind in RESOURCE_TYPES if kind != "any")
"""What an entry can be on."""
PERMISSIONS: Final = {"any": 1, "deny": 2, "allow": 3}
PATTERNS: Final = {"any": 1, "match": 2, "literal": 3, "prefixed": 4}
CLUSTER_NAME: Final = "kafka-cluster"
WILDCARD: Final = "*"
ANY_PRINCIPAL: Final = "User:*"
# What a broader right includes (AclAuthorizer: ALL everything; READ, WRITE, DELETE and ALTER include DESCRIBE;
# ALTER_CONFIGS includes DESCRIBE_CONFIGS).
_IMPLIED_BY: Final = {
    "describe": ("read", "write", "delete", "alter"),
    "describe-configs": ("alter-configs",),
}


class Acl(NamedTuple):
    """One entry."""

    resource_type: str
    resource_name: str
    pattern: str
    principal: str
    host: str
    operation: str
    permission: str

    def text(self) -> str:
        """Return one line."""
        where = f"{self.resource_type} {self.resource_name}{'*' if self.pattern == 'prefixed' else ''}"
        return f"{self.permission} {self.principal} from {self.host} to {self.operation} {where}"


class AclFilter(NamedTuple):
    """Which entries; None and ``any`` mean all. Pattern ``match`` finds all that apply to a name."""

    resource_type: str = "any"
    resource_name: str | None = None
    pattern: str = "any"
    principal: str | None = None
    host: str | None = None
    operation: str = "any"
    permission: str = "any"


class Decision(NamedTuple):
    """Whether somebody may do something, and the entries that decide."""

    allowed: bool
    reason: str
    entries: list[Acl]


def principal_of(text: str) -> str:
    """Return ``User:alice`` of ``alice``; other principals, and nothing, as they are."""
    return text if ":" in text or not text else f"User:{text}"


async def list_acls(cluster: Cluster, wanted: AclFilter = AclFilter()) -> list[Acl]:  # noqa: B008 (a tuple)
    """Return the entries that a filter finds, sorted."""
    shape = shapes(DESCRIBE_ACLS)
    answer = await cluster.ask(
        DESCRIBE_ACLS,
        shape.DescribeAclsRequest(
            resource_type_filter=RESOURCE_TYPES[wanted.resource_type],
            resource_name_filter=wanted.resource_name,
            pattern_type_filter=PATTERNS[wanted.pattern],
            principal_filter=wanted.principal,
            host_filter=wanted.host,
            operation=OPERATIONS[wanted.operation],
            permission_type=PERMISSIONS[wanted.permission],
        ),
    )
    check(answer.error_code, answer.error_message, needs=DESCRIBE_CLUSTER_RIGHT)
    return sorted(_acl(resource, each) for resource in answer.resources for each in resource.acls)


async def create_acls(cluster: Cluster, acls: Sequence[Acl]) -> list[ClientError]:
    """Add entries; those that are there already stay as they are. Returns what was refused."""
    shape = shapes(CREATE_ACLS)
    answer = await cluster.ask(
        CREATE_ACLS,
        shape.CreateAclsRequest(
            creations=tuple(
                shape.AclCreation(
                    resource_type=RESOURCE_TYPES[acl.resource_type],
                    resource_name=acl.resource_name,
                    resource_pattern_type=PATTERNS[acl.pattern],
                    principal=acl.principal,
                    host=acl.host,
                    operation=OPERATIONS[acl.operation],
                    permission_type=PERMISSIONS[acl.permission],
                )
                for acl in acls
            )
        ),
    )
    found = (
        failure(each.error_code, each.error_message, acl.text()) for each, acl in zip(answer.results, acls, strict=True)
    )
    return [error for error in found if error is not None]


async def delete_acls(cluster: Cluster, acls: Iterable[Acl]) -> tuple[list[Acl], list[ClientError]]:
    """Delete exactly these entries; return those that are gone, and errors."""
    shape = shapes(DELETE_ACLS)
    answer = await cluster.ask(
        DELETE_ACLS,
        shape.DeleteAclsRequest(
            filters=tuple(
                shape.DeleteAclsFilter(
                    resource_type_filter=RESOURCE_TYPES[acl.resource_type],
                    resource_name_filter=acl.resource_name,
                    pattern_type_filter=PATTERNS[acl.pattern],
                    principal_filter=acl.principal,
                    host_filter=acl.host,
                    operation=OPERATIONS[acl.operation],
                    permission_type=PERMISSIONS[acl.permission],
                )
                for acl in acls
            )
        ),
    )
    gone: list[Acl] = []
    errors: list[ClientError] = []
    for result in answer.filter_results:
        error = failure(result.error_code, result.error_message)
        if error is not None:
            errors.append(error)
        for each in result.matching_acls:
            failed = failure(each.error_code, each.error_message)
            if failed is not None:
                errors.append(failed)
            else:
                gone.append(_acl(each, each))
    return gone, errors


def decide(acls: Iterable[Acl], principal: str, host: str, operation: str, resource: tuple[str, str]) -> Decision:
    """Return what the standard authorizer decides: any deny wins, then any allow, then no.

    Super users and ``allow.everyone.if.no.acl.found`` are the brokers' configs and not in the ACLs.
    """
    kind, name = resource
    about = [acl for acl in acls if acl.resource_type == kind and _covers(acl, name)]
    mine = [acl for acl in about if acl.principal in {principal, ANY_PRINCIPAL} and acl.host in {host, WILDCARD}]
    denied = [acl for acl in mine if acl.permission == "deny" and acl.operation in {operation, "all"}]
    if denied:
        return Decision(allowed=False, reason="denied", entries=denied)
    granting = {operation, "all", *_IMPLIED_BY.get(operation, ())}
    allowed = [acl for acl in mine if acl.permission == "allow" and acl.operation in granting]
    if allowed:
        return Decision(allowed=True, reason="allowed", entries=allowed)
    return Decision(allowed=False, reason="nothing allows it" if about else "no ACL is about it", entries=about)


def _covers(acl: Acl, name: str) -> bool:
    if acl.pattern == "prefixed":
        return name.startswith(acl.resource_name)
    return acl.resource_name in {name, WILDCARD}


def _acl(resource: Any, each: Any) -> Acl:  # noqa: ANN401 (a response's elements)
    return Acl(
        _word(RESOURCE_TYPES, resource.resource_type),
        resource.resource_name,
        _word(PATTERNS, resource.pattern_type),
        each.principal,
        each.host,
        _word(OPERATIONS, each.operation),
        _word(PERMISSIONS, each.permission_type),
    )


def _word(words: dict[str, int], number: Any) -> str:  # noqa: ANN401 (a wire integer)
    return next((word for word, each in words.items() if each == int(number)), str(int(number)))
