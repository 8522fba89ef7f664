"""Both fields of a record."""

from __future__ import annotations

from typing import Protocol

from klamm.client.decoding.decoded import Decoded
from klamm.client.decoding.framing import Headers
from klamm.client.decoding.ladder import FORMS, Options, decode
from klamm.client.errors import SettingsError


class Fields(Protocol):
    """What of a record is looked at: :class:`klamm.client.messages.record.Record` has it."""

    @property
    def topic(self) -> str: ...  # noqa: D102
    @property
    def key(self) -> bytes | None: ...  # noqa: D102
    @property
    def value(self) -> bytes | None: ...  # noqa: D102
    @property
    def headers(self) -> Headers: ...  # noqa: D102


class RecordDecoder:
    """Decodes keys and values of records of any topic, each in the form that was asked for."""

    def __init__(self, key_form: str = "auto", value_form: str = "auto") -> None:
        """Check the forms.

        Raises:
            SettingsError: There is no such form.
        """
        for form in (key_form, value_form):
            if form not in FORMS:
                msg = f"there is no form {form!r}; there is {', '.join(FORMS)}"
                raise SettingsError(msg)
        self._key = Options(key_form, is_key=True)
        self._value = Options(value_form)

    def key(self, record: Fields) -> Decoded:
        """Return what the key says."""
        return decode(record.key, self._key._replace(topic=record.topic), headers=record.headers)

    def value(self, record: Fields) -> Decoded:
        """Return what the value says."""
        return decode(record.value, self._value._replace(topic=record.topic), key=record.key, headers=record.headers)
