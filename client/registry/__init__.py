"""Schema registries: the HTTP API that Confluent's registry has, and Karapace, Redpanda and Apicurio with it.

| file | owns |
|---|---|
| `settings.py` | where the registry is, and how one authenticates: a context's `[registry]` table |
| `http.py` | one request: authentication, TLS, time limits, errors in words |
| `registry.py` | subjects, versions, ids, compatibility, modes: the operations |
| `copying.py` | subjects copied to another registry |
| `undoing.py` | changes as operations of the undo journal |
| `loader.py` | schemas for decoding, by id or GUID, cached |
"""
