"""SCRAM users (KIP-554). A password never leaves this process: the broker gets the salted one (RFC 5802)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from klamm.client.cluster import Cluster
from klamm.client.errors import ClientError
from klamm.client.requests import DESCRIBE_CLUSTER_RIGHT, check, failure, shapes

DESCRIBE_USER_SCRAM_CREDENTIALS: Final = 50
ALTER_USER_SCRAM_CREDENTIALS: Final = 51
MECHANISMS: Final = {"SCRAM-SHA-256": 1, "SCRAM-SHA-512": 2}
ITERATIONS_DEFAULT: Final = 8192
ITERATIONS_MIN: Final = 4096
ITERATIONS_MAX: Final = 16384
"""What Kafka's brokers take (``ScramMechanism``, ``ScramControlManager``)."""
_HASHES: Final = {"SCRAM-SHA-256": "sha256", "SCRAM-SHA-512": "sha512"}
_SALT_SIZE_BYTES: Final = 32


class User(NamedTuple):
    """A user with (mechanism, iterations) of each of its credentials."""

    name: str
    credentials: list[tuple[str, int]]


async def list_users(cluster: Cluster, names: Sequence[str] = ()) -> tuple[list[User], dict[str, ClientError]]:
    """Return users, or all, and an error for each name without one."""
    shape = shapes(DESCRIBE_USER_SCRAM_CREDENTIALS)
    # All users are an empty array here and not null, which means the same: whoever may not see users is never answered
    # by Apache Kafka (4.3) after null, because DescribeUserScramCredentialsRequest.getErrorResponse looks into it.
    users = tuple(shape.UserName(name=name) for name in names)
    answer = await cluster.ask(DESCRIBE_USER_SCRAM_CREDENTIALS, shape.DescribeUserScramCredentialsRequest(users=users))
    check(answer.error_code, answer.error_message, needs=DESCRIBE_CLUSTER_RIGHT)
    words = {number: word for word, number in MECHANISMS.items()}
    found: list[User] = []
    errors: dict[str, ClientError] = {}
    for each in answer.results:
        error = failure(each.error_code, each.error_message, each.user)
        if error is not None:
            errors[each.user] = error
        else:
            infos = [(words.get(int(i.mechanism), "?"), int(i.iterations)) for i in each.credential_infos]
            found.append(User(each.user, sorted(infos)))
    return sorted(found), errors


async def set_password(
    cluster: Cluster, name: str, mechanism: str, password: str, iterations: int = ITERATIONS_DEFAULT
) -> None:
    """Create a user's credential or replace it.

    Raises:
        ResponseError: The broker refused.
    """
    salt = os.urandom(_SALT_SIZE_BYTES)
    salted = hashlib.pbkdf2_hmac(_HASHES[mechanism], password.encode(), salt, iterations)
    shape = shapes(ALTER_USER_SCRAM_CREDENTIALS)
    upsertion = shape.ScramCredentialUpsertion(
        name=name, mechanism=MECHANISMS[mechanism], iterations=iterations, salt=salt, salted_password=salted
    )
    answer = await cluster.ask(
        ALTER_USER_SCRAM_CREDENTIALS, shape.AlterUserScramCredentialsRequest(deletions=(), upsertions=(upsertion,))
    )
    for each in answer.results:
        check(each.error_code, each.error_message, each.user)


async def delete_users(
    cluster: Cluster, credentials: Iterable[tuple[str, str]]
) -> tuple[list[tuple[str, str]], list[ClientError]]:
    """Delete (user, mechanism) credentials; return those that are gone, and what was refused.

    Kafka takes one change of a user in a request (DUPLICATE_RESOURCE), so that there is a request for each mechanism.
    """
    shape = shapes(ALTER_USER_SCRAM_CREDENTIALS)
    users: dict[str, list[str]] = {}
    for name, mechanism in credentials:
        users.setdefault(mechanism, []).append(name)
    gone: list[tuple[str, str]] = []
    errors: list[ClientError] = []
    for mechanism, names in users.items():
        answer = await cluster.ask(
            ALTER_USER_SCRAM_CREDENTIALS,
            shape.AlterUserScramCredentialsRequest(
                deletions=tuple(
                    shape.ScramCredentialDeletion(name=name, mechanism=MECHANISMS[mechanism]) for name in names
                ),
                upsertions=(),
            ),
        )
        for each in answer.results:
            error = failure(each.error_code, each.error_message, each.user)
            if error is None:
                gone.append((each.user, mechanism))
            else:
                errors.append(error)
    return gone, errors
