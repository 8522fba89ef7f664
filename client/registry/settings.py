"""Where the registry is and how one authenticates there, of a context's ``[registry]`` table.

Names are those of Confluent's clients; ``username``, ``password`` and ``token`` are short for theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from klamm.client.errors import SettingsError
from klamm.client.settings import Settings

HOW_TO_CONFIGURE: Final = (
    '[contexts.NAME.registry] url = "http://HOST:8081" in the context, or --registry URL, or KLAMM_REGISTRY=URL'
)
_KEYS: Final = {
    "url": "url",
    "schema.registry.url": "url",
    "username": "username",
    "password": "password",
    "basic.auth.user.info": "user_info",
    "token": "token",
    "bearer.auth.token": "token",
    "ssl.ca.location": "ca",
    "ssl.certificate.location": "certificate",
    "ssl.key.location": "key",
    "ssl.key.password": "key_password",
    "enable.ssl.certificate.verification": "verify",
}


class RegistrySettings(NamedTuple):
    """How to reach a registry. ``urls`` are tried in turn; secrets are resolved."""

    urls: tuple[str, ...]
    username: str | None = None
    password: str | None = None
    token: str | None = None
    ca: str | None = None
    certificate: str | None = None
    key: str | None = None
    key_password: str | None = None
    verify: bool = True


def registry_settings(settings: Settings, url: str | None = None) -> RegistrySettings:
    """Return the registry of a context; ``url``, from the command line, is another one and has no credentials of it.

    Raises:
        SettingsError: There is none, or its table holds what no registry has.
    """
    found = _read({"url": url} if url else settings.registry)
    if not found.get("url"):
        msg = (
            f"context {settings.context!r} has no schema registry"
            if settings.context
            else "no schema registry is known"
        )
        raise SettingsError(msg, HOW_TO_CONFIGURE)
    user, password = found.get("username"), found.get("password")
    if "user_info" in found:
        user, colon, password = found["user_info"].partition(":")
        if not colon:
            msg = "basic.auth.user.info is no USER:PASSWORD"
            raise SettingsError(msg, "klamm context edit")
    urls = tuple(each.strip().rstrip("/") for each in found["url"].split(",") if each.strip())
    for each in urls:
        if not each.startswith(("http://", "https://")):
            msg = f"{each!r} is no URL of a schema registry"
            raise SettingsError(msg, f"http://{each}, or https://")
        if "@" in each.split("/", 3)[2]:  # which would be shown wherever the URL is
            msg = "the URL of the schema registry holds credentials"
            raise SettingsError(msg, "username and password in the context's [registry], without them in the URL")
    return RegistrySettings(
        urls,
        user,
        password,
        found.get("token"),
        found.get("ca"),
        found.get("certificate"),
        found.get("key"),
        found.get("key_password"),
        found.get("verify", "true").lower() != "false",
    )


def has_registry(settings: Settings) -> bool:
    """Return whether the context names a registry."""
    return any(settings.registry.get(key) for key, field in _KEYS.items() if field == "url")


def _read(table: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in table.items():
        field = _KEYS.get(key)
        if field is None:
            msg = f"[registry] has {key!r}; it may have {', '.join(_KEYS)}"
            raise SettingsError(msg, "klamm context edit")
        found[field] = value
    return found
