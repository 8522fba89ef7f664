"""Bytes to messages and back: headers, the API table, the codecs.

| file | owns |
|---|---|
| `apis.py` | every API key, its versions, since when it is flexible |
| `header.py` | request and response headers |
| `produce.py`, `fetch.py` | Produce and Fetch by hand, for the data path |
| `heartbeat.py`, `consumer_heartbeat.py`, `offset_commit_codec.py` | what members of groups ask often, by hand |
| `repeated_commit.py`, `repeated_fetch.py`, `repeated_produce.py` | requests that come again, nearly the same |
| `offset_fetch_response.py` | the answer to an OffsetFetch by hand: it may hold a million commits |
| `pieces.py` | what a response is made of: bytes, or a file's |
| `fetch_client.py`, `replica_fetch.py` | Fetch from the client's side, and from a follower's |
| `provenance.py` | who sent each batch and when it was appended, as followers are told |
| `messages.py` | every message in its newest shape: what handlers and the client use |
| `sliced_request.py`, `sliced_response.py` | large ones of them, decoded and encoded in slices |
| `adapters.py`, `ignorable.py` | messages whose shape changed between versions; what an older one may leave out |
| `decoder.py`, `encoder.py`, `conversion.py`, `schema.py` | how `messages.py` does it, over `kio`'s dataclasses |
| `offset_commit.py`, `offset_fetch.py`, `*_messages.py` | newest shapes with what only older versions have |
| `primitives.py`, `varint.py` | the primitive types of the wire |
| `kio_loader.py` | `kio`, imported without what it drags in |
| `errors.py` | `ProtocolError`: bytes that cannot be answered |
"""
