"""``klamm user``: SCRAM users: list, create, alter, delete."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import NamedTuple

from klamm.cli.guard import MODERATE, Plan, guard, record
from klamm.cli.output import Column, Result
from klamm.cli.parser import UsageError
from klamm.cli.run import Run
from klamm.cli.spec import Argument, Command, Example, Option
from klamm.client import operations
from klamm.client.errors import ClientError

_DUPLICATE_RESOURCE = "DUPLICATE_RESOURCE"
_NAME = Argument("name", "user")
_MECHANISM = Option(
    ("--mechanism",),
    "SCRAM-SHA-256 or SCRAM-SHA-512",
    "NAME",
    default="SCRAM-SHA-512",
    choices=("SCRAM-SHA-256", "SCRAM-SHA-512"),
)
_PASSWORD = (
    Option(("--password-file",), "file with the password; - reads standard input; else $KLAMM_USER_PASSWORD", "PATH"),
    Option(("--iterations",), "4096 to 16384", "COUNT", default="8192"),
)
COLUMNS = (Column("NAME", "name"), Column("CREDENTIALS", "credentials"))
CHANGE_COLUMNS = (Column("NAME", "name"), Column("MECHANISM", "mechanism"), Column("CHANGED", "changed"))


async def list_users(run: Run) -> Result:
    """List SCRAM users."""
    from klamm.client import users

    found, errors = await users.list_users(run.cluster, run.values.texts("names"))
    items = [
        {"name": user.name, "credentials": [f"{mechanism} {iterations}" for mechanism, iterations in user.credentials]}
        for user in found
    ]
    return Result(items, COLUMNS, list(errors.values()), empty="no SCRAM users")


async def create_user(run: Run) -> Result:
    """Create a user; refuses if there is one."""
    from klamm.client import users

    settled = _settled(run)
    name = run.values.required("name")
    found, _ = await users.list_users(run.cluster, [name])
    mechanism = run.values.text("mechanism") or ""
    if any(mechanism == each for user in found for each, _ in user.credentials):
        error = ClientError(
            _DUPLICATE_RESOURCE,
            f"user {name} has a {mechanism} password already",
            f"klamm user alter {name}",
            name=name,
        )
        return Result((), (), [error])
    return await _set_password(run, name, mechanism, settled, new=True)


async def alter_user(run: Run) -> Result:
    """Change a user's password."""
    from klamm.client import users

    settled = _settled(run)
    name = run.values.required("name")
    _, errors = await users.list_users(run.cluster, [name])
    if errors:
        return Result((), (), list(errors.values()))
    return await _set_password(run, name, run.values.text("mechanism") or "", settled, new=False)


async def delete_user(run: Run) -> Result:
    """Delete a user's credentials."""
    from klamm.client import users

    name = run.values.required("name")
    found, errors = await users.list_users(run.cluster, [name])
    credentials = [(name, mechanism) for user in found for mechanism, _ in user.credentials]
    if not credentials:
        return Result((), (), list(errors.values()))
    cannot = "a password cannot be read back"
    lines = [f"{user} {mechanism}" for user, mechanism in credentials]
    go = await guard(run, Plan(f"delete user {name}", MODERATE, name, lines, cannot))
    failed: list[ClientError] = []
    if go:
        credentials, failed = await users.delete_users(run.cluster, credentials)
        if credentials:
            await record(run, f"deleted user {name}", [], cannot)
    items = [{"name": user, "mechanism": mechanism, "changed": go} for user, mechanism in credentials]
    return Result(items, CHANGE_COLUMNS, failed)


async def _set_password(run: Run, name: str, mechanism: str, settled: _Settled, *, new: bool) -> Result:
    from klamm.client import users

    cannot = "" if new else "the old password cannot be read back"
    what = f"create user {name} with {mechanism}" if new else f"change the {mechanism} password of {name}"
    go = await guard(run, Plan(what, MODERATE, name, (), cannot))
    if go:
        password = await _asked(run) if settled.password is None else settled.password
        await users.set_password(run.cluster, name, mechanism, password, settled.iterations)
        inverse = [operations.delete_users([(name, mechanism)])] if new else []
        await record(run, what, inverse, cannot)
    return Result([{"name": name, "mechanism": mechanism, "changed": go}], CHANGE_COLUMNS)


class _Settled(NamedTuple):
    """What a line says of a password, known before anything is connected to; without a password somebody is asked."""

    iterations: int
    password: str | None


def _settled(run: Run) -> _Settled:
    """Return the iterations and the password of the line.

    Raises:
        UsageError: Iterations that no broker takes, a file that cannot be read, or no password and nobody to ask.
    """
    from klamm.client import users

    iterations = run.values.number("iterations") or 0
    if not users.ITERATIONS_MIN <= iterations <= users.ITERATIONS_MAX:
        msg = f"--iterations takes {users.ITERATIONS_MIN} to {users.ITERATIONS_MAX}, not {iterations}"
        raise UsageError(msg)
    password = _given_password(run)
    if password is None and not (run.interactive or run.dry_run):
        msg = "no password: --password-file PATH, or KLAMM_USER_PASSWORD"
        raise UsageError(msg)
    if password == "":
        msg = "the password is empty"
        raise UsageError(msg)
    return _Settled(iterations, password)


def _given_password(run: Run) -> str | None:
    """Return the password from a file, standard input or the environment; never from the line."""
    path = run.values.text("password_file")
    if path == "-":
        return sys.stdin.readline().rstrip("\n")
    if path is not None:
        try:
            return Path(path).read_text().partition("\n")[0]
        except (OSError, UnicodeDecodeError) as error:
            msg = f"--password-file {path}: {error}"
            raise UsageError(msg) from error
    return os.environ.get("KLAMM_USER_PASSWORD") or None


async def _asked(run: Run) -> str:
    """Return the password that somebody types; the deadline waits meanwhile."""
    import getpass

    with run.without_deadline():
        return await asyncio.to_thread(getpass.getpass, "Password: ")


_ALTER = ("ALTER on the cluster",)
COMMANDS = (
    Command(
        "user list",
        "List SCRAM users",
        list_users,
        "UserList",
        (Argument("names", "only these", required=False, repeat=True),),
        (),
        (Example("klamm users", "every user"),),
        ("DescribeUserScramCredentials",),
        ("DESCRIBE on the cluster",),
    ),
    Command(
        "user create",
        "Create a SCRAM user",
        create_user,
        "UserChange",
        (_NAME,),
        (_MECHANISM, *_PASSWORD),
        (Example("klamm user create alice --password-file - --yes < secret", "in a script"),),
        ("DescribeUserScramCredentials", "AlterUserScramCredentials"),
        _ALTER,
        level=2,
    ),
    Command(
        "user alter",
        "Change a SCRAM user's password",
        alter_user,
        "UserChange",
        (_NAME,),
        (_MECHANISM, *_PASSWORD),
        (Example("KLAMM_USER_PASSWORD=… klamm user alter alice --yes", "in a script"),),
        ("DescribeUserScramCredentials", "AlterUserScramCredentials"),
        _ALTER,
        level=2,
    ),
    Command(
        "user delete",
        "Delete a SCRAM user",
        delete_user,
        "UserChange",
        (_NAME,),
        (),
        (Example("klamm user delete alice --yes", "all its credentials"),),
        ("DescribeUserScramCredentials", "AlterUserScramCredentials"),
        _ALTER,
        level=2,
    ),
)
