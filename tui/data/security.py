"""Who may do what, and how much of it: ACLs, SCRAM users, quotas. One request for each list."""

from __future__ import annotations

from typing import NamedTuple

from klamm.client.acls import list_acls
from klamm.client.errors import ClientError
from klamm.client.quotas import Entity, entity_text, list_quotas
from klamm.client.users import list_users
from klamm.tui.part import Loaded
from klamm.tui.place import Place
from klamm.tui.session import Memory, Session, panel


class UserRow(NamedTuple):
    """A user and its credentials, ``SCRAM-SHA-512 (8192)``."""

    name: str
    credentials: str


class QuotaRow(NamedTuple):
    """One value of one entity."""

    entity: str
    key: str
    value: float
    parts: Entity = ()


async def load_acls(session: Session, _place: Place, _memory: Memory) -> Loaded:
    """Return every entry."""
    return Loaded(session.now_ms, {"acls": await panel(session, list_acls(session.cluster), what="access rules")})


async def load_users(session: Session, _place: Place, _memory: Memory) -> Loaded:
    """Return every SCRAM user."""
    return Loaded(session.now_ms, {"users": await panel(session, _users(session), what="users with passwords")})


async def load_quotas(session: Session, _place: Place, _memory: Memory) -> Loaded:
    """Return every value of every entity."""
    return Loaded(session.now_ms, {"quotas": await panel(session, _quotas(session), what="quotas")})


async def _users(session: Session) -> tuple[list[UserRow], dict[str, ClientError]]:
    found, errors = await list_users(session.cluster)
    rows = [
        UserRow(user.name, ", ".join(f"{mechanism} ({iterations})" for mechanism, iterations in user.credentials))
        for user in found
    ]
    return rows, errors


async def _quotas(session: Session) -> list[QuotaRow]:
    return [
        QuotaRow(entity_text(quota.entity), key, value, quota.entity)
        for quota in await list_quotas(session.cluster)
        for key, value in sorted(quota.values.items())
    ]
