"""What a schema registry can do: https://docs.confluent.io/platform/current/schema-registry/develop/api.html."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlencode

from klamm.client.decoding.schemas import AVRO, PROTOBUF, SchemaText
from klamm.client.errors import ClientError, UnreachableError
from klamm.client.registry.http import RegistryError, RegistryHttp
from klamm.client.registry.settings import registry_settings
from klamm.client.settings import Settings

LEVELS: Final = ("NONE", "BACKWARD", "BACKWARD_TRANSITIVE", "FORWARD", "FORWARD_TRANSITIVE", "FULL", "FULL_TRANSITIVE")
LATEST: Final = "latest"
_REFERENCES_MAX: Final = 500
"""Schemas that one may refer to, directly or not."""


class Reference(NamedTuple):
    """A schema that another refers to by ``name``."""

    name: str
    subject: str
    version: int


class RegisteredSchema(NamedTuple):
    """A schema as the registry holds it. ``subject`` is empty and ``version`` 0 where it was asked for by its id."""

    subject: str
    version: int
    schema_id: int
    schema_type: str
    text: str
    references: tuple[Reference, ...] = ()
    guid: str | None = None
    deleted: bool = False


class Registry:
    """A schema registry. Changes are refused where the context may not change its cluster either."""

    def __init__(self, settings: Settings, url: str | None = None) -> None:
        """Connect nothing yet; ``url`` instead of the context's.

        Raises:
            SettingsError: No registry is configured, or not rightly.
        """
        self.settings = settings
        self.url = url
        self.http = RegistryHttp(registry_settings(settings, url))

    @property
    def place(self) -> str:
        """Where it is, for people."""
        return ",".join(each.split("/", 3)[2] for each in self.http.settings.urls)

    async def subjects(self, *, deleted: bool = False) -> list[str]:
        """Return the subjects' names; with ``deleted`` also those that can still be brought back."""
        return [str(each) for each in await self._get("/subjects" + ("?deleted=true" if deleted else ""))]

    async def versions(self, subject: str, *, deleted: bool = False) -> list[int]:
        """Return a subject's versions."""
        path = f"/subjects/{_quoted(subject)}/versions" + ("?deleted=true" if deleted else "")
        return [int(each) for each in await self._get(path, subject)]

    async def schema(
        self, subject: str, version: str | int = LATEST, *, deleted: bool = False, serialized: bool = False
    ) -> RegisteredSchema:
        """Return one version of a subject. ``serialized`` asks for Protobuf as a descriptor."""
        query = {**({"deleted": "true"} if deleted else {}), **({"format": "serialized"} if serialized else {})}
        path = f"/subjects/{_quoted(subject)}/versions/{version}" + (f"?{urlencode(query)}" if query else "")
        return _registered(await self._get(path, f"{subject} version {version}"))

    async def by_id(self, schema_id: int, *, serialized: bool = False) -> RegisteredSchema:
        """Return a schema by its id."""
        path = f"/schemas/ids/{schema_id}" + ("?format=serialized" if serialized else "")
        found = _registered(await self._get(path, f"schema id {schema_id}"))
        return found._replace(schema_id=schema_id)

    async def by_guid(self, guid: str, *, serialized: bool = False) -> RegisteredSchema:
        """Return a schema by its GUID."""
        path = f"/schemas/guids/{_quoted(guid)}" + ("?format=serialized" if serialized else "")
        return _registered(await self._get(path, f"schema GUID {guid}"))._replace(guid=guid)

    async def uses(self, schema_id: int) -> list[tuple[str, int]]:
        """Return the (subject, version) pairs that have a schema."""
        found = await self._get(f"/schemas/ids/{schema_id}/versions", f"schema id {schema_id}")
        return [(str(each["subject"]), int(each["version"])) for each in found]

    async def referring(self, subject: str, version: int) -> list[int]:
        """Return the ids of the schemas that refer to a version of a subject."""
        path = f"/subjects/{_quoted(subject)}/versions/{version}/referencedby"
        return [int(each) for each in await self._get(path, subject)]

    async def look_up(self, subject: str, schema: RegisteredSchema) -> RegisteredSchema | None:
        """Return where a subject has this schema already, or None."""
        try:
            found = await self.http.request("POST", f"/subjects/{_quoted(subject)}", _body(schema), subject)
        except RegistryError as error:
            if error.number in {40401, 40403}:
                return None
            raise
        return _registered(found)

    async def check(self, subject: str, schema: RegisteredSchema, version: str | int = LATEST) -> list[str] | None:
        """Return why a schema is not compatible with a subject's version, or None if it is.

        The list may be empty: an older registry does not say why.
        """
        path = f"/compatibility/subjects/{_quoted(subject)}/versions/{version}?verbose=true"
        found = await self.http.request("POST", path, _body(schema), subject)
        return None if found.get("is_compatible") else [str(each) for each in found.get("messages") or ()]

    async def register(self, subject: str, schema: RegisteredSchema, *, normalize: bool = False) -> int:
        """Register a schema under a subject and return its id; one that is there already stays as it is.

        With ``schema.schema_id`` above 0 and the subject in mode IMPORT it gets that id and version.
        """
        body = _body(schema)
        if schema.schema_id > 0:
            body |= {"id": schema.schema_id, **({"version": schema.version} if schema.version else {})}
        path = f"/subjects/{_quoted(subject)}/versions" + ("?normalize=true" if normalize else "")
        return int((await self._change("POST", path, body, subject))["id"])

    async def delete_subject(self, subject: str, *, permanent: bool = False) -> list[int]:
        """Delete a subject, once so that it can be brought back, once more for good; return its versions."""
        path = f"/subjects/{_quoted(subject)}" + ("?permanent=true" if permanent else "")
        return [int(each) for each in await self._change("DELETE", path, None, subject)]

    async def delete_version(self, subject: str, version: str | int, *, permanent: bool = False) -> int:
        """Delete one version, once so that it can be brought back, once more for good."""
        path = f"/subjects/{_quoted(subject)}/versions/{version}" + ("?permanent=true" if permanent else "")
        return int(await self._change("DELETE", path, None, f"{subject} version {version}"))

    async def level(self, subject: str | None) -> tuple[str, bool]:
        """Return (compatibility level, whether it is the subject's own) of a subject, or of the registry."""
        own = await self._own(f"/config/{_quoted(subject)}" if subject else "/config", "compatibilityLevel", subject)
        if own is not None:
            return own, True
        return (await self._own("/config", "compatibilityLevel", None)) or "BACKWARD", False

    async def set_level(self, subject: str | None, level: str | None) -> None:
        """Set the compatibility level of a subject or of the registry; None takes the subject's own away."""
        path = f"/config/{_quoted(subject)}" if subject else "/config"
        if level is None:
            await self._change("DELETE", path, None, subject)
        else:
            await self._change("PUT", path, {"compatibility": level}, subject)

    async def mode(self, subject: str | None) -> tuple[str, bool]:
        """Return (mode, whether it is the subject's own) of a subject, or of the registry."""
        own = await self._own(f"/mode/{_quoted(subject)}" if subject else "/mode", "mode", subject)
        if own is not None:
            return own, True
        return (await self._own("/mode", "mode", None)) or "READWRITE", False

    async def set_mode(self, subject: str | None, mode: str | None, *, force: bool = False) -> None:
        """Set the mode of a subject or of the registry; None takes the subject's own away."""
        path = f"/mode/{_quoted(subject)}" if subject else "/mode"
        if mode is None:
            await self._change("DELETE", path, None, subject)
        else:
            await self._change("PUT", path + ("?force=true" if force else ""), {"mode": mode}, subject)

    async def whole(self, schema: RegisteredSchema) -> SchemaText:
        """Return a schema with all that it refers to, ready to be made ready.

        Raises:
            ClientError: A reference leads nowhere, or there are too many.
        """
        if schema.schema_type == PROTOBUF:
            schema = await self._as_descriptor(schema)
        texts: dict[str, str] = {}
        await self._collect(schema, texts, set())
        return SchemaText(schema.schema_type, schema.text, _label(schema), texts)

    async def _collect(self, schema: RegisteredSchema, texts: dict[str, str], open_ones: set[tuple[str, int]]) -> None:
        for each in schema.references:
            place = (each.subject, each.version)
            if each.name in texts or place in open_ones:
                continue
            if len(texts) >= _REFERENCES_MAX:
                code, msg = "TOO_MANY_REFERENCES", f"{_label(schema)} refers to more than {_REFERENCES_MAX} schemas"
                raise ClientError(code, msg)
            serialized = schema.schema_type == PROTOBUF
            found = await self.schema(each.subject, each.version, deleted=True, serialized=serialized)
            await self._collect(found, texts, open_ones | {place})
            texts[each.name] = found.text

    async def _as_descriptor(self, schema: RegisteredSchema) -> RegisteredSchema:
        """Return a Protobuf schema as a descriptor, where the registry gives it: no compiler is needed then."""
        try:
            if schema.subject:
                found = await self.schema(schema.subject, schema.version, deleted=True, serialized=True)
            elif schema.guid is not None:
                found = await self.by_guid(schema.guid, serialized=True)
            else:
                found = await self.by_id(schema.schema_id, serialized=True)
        except RegistryError:
            return schema
        return schema._replace(text=found.text)

    async def _own(self, path: str, field: str, subject: str | None) -> str | None:
        try:
            found = await self._get(path, subject)
        except RegistryError as error:
            if subject is not None and error.status == 404:  # noqa: PLR2004 (HTTP's: the subject has none of its own)
                return None
            raise
        own = found.get(field) or found.get("compatibility") if isinstance(found, dict) else None
        return None if own is None else str(own)

    async def _get(self, path: str, name: str | None = None) -> Any:  # noqa: ANN401 (JSON)
        found = await self.http.request("GET", path, None, name)
        # Every list of a registry is a bare one of names, numbers or objects; everything else is an object.
        if not isinstance(found, (dict, list)):
            step, cause = "registry", "what answers is no schema registry"
            raise UnreachableError(step, self.place, cause, "is the URL right? klamm context show")
        return found

    async def _change(self, method: str, path: str, body: Any, name: str | None) -> Any:  # noqa: ANN401 (JSON)
        """Send what changes the registry, where this context may."""
        self.settings.ensure_writable(f"{method} {path.partition('?')[0]}")
        return await self.http.request(method, path, body, name)


def to_register(
    text: str, schema_type: str = AVRO, references: Sequence[Reference] = (), schema_id: int = 0, version: int = 0
) -> RegisteredSchema:
    """Return a schema that is not registered yet."""
    return RegisteredSchema("", version, schema_id, schema_type, text, tuple(references))


def _body(schema: RegisteredSchema) -> dict[str, Any]:
    body: dict[str, Any] = {"schema": schema.text}
    if schema.schema_type != AVRO:
        body["schemaType"] = schema.schema_type
    if schema.references:
        body["references"] = [each._asdict() for each in schema.references]
    return body


def _registered(found: Mapping[str, Any]) -> RegisteredSchema:
    references = tuple(
        Reference(str(each["name"]), str(each["subject"]), int(each["version"]))
        for each in found.get("references") or ()
    )
    return RegisteredSchema(
        str(found.get("subject") or ""),
        int(found.get("version") or 0),
        int(found.get("id") or 0),
        str(found.get("schemaType") or AVRO),
        str(found.get("schema") or ""),
        references,
        found.get("guid"),
        bool(found.get("deleted")),
    )


def _label(schema: RegisteredSchema) -> str:
    """Return what people call a schema: its id and, of Avro, its name."""
    number = f"#{schema.schema_id}" if schema.schema_id else (schema.guid or "")
    if schema.schema_type != AVRO:
        return number
    import json  # noqa: PLC0415

    try:
        found = json.loads(schema.text)
    except (ValueError, RecursionError):
        return number
    name = found.get("name") if isinstance(found, dict) else None
    return f"{number} {name}" if isinstance(name, str) else number


def _quoted(name: str) -> str:
    return quote(name, safe="")
