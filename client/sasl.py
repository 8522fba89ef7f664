"""SASL conversations: PLAIN (RFC 4616), SCRAM-SHA-256 and -512 (RFC 5802, by scramp), OAUTHBEARER (RFC 7628).

A mechanism is a generator: it yields what to send and is sent what came back.
"""

from __future__ import annotations

import asyncio
import base64
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Generator
from typing import TYPE_CHECKING, Final

from klamm.client.errors import SettingsError, UnreachableError
from klamm.client.settings import Settings

if TYPE_CHECKING:
    from klamm.client.connection import BrokerConnection

Conversation = Generator[bytes, bytes, None]
_HANDSHAKE: Final = 17
_AUTHENTICATE: Final = 36
_NOBODY_ASKS: Final = (
    "this listener asks nobody who they are",
    "-X security.protocol=PLAINTEXT, or SSL with TLS; or another port",
)
TOKEN_TIMEOUT_S = 10.0


async def authenticate(connection: BrokerConnection, settings: Settings) -> None:
    """Say who we are, as the settings have it.

    Raises:
        UnreachableError: The listener asks nobody, or does not take the mechanism or the credentials.
        SettingsError: Credentials are missing, or no token can be had.
    """
    from klamm.protocol import messages  # noqa: PLC0415 (kio)

    settings.check()
    talk = await conversation(settings)

    def refused(cause: str, hint: str) -> UnreachableError:
        text = f"{settings.mechanism} authentication failed: {cause}"
        return UnreachableError("sasl", str(connection.address), text, hint)

    if _HANDSHAKE not in connection.versions:
        raise refused(*_NOBODY_ASKS)
    handshake = messages.request_class(_HANDSHAKE)(mechanism=settings.mechanism)
    offered = await connection.request(_HANDSHAKE, handshake)
    if messages.error_of(offered.error_code):
        if not offered.mechanisms:  # ILLEGAL_SASL_STATE
            raise refused(*_NOBODY_ASKS)
        cause = f"the broker offers {', '.join(offered.mechanisms)}, not {settings.mechanism}"
        raise refused(cause, "set sasl.mechanism")
    request = messages.request_class(_AUTHENTICATE)
    try:
        token = next(talk)
        while True:
            answer = await connection.request(_AUTHENTICATE, request(auth_bytes=token))
            if messages.error_of(answer.error_code):
                why = answer.error_message or "wrong user or password"
                raise refused(why, _next_step(settings))
            token = talk.send(bytes(answer.auth_bytes))
    except StopIteration:
        return
    except PermissionError as error:
        raise refused(str(error), _next_step(settings)) from error


def _next_step(settings: Settings) -> str:
    """Return what to look at when the credentials are refused."""
    if settings.mechanism != "OAUTHBEARER":
        return "check sasl.username and sasl.password: klamm context show --origin"
    if settings.properties.get("sasl.oauthbearer.token"):
        fetched = 'with "${cmd:…}" in the context one is fetched whenever that is opened (klamm ui: :ctx NAME)'
        return f"sasl.oauthbearer.token has expired or is not valid; {fetched}"
    return "the token that was fetched is not valid here: klamm context show --origin says from where"


async def conversation(settings: Settings) -> Conversation:
    """Return the conversation of the settings' mechanism.

    Raises:
        SettingsError: Credentials are missing, or no token can be had.
    """
    if settings.mechanism == "PLAIN":
        return _plain(*settings.credentials())
    if settings.mechanism == "OAUTHBEARER":
        return _oauthbearer(await _token(settings), settings.properties.get("sasl.oauthbearer.extensions", ""))
    return _scram(settings.mechanism, *settings.credentials())


def _plain(user: str, password: str) -> Conversation:
    yield b"\x00" + user.encode() + b"\x00" + password.encode()


def _scram(mechanism: str, user: str, password: str) -> Conversation:
    from scramp import (  # type: ignore[import-untyped]  # noqa: PLC0415 # no types published; only where SCRAM is used
        ScramClient,
        ScramException,
    )

    client = ScramClient([mechanism], user, password)
    try:
        client.set_server_first((yield client.get_client_first().encode()).decode())
        client.set_server_final((yield client.get_client_final().encode()).decode())
    except ScramException as error:
        raise PermissionError(str(error)) from error


def _oauthbearer(token: str, extensions: str) -> Conversation:
    pairs = "".join(f"{pair.strip()}\x01" for pair in extensions.split(",") if pair.strip())
    answer = yield f"n,,\x01auth=Bearer {token}\x01{pairs}\x01".encode()
    if answer:  # The server says what is wrong and waits for one byte (RFC 7628 §3.2.3).
        yield b"\x01"
        raise PermissionError(answer.decode(errors="replace"))


async def _token(settings: Settings) -> str:
    """Return the configured token, one from an OIDC endpoint, or an unsecured one for tests (as librdkafka has)."""
    get = settings.properties.get
    token = get("sasl.oauthbearer.token")
    if token:
        return token
    url = get("sasl.oauthbearer.token.endpoint.url")
    if url:
        return await asyncio.to_thread(_fetch_token, url, settings)
    if get("enable.sasl.oauthbearer.unsecure.jwt", "false").lower() == "true":
        return _unsecured(get("sasl.oauthbearer.config", ""))
    msg = "OAUTHBEARER needs sasl.oauthbearer.token or sasl.oauthbearer.token.endpoint.url"
    raise SettingsError(msg, 'for example "sasl.oauthbearer.token" = "${cmd:…}" in the context')


def _fetch_token(url: str, settings: Settings) -> str:
    get = settings.properties.get
    if urllib.parse.urlsplit(url).scheme not in {"http", "https"}:
        msg = f"sasl.oauthbearer.token.endpoint.url={url!r} is no http or https address"
        raise SettingsError(msg)
    identity = f"{get('sasl.oauthbearer.client.id', '')}:{get('sasl.oauthbearer.client.secret', '')}"
    form = {"grant_type": "client_credentials"}
    if get("sasl.oauthbearer.scope"):
        form["scope"] = get("sasl.oauthbearer.scope", "")
    request = urllib.request.Request(  # noqa: S310 (the scheme is checked above)
        url,
        urllib.parse.urlencode(form).encode(),
        {"Authorization": "Basic " + base64.b64encode(identity.encode()).decode()},
    )
    try:
        with urllib.request.urlopen(request, timeout=TOKEN_TIMEOUT_S) as answer:  # noqa: S310
            return str(json.load(answer)["access_token"])
    except (urllib.error.URLError, TimeoutError, ValueError, KeyError) as error:
        msg = f"no token from {url}: {error}"
        raise SettingsError(msg, "check sasl.oauthbearer.client.id and .secret") from error


def _unsecured(config: str) -> str:
    import time  # noqa: PLC0415

    given = dict(pair.split("=", 1) for pair in config.split() if "=" in pair)
    claims = {
        "sub": given.get("principal", "klamm"),
        "iat": int(time.time()),
        "exp": int(time.time()) + int(given.get("lifeSeconds", "3600")),
    }
    parts = ({"alg": "none"}, claims)
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, ""])
