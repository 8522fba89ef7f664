"""The life of one message on any cluster: who wrote it, when it could be read, which groups passed it and when.

| module | owns |
|---|---|
| ``model`` | a trace, its hops and notes |
| ``path`` | ``trace_path``: one message's hops from record timestamps, commits and groups |
| ``commits`` | when groups passed an offset: read in ``__consumer_offsets`` from a place found by time |
| ``reading`` | one record, and stretches of a partition's log |
| ``propagation`` | trace contexts in record headers, in every dialect |
"""

from klamm.client.tracing.model import Hop, Note, Trace
from klamm.client.tracing.path import trace_path

__all__ = ["Hop", "Note", "Trace", "trace_path"]
