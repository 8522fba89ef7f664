"""A schema registry for tests. It behaves like Confluent's in the paths, statuses and error codes that it has.

What it does as Confluent's: subjects and versions, one id and GUID for one schema wherever it is registered,
references, soft and hard deletion, compatibility levels and modes of the registry and of subjects, IMPORT with ids
given, basic and bearer authentication, TLS with client certificates. What it does not: contexts, rules, metadata,
normalisation, and it returns Protobuf as it was registered, whichever ``format`` is asked for. Compatibility is checked
as far as tests claim: of Avro records their fields, defaults, types and promotions; of Protobuf and JSON Schema
nothing, which counts as compatible. Everything is in memory.
"""

from __future__ import annotations

import base64
import json
import ssl
import threading
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

_PROMOTIONS = {
    "int": {"long", "float", "double"},
    "long": {"float", "double"},
    "float": {"double"},
    "string": {"bytes"},
    "bytes": {"string"},
}


class Refused(Exception):  # noqa: N818 (an answer, not an error)
    def __init__(self, status: int, number: int, message: str) -> None:
        super().__init__(message)
        self.status, self.number, self.message = status, number, message


class Stored(NamedTuple):
    schema_id: int
    guid: str
    schema: str
    schema_type: str
    references: list[dict[str, Any]]


class Version(NamedTuple):
    number: int
    stored: Stored
    deleted: bool = False


class RegistryServer:
    """The registry. ``requests`` are (method, path) of what was asked."""

    def __init__(self, *, user_info: str | None = None, token: str | None = None) -> None:
        self.user_info, self.token = user_info, token
        self.stored: dict[int, Stored] = {}
        self.subjects: dict[str, list[Version]] = {}
        self.levels: dict[str, str] = {"": "BACKWARD"}
        self.modes: dict[str, str] = {"": "READWRITE"}
        self.requests: list[tuple[str, str]] = []
        self.lock = threading.Lock()
        self.url = ""

    def answer(self, method: str, target: str, body: Any, authorization: str | None) -> Any:
        parts = urlsplit(target)
        self.requests.append((method, target))
        self._authenticate(authorization)
        path = [unquote(each) for each in parts.path.split("/") if each]
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        with self.lock:
            if path[:1] == ["subjects"]:
                return self._subjects(method, path[1:], query, body)
            if path[:1] == ["schemas"]:
                return self._schemas(path[1:])
            match path:
                case ["config" | "mode" as kind, *rest]:
                    return self._setting(kind, rest[0] if rest else "", method, body)
                case ["compatibility", "subjects", subject, "versions", version]:
                    wrong = _incompatible(self._version(subject, version).stored, _given(body), self._level(subject))
                    verbose = {"messages": wrong} if query.get("verbose") == "true" else {}
                    return {"is_compatible": not wrong, **verbose}
                case _:
                    raise Refused(404, 404, "HTTP 404 Not Found")

    def _subjects(self, method: str, path: list[str], query: dict[str, str], body: Any) -> Any:
        deleted = query.get("deleted") == "true"
        match path:
            case []:
                return [name for name in sorted(self.subjects) if deleted or self._live(name)]
            case [subject]:
                return self._delete(subject, query) if method == "DELETE" else self._look_up(subject, body)
            case [subject, "versions"] if method == "POST":
                return self._register(subject, body)
            case [subject, "versions"]:
                return [each.number for each in self._versions(subject, deleted=deleted)]
            case [subject, "versions", version] if method == "DELETE":
                return self._delete_version(subject, version, query)
            case [subject, "versions", version]:
                found = self._version(subject, version, deleted=deleted)
                return {"subject": subject, "version": found.number, **_told(found.stored)}
            case [subject, "versions", version, "referencedby"]:
                return self._referring(subject, self._version(subject, version).number)
            case _:
                raise Refused(404, 404, "HTTP 404 Not Found")

    def _schemas(self, path: list[str]) -> Any:
        match path:
            case ["ids", number]:
                return {key: value for key, value in _told(self._by_id(int(number))).items() if key != "id"}
            case ["ids", number, "versions"]:
                return self._uses(self._by_id(int(number)))
            case ["guids", guid]:
                for each in self.stored.values():
                    if each.guid == guid:
                        return _told(each)
                raise Refused(404, 40403, "Schema not found")
            case ["types"]:
                return ["JSON", "PROTOBUF", "AVRO"]
            case _:
                raise Refused(404, 404, "HTTP 404 Not Found")

    def _authenticate(self, authorization: str | None) -> None:
        allowed: set[str] = set()
        if self.user_info:
            allowed.add(f"Basic {base64.b64encode(self.user_info.encode()).decode()}")
        if self.token:
            allowed.add(f"Bearer {self.token}")
        if allowed and authorization not in allowed:
            raise Refused(401, 401, "Unauthorized")

    def _live(self, subject: str) -> list[Version]:
        return [each for each in self.subjects.get(subject, []) if not each.deleted]

    def _versions(self, subject: str, *, deleted: bool = False) -> list[Version]:
        found = self.subjects.get(subject, []) if deleted else self._live(subject)
        if not found:
            raise Refused(404, 40401, f"Subject '{subject}' not found.")
        return found

    def _version(self, subject: str, version: str, *, deleted: bool = False) -> Version:
        found = self._versions(subject, deleted=deleted)
        if version in {"latest", "-1"}:
            return found[-1]
        if not version.isdigit() or int(version) < 1:
            raise Refused(422, 42202, f"The specified version '{version}' is not a valid version id.")
        for each in found:
            if each.number == int(version):
                return each
        raise Refused(404, 40402, f"Version {version} not found.")

    def _by_id(self, number: int) -> Stored:
        if number not in self.stored:
            raise Refused(404, 40403, f"Schema {number} not found")
        return self.stored[number]

    def _look_up(self, subject: str, body: Any) -> Any:
        wanted = _given(body)
        for each in self._versions(subject):
            if _same(each.stored, wanted):
                return {"subject": subject, "version": each.number, **_told(each.stored)}
        raise Refused(404, 40403, "Schema not found")

    def _register(self, subject: str, body: Any) -> Any:
        given, mode = _given(body), self.modes.get(subject, self.modes[""])
        if mode not in {"READWRITE", "IMPORT"} or (body.get("id") and mode != "IMPORT"):
            raise Refused(422, 42205, f"Subject {subject} is in {mode} mode")
        for reference in given.references:
            self._version(reference["subject"], str(reference["version"]), deleted=True)
        live = self._live(subject)
        for each in live:
            if _same(each.stored, given):
                return _told(each.stored)
        level = self._level(subject)
        against = live if level.endswith("TRANSITIVE") else live[-1:]
        wrong = (
            [] if mode == "IMPORT" else [text for each in against for text in _incompatible(each.stored, given, level)]
        )
        if wrong:
            raise Refused(
                409, 409, f"Schema being registered is incompatible with an earlier schema: {'; '.join(wrong)}"
            )
        stored = next((each for each in self.stored.values() if _same(each, given)), None)
        if stored is None:
            number = int(body.get("id") or max(self.stored, default=0) + 1)
            stored = self.stored[number] = given._replace(schema_id=number, guid=str(uuid.uuid4()))
        versions = self.subjects.setdefault(subject, [])
        versions.append(Version(int(body.get("version") or (versions[-1].number + 1 if versions else 1)), stored))
        return _told(stored)

    def _delete(self, subject: str, query: dict[str, str]) -> list[int]:
        if query.get("permanent") == "true":
            versions = self._versions(subject, deleted=True)
            if any(not each.deleted for each in versions):
                raise Refused(404, 40405, f"Subject '{subject}' was not deleted first before being permanently deleted")
            del self.subjects[subject]
        else:
            if subject in self.subjects and not self._live(subject):
                raise Refused(
                    404, 40404, f"Subject '{subject}' was soft deleted. Set permanent=true to delete permanently"
                )
            versions = self._versions(subject)
            for each in versions:
                self._unreferenced(subject, each)
            self.subjects[subject] = [each._replace(deleted=True) for each in self.subjects[subject]]
        return [each.number for each in versions]

    def _delete_version(self, subject: str, version: str, query: dict[str, str]) -> int:
        found = self._version(subject, version, deleted=True)
        permanent = query.get("permanent") == "true"
        if permanent and not found.deleted:
            raise Refused(404, 40407, f"Subject '{subject}' Version {version} was not deleted first")
        if not permanent and found.deleted:
            raise Refused(404, 40406, f"Subject '{subject}' Version {version} was soft deleted")
        self._unreferenced(subject, found)
        kept = [found._replace(deleted=True)] if not permanent else []
        self.subjects[subject] = [
            new for each in self.subjects[subject] for new in (kept if each.number == found.number else [each])
        ]
        if not self.subjects[subject]:
            del self.subjects[subject]
        return found.number

    def _unreferenced(self, subject: str, version: Version) -> None:
        if self._referring(subject, version.number):
            raise Refused(422, 42206, f"One or more references exist to the schema {subject} version {version.number}")

    def _referring(self, subject: str, number: int) -> list[int]:
        return sorted(
            {
                each.stored.schema_id
                for name in self.subjects
                for each in self._live(name)
                for reference in each.stored.references
                if (reference["subject"], reference["version"]) == (subject, number)
            }
        )

    def _uses(self, stored: Stored) -> list[dict[str, Any]]:
        return [
            {"subject": name, "version": each.number}
            for name in sorted(self.subjects)
            for each in self._live(name)
            if each.stored.schema_id == stored.schema_id
        ]

    def _level(self, subject: str) -> str:
        return self.levels.get(subject, self.levels[""])

    def _setting(self, kind: str, subject: str, method: str, body: Any) -> Any:
        values, field = (self.levels, "compatibility") if kind == "config" else (self.modes, "mode")
        read_field = "compatibilityLevel" if kind == "config" else "mode"
        missing = Refused(404, 40408 if kind == "config" else 40409, f"Subject '{subject}' does not have its own")
        if method == "PUT":
            value = body[field].upper()
            allowed = (
                {"NONE", *(a + b for a in ("BACKWARD", "FORWARD", "FULL") for b in ("", "_TRANSITIVE"))}
                if kind == "config"
                else {"READWRITE", "READONLY", "READONLY_OVERRIDE", "IMPORT", "FORWARD"}
            )
            if value not in allowed:
                raise Refused(422, 42203 if kind == "config" else 42204, f"Invalid {field}: {value}")
            values[subject] = value
            return {field: value}
        if subject not in values:
            raise missing
        return {read_field: values.pop(subject) if method == "DELETE" else values[subject]}


@contextmanager
def schema_registry(
    *, user_info: str | None = None, token: str | None = None, tls: ssl.SSLContext | None = None
) -> Generator[RegistryServer]:
    """Run a registry on a free port of this machine, until the block ends."""
    registry = RegistryServer(user_info=user_info, token=token)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _do(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            text = self.rfile.read(size)
            status: int = 200
            try:
                body = json.loads(text) if text else {}
                found = registry.answer(self.command, self.path, body, self.headers.get("Authorization"))
            except Refused as refused:
                status, found = refused.status, {"error_code": refused.number, "message": refused.message}
            out = json.dumps(found).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
            self.send_header("Content-Length", str(len(out)))
            self.end_headers()
            self.wfile.write(out)

        do_GET = do_POST = do_PUT = do_DELETE = _do  # noqa: N815 (http.server's names)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (its name)
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    registry.url = f"http{'s' if tls else ''}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _given(body: Any) -> Stored:
    kind = body.get("schemaType") or "AVRO"
    text = body.get("schema")
    if not isinstance(text, str):
        raise Refused(422, 42201, "Empty schema")
    if kind in {"AVRO", "JSON"}:
        try:
            json.loads(text)
        except ValueError as error:
            if kind != "AVRO" or not text.isidentifier():
                raise Refused(422, 42201, f"Invalid schema of type {kind}: {error}") from None
    return Stored(0, "", text, kind, list(body.get("references") or ()))


def _same(one: Stored, other: Stored) -> bool:
    if one.schema_type != other.schema_type or one.references != other.references:
        return False
    if one.schema == other.schema or one.schema_type == "PROTOBUF":
        return one.schema == other.schema
    return bool(json.loads(one.schema) == json.loads(other.schema))


def _told(stored: Stored) -> dict[str, Any]:
    found: dict[str, Any] = {"id": stored.schema_id, "guid": stored.guid, "schema": stored.schema}
    if stored.schema_type != "AVRO":
        found["schemaType"] = stored.schema_type
    if stored.references:
        found["references"] = stored.references
    return found


def _incompatible(old: Stored, new: Stored, level: str) -> list[str]:
    """Return why ``new`` may not follow ``old``."""
    if level == "NONE":
        return []
    if old.schema_type != new.schema_type:
        return [f"{new.schema_type} cannot follow {old.schema_type}"]
    if old.schema_type != "AVRO":
        return []
    before, after = json.loads(old.schema), json.loads(new.schema)
    wrong: list[str] = []
    if level.startswith(("BACKWARD", "FULL")):
        wrong += _cannot_read(after, before, "new reads old: ")
    if level.startswith(("FORWARD", "FULL")):
        wrong += _cannot_read(before, after, "old reads new: ")
    return wrong


def _cannot_read(reader: Any, writer: Any, where: str) -> list[str]:
    if isinstance(writer, list):
        return [text for each in writer for text in _cannot_read(reader, each, where)]
    if isinstance(reader, list):
        found = [_cannot_read(each, writer, where) for each in reader]
        return [] if any(not each for each in found) else [f"{where}no branch for {writer}"]
    read_kind = reader["type"] if isinstance(reader, dict) else reader
    write_kind = writer["type"] if isinstance(writer, dict) else writer
    if read_kind != write_kind:
        return [] if read_kind in _PROMOTIONS.get(write_kind, ()) else [f"{where}{read_kind} cannot read {write_kind}"]
    if read_kind != "record":
        return []
    fields = {each["name"]: each for each in writer["fields"]}
    wrong: list[str] = []
    for each in reader["fields"]:
        if each["name"] in fields:
            wrong += _cannot_read(each["type"], fields[each["name"]]["type"], f"{where}{each['name']}: ")
        elif "default" not in each:
            wrong.append(f"{where}{each['name']} has no default, and the writer has no such field")
    return wrong
