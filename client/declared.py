"""Declarative files: what a cluster should be, in YAML; read with the line of each mistake, written by ``dump``.

```yaml
klamm: 1
topics:
  orders: {partitions: 6, replication_factor: 3, configs: {retention.ms: 86400000}}
acls:
  - {principal: User:alice, operation: read, resource: topic, name: orders}
quotas:
  - {entity: {user: alice}, values: {producer_byte_rate: 1048576}}
brokers: {log.retention.ms: 86400000}        # the dynamic default of all brokers
schemas:                                     # subjects of the context's schema registry: see declared_schemas.py
  orders-value: {file: order.avsc, compatibility: full}
```
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

from klamm.client.acls import OPERATIONS, PATTERNS, PERMISSIONS, RESOURCE_TYPES, Acl
from klamm.client.declared_schemas import DeclaredSchema, read_schemas, schemas_document
from klamm.client.errors import SettingsError
from klamm.client.quotas import KEYS, Entity
from klamm.client.text import reason_of

FORMAT_VERSION: Final = 1
_TOP: Final = ("klamm", "topics", "acls", "quotas", "brokers", "schemas")
_TOPIC: Final = ("partitions", "replication_factor", "configs")
_ACL: Final = ("principal", "operation", "resource", "name", "pattern", "host", "permission")
_QUOTA: Final = ("entity", "values")
_ENTITY: Final = ("user", "client-id", "ip")


class DeclaredTopic(NamedTuple):
    """A topic as it should be; None leaves a number to the broker."""

    name: str
    partitions: int | None
    replication_factor: int | None
    configs: dict[str, str]


class Declared(NamedTuple):
    """A file. A section that is not there (None) says nothing about its subject."""

    topics: dict[str, DeclaredTopic] | None
    acls: list[Acl] | None
    quotas: dict[Entity, dict[str, float]] | None
    brokers: dict[str, str] | None
    schemas: dict[str, DeclaredSchema] | None = None


def file_text(path: str) -> str:
    """Return a file's text.

    Raises:
        SettingsError: It cannot be read.
    """
    try:
        return Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path}: {reason_of(error)}"
        raise SettingsError(msg) from error


def read_declared(path: str, text: str) -> Declared:
    """Read a file's text.

    Raises:
        SettingsError: It has mistakes; each with file and line and what may be meant. Nothing of it may be applied.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark is not None else ""
        msg = f"{path}{line}: no YAML: {getattr(error, 'problem', error)}"
        raise SettingsError(msg) from error
    reader = Reader(path)
    declared = reader.read(root)
    if reader.mistakes:
        msg = "; ".join(reader.mistakes)
        raise SettingsError(msg, "nothing was changed")
    return declared


def line_of(text: str, *keys: str) -> int | None:
    """Return the line of a file where a key is, by the keys on the way to it: ``topics``, ``orders``, ``configs``."""
    node, line = yaml.compose(text, Loader=yaml.SafeLoader), None
    for wanted in keys:
        pairs = node.value if isinstance(node, yaml.MappingNode) else ()
        key, node = next(((key, value) for key, value in pairs if key.value == wanted), (None, None))
        if key is None:
            return None
        line = key.start_mark.line + 1
    return line


class Reader:
    """One walk over the nodes of one file; mistakes are collected, so that all are told at once."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.mistakes: list[str] = []

    def read(self, root: yaml.Node | None) -> Declared:
        """Return what the file says; what is wrong is in :attr:`mistakes`."""
        top = self.mapping(root, "the file", _TOP)
        version = top.get("klamm")
        if version is None or self.value(version) != FORMAT_VERSION:
            self.mistake(version or root, f"the file must say `klamm: {FORMAT_VERSION}`")
        topics = self._topics(top["topics"]) if "topics" in top else None
        acls = (
            [acl for node in self.sequence(top["acls"], "acls") if (acl := self._acl(node))] if "acls" in top else None
        )
        quotas = self._quotas(top["quotas"]) if "quotas" in top else None
        brokers = self.texts(top["brokers"], "brokers") if "brokers" in top else None
        schemas = read_schemas(self, top["schemas"]) if "schemas" in top else None
        return Declared(topics, acls, quotas, brokers, schemas)

    def _topics(self, node: yaml.Node) -> dict[str, DeclaredTopic]:
        topics: dict[str, DeclaredTopic] = {}
        for name, each in self.mapping(node, "topics").items():
            fields = self.mapping(each, f"topic {name}", _TOPIC, empty=True)
            topics[name] = DeclaredTopic(
                name,
                self._count(fields.get("partitions"), "partitions"),
                self._count(fields.get("replication_factor"), "replication_factor"),
                self.texts(fields["configs"], "configs") if "configs" in fields else {},
            )
        return topics

    def _acl(self, node: yaml.Node) -> Acl | None:
        fields = {key: self.text(each) for key, each in self.mapping(node, "an ACL", _ACL).items()}
        missing = [key for key in ("principal", "operation", "resource", "name") if key not in fields]
        if missing:
            self.mistake(node, f"an ACL needs {missing[0]}")
            return None
        return Acl(
            self.word(node, "resource", fields["resource"], RESOURCE_TYPES),
            fields["name"],
            self.word(node, "pattern", fields.get("pattern", "literal"), PATTERNS),
            fields["principal"] if ":" in fields["principal"] else f"User:{fields['principal']}",
            fields.get("host", "*"),
            self.word(node, "operation", fields["operation"], OPERATIONS),
            self.word(node, "permission", fields.get("permission", "allow"), PERMISSIONS),
        )

    def _quotas(self, node: yaml.Node) -> dict[Entity, dict[str, float]]:
        quotas: dict[Entity, dict[str, float]] = {}
        for each in self.sequence(node, "quotas"):
            fields = self.mapping(each, "a quota", _QUOTA)
            if set(fields) != set(_QUOTA):
                self.mistake(each, "a quota needs entity and values")
                continue
            parts = self.mapping(fields["entity"], "entity", _ENTITY)
            named = ((kind, self.text(part)) for kind, part in parts.items())
            entity = tuple(sorted(((k, None if n == "(default)" else n) for k, n in named), reverse=True))
            values: dict[str, float] = {}
            for key, value in self.mapping(fields["values"], "values", KEYS).items():
                number = self.value(value)
                if isinstance(number, (int, float)) and not isinstance(number, bool):
                    values[key] = float(number)
                else:
                    self.mistake(value, f"{key} must be a number, not {number!r}")
            quotas[entity] = values
        return quotas

    def mapping(
        self, node: yaml.Node | None, what: str, known: Sequence[str] | None = None, *, empty: bool = False
    ) -> dict[str, yaml.Node]:
        """Return the nodes of a mapping by key; ``known`` are the keys it may have, ``empty`` allows nothing at all."""
        if empty and isinstance(node, yaml.ScalarNode) and self.value(node) is None:
            return {}
        if not isinstance(node, yaml.MappingNode):
            self.mistake(node, f"{what} must be a mapping")
            return {}
        found: dict[str, yaml.Node] = {}
        for key, value in node.value:
            name = self.text(key)
            if known is not None and name not in known:
                near = difflib.get_close_matches(name, known, 1)
                hint = f"; did you mean {near[0]!r}?" if near else f"; there is {', '.join(known)}"
                self.mistake(key, f"{what} has no {name!r}{hint}")
            elif name in found:
                self.mistake(key, f"{what} has {name!r} twice")
            found[name] = value
        return found

    def sequence(self, node: yaml.Node, what: str) -> list[yaml.Node]:
        """Return the items of a list."""
        if isinstance(node, yaml.SequenceNode):
            return list(node.value)
        self.mistake(node, f"{what} must be a list")
        return []

    def texts(self, node: yaml.Node, what: str) -> dict[str, str]:
        """Return a mapping of texts."""
        return {key: self.text(value) for key, value in self.mapping(node, what).items()}

    def text(self, node: yaml.Node) -> str:
        """Return one value as it is written; true and false in small letters."""
        if not isinstance(node, yaml.ScalarNode):
            self.mistake(node, "must be one value")
            return ""
        value = self.value(node)
        return ("true" if value else "false") if isinstance(value, bool) else str(node.value)

    def _count(self, node: yaml.Node | None, what: str) -> int | None:
        if node is None:
            return None
        value = self.value(node)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
        self.mistake(node, f"{what} must be a number above 0, not {value!r}")
        return None

    def word(self, node: yaml.Node, what: str, word: str, known: dict[str, int]) -> str:
        """Return one of some words, in small letters."""
        folded = word.lower()
        if folded not in known or folded == "any":
            near = difflib.get_close_matches(folded, known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; there is {', '.join(known)}"
            self.mistake(node, f"{what} {word!r} is none{hint}")
        return folded

    def value(self, node: yaml.Node) -> Any:  # noqa: ANN401 (any scalar)
        """Return one value, or the tag of what is none."""
        if not isinstance(node, yaml.ScalarNode):
            return node.tag
        return yaml.SafeLoader("").construct_object(yaml.ScalarNode(node.tag, node.value))

    def mistake(self, node: yaml.Node | None, text: str) -> None:
        """Note what is wrong at a node."""
        line = 1 if node is None else node.start_mark.line + 1
        self.mistakes.append(f"{self.path}:{line}: {text}")


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines, as schemas are, in lines."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent_text)


def write_declared(declared: Declared) -> str:
    """Return a file that says this; reading it gives the same."""
    document: dict[str, Any] = {"klamm": FORMAT_VERSION}
    if declared.topics is not None:
        document["topics"] = {
            topic.name: {
                "partitions": topic.partitions,
                "replication_factor": topic.replication_factor,
                **({"configs": topic.configs} if topic.configs else {}),
            }
            for topic in declared.topics.values()
        }
    if declared.brokers is not None:
        document["brokers"] = declared.brokers
    if declared.acls is not None:
        document["acls"] = [
            {
                "principal": a.principal,
                "operation": a.operation,
                "resource": a.resource_type,
                "name": a.resource_name,
                "pattern": a.pattern,
                "host": a.host,
                "permission": a.permission,
            }
            for a in declared.acls
        ]
    if declared.quotas is not None:
        document["quotas"] = [
            {"entity": {kind: "(default)" if name is None else name for kind, name in entity}, "values": dict(values)}
            for entity, values in declared.quotas.items()
        ]
    if declared.schemas is not None:
        document["schemas"] = schemas_document(declared.schemas)
    return str(yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120))
