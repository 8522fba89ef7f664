"""Protobuf with Confluent's framing: message indexes in front say which message of the file a payload is.

A schema comes as a FileDescriptorProto in base64, as registries give it on request, or as the text of a .proto file,
which protoc of grpcio-tools compiles in a process of its own.
"""

from __future__ import annotations

import base64
import binascii
import math
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory, unknown_fields
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from klamm.client.decoding.decoded import Decoded, bytes_text
from klamm.client.decoding.framing import read_indexes
from klamm.client.decoding.plain import NotDecodableError
from klamm.client.decoding.schemas import SchemaText

_COMPILE_TIMEOUT_S: Final = 20.0
_MAIN_FILE: Final = "klamm_main.proto"
_WELL_KNOWN: Final = "google/protobuf/"
_WRAPPED: Final = ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
_JSON_FORMS: Final = frozenset(
    f"google.protobuf.{name}"
    for name in (
        *("Timestamp", "Duration", "FieldMask", "Struct", "Value", "ListValue", "Any"),
        *(f"{kind}Value" for kind in _WRAPPED),
    )
)
"""Messages that Protobuf's JSON mapping writes in a form of their own."""
_UNKNOWN_SHOWN: Final = 5
_VALUES_MAX: Final = 500_000
"""Of one message: a schema of ten thousand fields makes as many defaults of two bytes."""
_BUILT_IN: Final = {
    "confluent/meta.proto": """syntax = "proto3"; package confluent; import "google/protobuf/descriptor.proto";
message Meta { string doc = 1; map<string, string> params = 2; repeated string tags = 3; }
extend google.protobuf.FileOptions { Meta file_meta = 1088; }
extend google.protobuf.MessageOptions { Meta message_meta = 1088; }
extend google.protobuf.FieldOptions { Meta field_meta = 1088; }
extend google.protobuf.EnumOptions { Meta enum_meta = 1088; }
extend google.protobuf.EnumValueOptions { Meta enum_value_meta = 1088; }
""",
    "confluent/type/decimal.proto": """syntax = "proto3"; package confluent.type;
message Decimal { bytes value = 1; uint32 precision = 2; int32 scale = 3; }
""",
}
"""What Confluent's registry lets every schema import."""


class ProtobufSchema:
    """A Protobuf file that decodes any of its messages."""

    def __init__(self, schema: SchemaText, message: str | None = None) -> None:
        """Build the descriptors. ``message`` names the one that payloads without indexes are; the first if None.

        Raises:
            NotDecodableError: It is no Protobuf schema, or imports what cannot be had.
        """
        self.label = schema.name
        try:
            files = _files(schema)
            self._pool = descriptor_pool.DescriptorPool()
            for each in files:
                self._pool.AddSerializedFile(each.SerializeToString())
            self._file: Any = self._pool.FindFileByName(files[-1].name)
            self._messages = files[-1].message_type
            self._default = None if message is None else self._pool.FindMessageTypeByName(message)
        except NotDecodableError:
            raise
        except KeyError as error:
            names = ", ".join(self._file.message_types_by_name) if hasattr(self, "_file") else ""
            msg = f"schema {schema.name}: {error}" + (f"; it has {names}" if names else "")
            raise NotDecodableError(msg) from None
        except Exception as error:  # noqa: BLE001 (the schema is anybody's)
            msg = f"schema {schema.name} is no Protobuf schema: {type(error).__name__}: {error}"
            raise NotDecodableError(msg) from None

    def decode(self, payload: bytes, rest: bytes | None = None) -> Decoded:
        """Return the message that the indexes, in front of the payload or in ``rest``, point to.

        Raises:
            NotDecodableError: There is no such message, or the bytes are none.
        """
        if rest is None:
            indexes, position = read_indexes(payload)
            return self._decode(self._find(indexes), payload[position:])
        return self._decode(self._find(read_indexes(rest)[0] if rest else [0]), payload)

    def decode_bare(self, payload: bytes) -> Decoded:
        """Return the message of a payload without any framing.

        Raises:
            NotDecodableError: The bytes are no such message.
        """
        return self._decode(self._default or self._find([0]), payload)

    def _find(self, indexes: list[int]) -> Descriptor:
        messages, names = self._messages, []
        for index in indexes:
            if not 0 <= index < len(messages):
                msg = f"schema {self.label} has no message at index {'.'.join(map(str, indexes))}"
                raise NotDecodableError(msg)
            names.append(messages[index].name)
            messages = messages[index].nested_type
        package = f"{self._file.package}." if self._file.package else ""
        found: Descriptor = self._pool.FindMessageTypeByName(package + ".".join(names))
        return found

    def _decode(self, descriptor: Descriptor, payload: bytes) -> Decoded:
        message = message_factory.GetMessageClass(descriptor)()
        label = f"{self.label} {descriptor.full_name}" if descriptor.full_name not in self.label else self.label
        try:
            message.ParseFromString(payload)
            value = _Reader().message(message)
        except Exception as error:  # noqa: BLE001 (the bytes are anybody's)
            msg = f"does not fit Protobuf schema {label}: {type(error).__name__}: {error}"
            raise NotDecodableError(msg) from None
        strange: Any = unknown_fields.UnknownFieldSet(message)
        unknown = sorted({each.field_number for each in strange})
        note = ""
        if unknown:
            told = ", ".join(map(str, unknown[:_UNKNOWN_SHOWN])) + (", …" if len(unknown) > _UNKNOWN_SHOWN else "")
            note = f"has fields that schema {label} does not know: {told}"
        return Decoded("protobuf", value, note, schema=label)


class _Reader:
    """Makes JSON of messages: fields under their own names, whole numbers as numbers, defaults shown."""

    def __init__(self) -> None:
        self._left = _VALUES_MAX

    def message(self, message: Message) -> Any:  # noqa: ANN401 (JSON)
        descriptor = message.DESCRIPTOR
        if descriptor.full_name in _JSON_FORMS:
            return json_format.MessageToDict(message, preserving_proto_field_name=True)
        found: dict[str, Any] = {}
        fields: Any = descriptor.fields
        self._left -= len(fields)
        if self._left < 0:
            msg = f"more than {_VALUES_MAX:,} values"
            raise NotDecodableError(msg)
        for field in fields:
            value = getattr(message, field.name)
            if field.is_repeated:
                found[field.name] = self._repeated(field, value)
            elif field.has_presence and not message.HasField(field.name):
                # An optional field is the only one of a oneof that protoc made for it.
                if field.containing_oneof is None or len(field.containing_oneof.fields) == 1:
                    found[field.name] = None
            else:
                found[field.name] = self._item(field, value)
        return found

    def _repeated(self, field: FieldDescriptor, value: Any) -> Any:  # noqa: ANN401 (a container of protobuf)
        entry: Any = field.message_type
        if entry is not None and entry.GetOptions().map_entry:
            item = entry.fields_by_name["value"]
            return {_key(key): self._item(item, value[key]) for key in value}
        return [self._item(field, each) for each in value]

    def _item(self, field: FieldDescriptor, value: Any) -> Any:  # noqa: ANN401 (JSON)
        if field.message_type is not None:
            return self.message(value)
        if field.enum_type is not None:
            named = field.enum_type.values_by_number.get(value)
            return value if named is None else named.name
        if isinstance(value, bytes):
            return bytes_text(value)
        return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _key(key: Any) -> str:  # noqa: ANN401 (a map's key: text, a number, a boolean)
    return str(key).lower() if isinstance(key, bool) else str(key)


def _files(schema: SchemaText) -> list[descriptor_pb2.FileDescriptorProto]:
    """Return the schema's file behind all that it imports."""
    main = _descriptor(schema.text)
    texts = {name: _descriptor(text) for name, text in schema.references.items()}
    if main is None or None in texts.values():
        return _compile(schema)
    main.name = _MAIN_FILE if main.name in texts or not main.name else main.name
    known = {name: each for name, each in texts.items() if each is not None}
    for name, each in known.items():
        each.name = name
    return _in_order(main, known)


def _descriptor(text: str) -> descriptor_pb2.FileDescriptorProto | None:
    """Return the file that base64 text holds, or None where the text is a .proto file's."""
    try:
        return descriptor_pb2.FileDescriptorProto.FromString(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        return None
    except Exception as error:  # noqa: BLE001 (protobuf's own errors have no common base)
        msg = f"no FileDescriptorProto: {error}"
        raise NotDecodableError(msg) from None


def _in_order(
    main: descriptor_pb2.FileDescriptorProto, known: dict[str, descriptor_pb2.FileDescriptorProto]
) -> list[descriptor_pb2.FileDescriptorProto]:
    """Return the files so that each stands behind those it imports."""
    done: dict[str, descriptor_pb2.FileDescriptorProto] = {}
    stack: list[tuple[descriptor_pb2.FileDescriptorProto, bool]] = [(main, False)]
    entered: set[str] = set()
    while stack:
        each, expanded = stack.pop()
        if expanded:
            done[each.name] = each
            continue
        if each.name in entered:
            continue
        entered.add(each.name)
        stack.append((each, True))
        for name in each.dependency:
            imported = known.get(name) or _well_known(name)
            if imported is None:
                msg = f"it imports {name}, which cannot be had"
                raise NotDecodableError(msg)
            stack.append((imported, False))
    return list(done.values())


def _well_known(name: str) -> descriptor_pb2.FileDescriptorProto | None:
    if name in _BUILT_IN:
        compiled = _compile(SchemaText("PROTOBUF", _BUILT_IN[name], name), name)
        return compiled[-1]
    if not name.startswith(_WELL_KNOWN) or not name.endswith(".proto"):
        return None
    try:
        module = import_module("google.protobuf." + name.removeprefix(_WELL_KNOWN).removesuffix(".proto") + "_pb2")
    except (ImportError, ValueError):
        return None
    found = descriptor_pb2.FileDescriptorProto()
    module.DESCRIPTOR.CopyToProto(found)
    return found


def _compile(schema: SchemaText, main: str = _MAIN_FILE) -> list[descriptor_pb2.FileDescriptorProto]:
    """Run protoc over the text of .proto files.

    Raises:
        NotDecodableError: It refuses them; the message is its own.
    """
    with tempfile.TemporaryDirectory(prefix="klamm-proto-") as folder:
        texts = {**_BUILT_IN, **schema.references, main: schema.text}
        for name, text in texts.items():
            parts = Path(name).parts
            if not parts or name.startswith("/") or ".." in parts:
                msg = f"{name!r} is no name of a file to import"
                raise NotDecodableError(msg)
            path = Path(folder, *parts)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        out = Path(folder, "klamm_descriptors")
        line = [sys.executable, "-m", "grpc_tools.protoc", f"-I{folder}", "--include_imports"]
        try:
            done = subprocess.run(  # noqa: S603 (our own interpreter, in a folder of our own)
                [*line, f"--descriptor_set_out={out}", main],
                capture_output=True,
                text=True,
                timeout=_COMPILE_TIMEOUT_S,
                check=False,
                cwd=folder,
            )
        except subprocess.TimeoutExpired:
            msg = f"protoc takes longer than {_COMPILE_TIMEOUT_S:g} s for schema {schema.name}"
            raise NotDecodableError(msg) from None
        if done.returncode != 0 or not out.exists():
            lines = [each.partition(f"{main}:") for each in done.stderr.splitlines()]
            told = [f"line {what.strip()}" for _, found, what in lines if found]
            reason = "; ".join(told)[:300]
            msg = f"schema {schema.name} is no Protobuf schema: {reason or 'protoc refuses it'}"
            raise NotDecodableError(msg)
        return list(descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file)
