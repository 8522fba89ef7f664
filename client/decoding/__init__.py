"""Bytes of keys and values as something a person or a filter can use. Nothing here raises, whatever the bytes are.

:func:`decode` takes one field; :class:`RecordDecoder` takes both fields of records, and loads the schemas they need.

| file | owns |
|---|---|
| `decoded.py` | what comes out, and a value as JSON in one line that is safe to print |
| `ladder.py` | the forms, which one is tried when, `decode` |
| `framing.py` | which schema of a registry a field says it was written with |
| `records.py` | both fields of a record, and the schemas to load for a batch of records |
| `display.py` | control characters, terminal escapes and invisible ones made visible |
| `plain.py` | JSON, text, hex, base64, numbers, UUIDs |
| `messagepack.py` | MessagePack |
| `schemas.py` | schemas as text, and made ready to decode with, within limits |
| `avro.py`, `avro_bounds.py` | Avro, and how much a schema can make of few bytes |
| `protobuf.py` | Protobuf |
| `json_schema.py` | JSON validated against its schema |
| `internal_topics.py` | the records of `__consumer_offsets` and `__transaction_state` |
"""

from klamm.client.decoding.decoded import Decoded
from klamm.client.decoding.display import visible
from klamm.client.decoding.ladder import FORMS, Options, decode
from klamm.client.decoding.records import RecordDecoder, open_decoder, read_schema

__all__ = ["FORMS", "Decoded", "Options", "RecordDecoder", "decode", "open_decoder", "read_schema", "visible"]
