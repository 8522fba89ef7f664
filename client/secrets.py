"""Secrets that stand elsewhere: ``${env:NAME}``, ``${file:PATH}``, ``${cmd:LINE}``, ``${keyring:SERVICE/USER}``."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from importlib import import_module
from pathlib import Path
from typing import Final

from klamm.client.errors import SettingsError

COMMAND_TIMEOUT_S: Final = 30.0
"""A password manager may have to ask for a PIN."""
_REFERENCE: Final = re.compile(r"\$\{(env|file|cmd|keyring|vault):([^}]*)\}")
SECRET_WORDS: Final = ("password", "secret", "token", "jaas", "key.pem", "user.info")


def resolve(text: str) -> str:
    """Return ``text`` with every reference replaced by what it refers to.

    Raises:
        SettingsError: A reference leads nowhere; the message has the reference, never a secret.
    """
    return _REFERENCE.sub(lambda match: _look_up(match[1], match[2]), text) if "${" in text else text


def is_secret(name: str) -> bool:
    """Return whether a property's value must not be shown."""
    return any(word in name.lower() for word in SECRET_WORDS)


def is_reference(text: str) -> bool:
    """Return whether a value is looked up elsewhere, so that the file itself holds no secret."""
    return _REFERENCE.search(text) is not None


def _look_up(kind: str, what: str) -> str:
    if kind == "env":
        value = os.environ.get(what)
        if value is None:
            msg = f"${{env:{what}}}: the environment has no {what}"
            raise SettingsError(msg, f"export {what}=…")
        return value
    if kind == "file":
        try:
            return Path(what).expanduser().read_text().rstrip("\n")
        except (OSError, UnicodeDecodeError) as error:
            msg = f"${{file:{what}}}: {error}"
            raise SettingsError(msg) from error
    if kind == "cmd":
        return _run(what)
    if kind == "keyring":
        return _from_keyring(what)
    msg = f"${{{kind}:…}} is not supported; use ${{cmd:vault kv get -field=KEY PATH}}"
    raise SettingsError(msg)


def _run(line: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603 (the user's own file says what to run)
            shlex.split(line), capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False
        )
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        msg = f"${{cmd:{line}}}: {error}"
        raise SettingsError(msg) from error
    if done.returncode != 0:
        msg = f"${{cmd:{line}}} ended with {done.returncode}: {done.stderr.strip()[:200]}"
        raise SettingsError(msg)
    return done.stdout.rstrip("\n")


def _from_keyring(what: str) -> str:
    try:
        keyring = import_module("keyring")  # an optional package
    except ImportError as error:
        msg = f"${{keyring:{what}}} needs the keyring package"
        raise SettingsError(msg, "pip install keyring") from error
    service, _, user = what.rpartition("/")
    value: str | None = keyring.get_password(service, user)
    if value is None:
        msg = f"${{keyring:{what}}}: the keyring has no {user!r} in {service!r}"
        raise SettingsError(msg, f"keyring set {service} {user}")
    return value
