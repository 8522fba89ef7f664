"""JSON validated against its JSON Schema. An invalid value is decoded all the same, and its note says what is wrong.

A schema comes from other people, so validation has a budget of steps, follows no reference out of the schema and its
own references, and matches patterns with RE2, which takes linear time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import re2  # type: ignore[import-untyped]  # no types published
from jsonschema import validators
from jsonschema.exceptions import ValidationError
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from klamm.client.decoding.decoded import Decoded
from klamm.client.decoding.plain import NotDecodableError, decode_json
from klamm.client.decoding.schemas import SchemaText, parse_json

_STEPS_MAX: Final = 50_000
"""Keywords looked at for one value: about two seconds, and no further value is validated once they were not enough."""
_SIZE_MAX: Final = 1 << 20


class _TooManyStepsError(Exception):
    pass


class JsonSchema:
    """A JSON Schema that validates what it decodes."""

    def __init__(self, schema: SchemaText) -> None:
        """Parse the schema and those it refers to.

        Raises:
            NotDecodableError: It is none.
        """
        self.label = schema.name
        parsed = parse_json(schema.text, schema.name)
        self._steps = 0
        self._given_up = ""
        try:
            known: Registry[Any] = Registry()
            for name, text in schema.references.items():
                resource = Resource.from_contents(parse_json(text, name), default_specification=DRAFT202012)
                known = known.with_resource(name, resource)
            base: Any = validators.validator_for(parsed, default=validators.Draft7Validator)
            counted = {keyword: self._counted(keyword, check) for keyword, check in base.VALIDATORS.items()}
            self._validator: Any = validators.extend(base, counted)(parsed, registry=known)  # type: ignore[no-untyped-call]
        except NotDecodableError:
            raise
        except Exception as error:  # noqa: BLE001 (the schema is anybody's)
            msg = f"schema {schema.name} is no JSON Schema: {type(error).__name__}: {error}"
            raise NotDecodableError(msg) from None

    def decode(self, payload: bytes, rest: bytes | None = None) -> Decoded:  # noqa: ARG002 (JSON needs no more)
        """Return the value; its note says where it contradicts the schema.

        Raises:
            NotDecodableError: The bytes are no JSON.
        """
        found = decode_json(payload)
        decoded = Decoded("jsonschema", found.value, found.note, text=found.text, schema=self.label)
        wrong = self._wrong(found.value) if len(payload) <= _SIZE_MAX else "too large to be validated"
        return decoded.with_note(wrong) if wrong else decoded

    def decode_bare(self, payload: bytes) -> Decoded:
        """Do the same: nothing stands in front.

        Raises:
            NotDecodableError: As above.
        """
        return self.decode(payload)

    def _wrong(self, value: Any) -> str:  # noqa: ANN401 (JSON)
        if self._given_up:
            return self._given_up
        self._steps = 0
        try:
            first: ValidationError | None = next(self._validator.iter_errors(value), None)
        except _TooManyStepsError:
            self._given_up = f"not validated: schema {self.label} takes more than {_STEPS_MAX:,} steps"
            return self._given_up
        except RecursionError:
            return f"not validated: schema {self.label} refers to itself without end"
        except Exception as error:  # noqa: BLE001 (a reference that leads nowhere, a keyword of the wrong type)
            return f"not validated: schema {self.label}: {type(error).__name__}: {error}"
        if first is None:
            return ""
        reason = first.message if len(first.message) < 200 else f"{first.message[:200]}…"  # noqa: PLR2004 (one line)
        return f"does not match schema {self.label}: {first.json_path}: {reason}"

    def _counted(self, keyword: str, check: Callable[..., Any]) -> Callable[..., Iterator[ValidationError]]:
        """Return a keyword's check within the budget, patterns with RE2."""
        checked = _WITH_RE2.get(keyword, check)

        def counted(validator: Any, wanted: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:  # noqa: ANN401
            self._steps += 1
            if self._steps > _STEPS_MAX:
                raise _TooManyStepsError
            yield from checked(validator, wanted, instance, schema) or ()

        return counted


def _pattern(validator: Any, wanted: str, instance: Any, schema: Any) -> Iterator[ValidationError]:  # noqa: ANN401, ARG001
    if isinstance(instance, str) and not re2.search(wanted, instance):
        yield ValidationError(f"{instance!r} does not match {wanted!r}")


def _pattern_properties(
    validator: Any,  # noqa: ANN401 (jsonschema's interface)
    wanted: dict[str, Any],
    instance: Any,  # noqa: ANN401 (JSON)
    schema: Any,  # noqa: ANN401, ARG001 (as above)
) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    for pattern, subschema in wanted.items():
        for key, value in instance.items():
            if re2.search(pattern, key):
                yield from validator.descend(value, subschema, path=key, schema_path=pattern)


def _additional_properties(
    validator: Any,  # noqa: ANN401 (as above)
    wanted: Any,  # noqa: ANN401 (as above)
    instance: Any,  # noqa: ANN401 (as above)
    schema: Any,  # noqa: ANN401 (as above)
) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    patterns = list(schema.get("patternProperties", ()))
    more = [
        key
        for key in instance
        if key not in schema.get("properties", ()) and not any(re2.search(each, key) for each in patterns)
    ]
    if wanted is False and more:
        yield ValidationError(f"additional properties are not allowed: {', '.join(map(repr, more))}")
    elif isinstance(wanted, dict):
        for key in more:
            yield from validator.descend(instance[key], wanted, path=key)


def _unevaluated_properties(
    validator: Any,  # noqa: ANN401 (as above)
    wanted: Any,  # noqa: ANN401 (as above)
    instance: Any,  # noqa: ANN401 (as above)
    schema: Any,  # noqa: ANN401 (as above)
) -> Iterator[ValidationError]:
    """Let jsonschema check it, but not where it would match patterns with Python's own engine."""
    if "patternProperties" not in str(schema):
        yield from validators.Draft202012Validator.VALIDATORS["unevaluatedProperties"](
            validator, wanted, instance, schema
        )


_WITH_RE2: Final[dict[str, Callable[..., Any]]] = {
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
    "unevaluatedProperties": _unevaluated_properties,
}
