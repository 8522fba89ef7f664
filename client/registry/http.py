"""One request to a registry, and what went wrong in words.

urllib in a thread: the registry is asked a handful of things by a command, and urllib knows proxies and TLS. The thread
is a daemon, so that a registry that never answers does not keep a command alive past its deadline.
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import threading
import urllib.error
import urllib.request
from http import HTTPStatus
from http.client import HTTPException
from typing import Any, Final

from klamm.client.errors import ClientError, SettingsError, UnreachableError
from klamm.client.registry.settings import RegistrySettings

TIMEOUT_S: Final = 10.0
_CONTENT_TYPE: Final = "application/vnd.schemaregistry.v1+json"
_ANSWER_SIZE_MAX: Final = 64 << 20
"""Bytes of one answer: a list of a hundred thousand subjects has a few MiB."""
_MEANINGS: Final = {
    40401: ("SUBJECT_NOT_FOUND", "there is no such subject", "klamm schema list"),
    40402: ("VERSION_NOT_FOUND", "the subject has no such version", "klamm schema list SUBJECT"),
    40403: ("SCHEMA_NOT_FOUND", "there is no such schema", "klamm schema list"),
    40404: ("SUBJECT_SOFT_DELETED", "the subject was deleted", "delete it for good: add --permanent"),
    40405: ("SUBJECT_NOT_SOFT_DELETED", "the subject is not deleted yet", "delete it without --permanent first"),
    40406: ("SCHEMA_VERSION_SOFT_DELETED", "the version was deleted", "delete it for good: add --permanent"),
    40407: ("VERSION_NOT_SOFT_DELETED", "the version is not deleted yet", "delete it without --permanent first"),
    40408: ("NO_COMPATIBILITY_LEVEL", "the subject has no compatibility level of its own", "klamm schema compat"),
    40409: ("NO_MODE", "the subject has no mode of its own", "klamm schema mode"),
    42201: ("INVALID_SCHEMA", "the registry does not accept the schema", "check it with a linter of its language"),
    42202: ("INVALID_VERSION", "that is no version", "a number from 1, or latest"),
    42203: ("INVALID_COMPATIBILITY_LEVEL", "there is no such compatibility level", "klamm schema compat --help"),
    42204: ("INVALID_MODE", "there is no such mode", "klamm schema mode --help"),
    42205: ("OPERATION_NOT_PERMITTED", "the subject's mode does not permit that", "klamm schema mode SUBJECT"),
    42206: ("REFERENCE_EXISTS", "another schema refers to it", "klamm schema list --referring"),
    409: ("INCOMPATIBLE_SCHEMA", "it is not compatible with the subject's versions", "klamm schema check"),
}


class RegistryError(ClientError):
    """The registry answered with an error: ``status`` is HTTP's, ``number`` the registry's own (40401)."""

    def __init__(self, status: int, number: int, message: str, name: str | None = None) -> None:
        code, meaning, next_step = _MEANINGS.get(number) or _MEANINGS.get(status) or _by_status(status)
        super().__init__(code, message or meaning, next_step, name=name)
        self.status = status
        self.number = number


class RegistryHttp:
    """Sends requests to the first of a registry's URLs that answers."""

    def __init__(self, settings: RegistrySettings, timeout_s: float = TIMEOUT_S) -> None:
        """Connect nothing yet.

        Raises:
            SettingsError: A TLS file cannot be read.
        """
        self.settings = settings
        self._timeout_s = timeout_s
        handlers: list[urllib.request.BaseHandler] = [_NoRedirect()]
        if any(each.startswith("https://") for each in settings.urls):
            handlers.append(urllib.request.HTTPSHandler(context=_ssl_context(settings)))
        self._opener = urllib.request.build_opener(*handlers)

    async def request(self, method: str, path: str, body: Any = None, name: str | None = None) -> Any:  # noqa: ANN401 (JSON)
        """Return the JSON that the registry answers.

        Raises:
            UnreachableError: Nobody answers, or not to these credentials.
            RegistryError: It refuses.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()

        def settle(result: Any, error: BaseException | None) -> None:  # noqa: ANN401 (JSON)
            if not answer.done():
                answer.set_result(result) if error is None else answer.set_exception(error)

        def work() -> None:
            try:
                result, error = self.request_now(method, path, body, name), None
            except BaseException as caught:  # noqa: BLE001 (it is raised where the answer is awaited)
                result, error = None, caught
            if not loop.is_closed():
                loop.call_soon_threadsafe(settle, result, error)

        threading.Thread(target=work, name="schema-registry", daemon=True).start()
        return await answer

    def request_now(self, method: str, path: str, body: Any = None, name: str | None = None) -> Any:  # noqa: ANN401 (JSON)
        """Do the same on this thread."""
        failure: UnreachableError | None = None
        for url in self.settings.urls:
            try:
                return self._send(method, url + path, body, name)
            except UnreachableError as error:
                if error.step == "registry_auth":
                    raise
                failure = failure or error
        assert failure is not None, "a registry without URLs"
        raise failure

    def _send(self, method: str, url: str, body: Any, name: str | None) -> Any:  # noqa: ANN401 (JSON)
        headers = {
            "Accept": f"{_CONTENT_TYPE}, application/json",
            "Content-Type": _CONTENT_TYPE,
            **self._authentication(),
        }
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, headers, method=method)  # noqa: S310 (settings check http and https)
        place = url.split("/", 3)[2]
        try:
            with self._opener.open(request, timeout=self._timeout_s) as answer:
                return _json(answer.read(_ANSWER_SIZE_MAX), place)
        except urllib.error.HTTPError as error:
            with error:
                raise _refusal(error, place, name, given=bool(self._authentication())) from None
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", error)
            cause = f"the schema registry does not answer: {reason or type(error).__name__}"
            step, hint = "registry", f"is the URL right? klamm context show; {suspicion(cause, url)}"
            raise UnreachableError(step, place, cause, hint) from None

    def _authentication(self) -> dict[str, str]:
        settings = self.settings
        if settings.token:
            return {"Authorization": f"Bearer {settings.token}"}
        if settings.username is None:
            return {}
        pair = f"{settings.username}:{settings.password or ''}".encode()
        return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}


def suspicion(cause: str, url: str) -> str:
    """Return what to look at when a registry does not answer, by what was heard of it."""
    if "CERTIFICATE_REQUIRED" in cause:
        return "it wants a client's certificate: ssl.certificate.location and ssl.key.location in [registry]"
    if "SSL" in cause:
        return "is ssl.ca.location its CA?"
    return "curl it, and https:// if it speaks TLS" if url.startswith("http:") else "curl it"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Credentials do not follow a registry to another host."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> None:  # noqa: ANN401 (urllib's interface)
        """Follow nothing."""


def _by_status(status: int) -> tuple[str, str, str]:
    if status == HTTPStatus.NOT_FOUND:
        return "NO_SUCH_PATH", "there is no schema registry at this URL", "is the URL right? klamm context show"
    return f"REGISTRY_{status}", f"the schema registry answered {status}", "look at the registry's log"


def _json(data: bytes, place: str) -> Any:  # noqa: ANN401 (JSON)
    try:
        return json.loads(data) if data.strip() else None
    except ValueError:
        step, hint = "registry", "the URL leads to something else"
        raise UnreachableError(step, place, "what answers is no schema registry: no JSON", hint) from None


def _refusal(error: urllib.error.HTTPError, place: str, name: str | None, *, given: bool) -> ClientError:
    status = error.code
    try:
        found = json.loads(error.read(_ANSWER_SIZE_MAX))
        number, message = int(found.get("error_code", status)), str(found.get("message", ""))
    except (ValueError, AttributeError, OSError, TypeError):
        number, message = status, ""
    if status == HTTPStatus.UNAUTHORIZED:
        does = "does not accept these credentials" if given else "wants credentials, and there are none"
        return _unauthorized(place, f"the schema registry {does}")
    if status == HTTPStatus.FORBIDDEN:
        return _unauthorized(place, f"not allowed: {message or 'the schema registry forbids it'}")
    return RegistryError(status, number, message, name)


def _unauthorized(place: str, cause: str) -> UnreachableError:
    step, hint = "registry_auth", "username and password, or token, in the context's [registry]; klamm context show"
    return UnreachableError(step, place, cause, hint)


def _ssl_context(settings: RegistrySettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.ca)
        if settings.certificate:
            context.load_cert_chain(settings.certificate, settings.key, settings.key_password)
    except OSError as error:  # ssl.SSLError is one
        msg = f"the registry's TLS files cannot be read: {error}"
        raise SettingsError(
            msg, "they have to be PEM: ssl.ca.location, ssl.certificate.location, ssl.key.location"
        ) from error
    if not settings.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
