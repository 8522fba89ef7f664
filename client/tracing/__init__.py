"""The life of one message on any cluster: who wrote it, when it could be read, which groups passed it and when.

| module | owns |
|---|---|
| ``model`` | a trace, its hops and notes |
| ``path`` | ``trace_path``: one message's hops from record timestamps, commits and groups |
| ``commits`` | when groups passed an offset: read in ``__consumer_offsets`` from a place found by time |
| ``asking`` | the exchanges of a path, without ``kio`` |
| ``bystanders`` | what groups have committed in the message's partition, and who reads it |
| ``retention`` | why an offset is gone |
| ``children`` | other messages with the same trace id, within a bound |
| ``recorded`` | what is in ``__klamm_flow`` and ``otlp_spans`` of a message |
| ``facts``, ``assembly``, ``joining``, ``notes`` | all that was found; from that to hops and notes; pure |
| ``critical`` | where the time went |
| ``waterfall`` | the picture |
| ``neighbours``, ``typical`` | messages before it; its steps beside the median of theirs |
| ``exports`` | a trace as OTLP, Perfetto, Mermaid |
| ``reading``, ``windows`` | one record; stretches of a partition's log, where it matters |
| ``propagation`` | trace contexts in record headers, in every dialect |
| ``finding`` | every record of topics with an id, a header or a key |
| ``otlp``, ``normalise``, ``spans`` | OTLP as bytes; the words of every instrumentation in one form; a bounded store |
| ``receiver``, ``joiner``, ``span_files`` | OTLP over HTTP; which record a span is about; spans in a file |
| ``following`` | messages live, with the commits that pass them |
| ``probe`` | a record sent to be timed |
"""

from klamm.client.tracing.model import Hop, Note, Trace
from klamm.client.tracing.path import trace_path

__all__ = ["Hop", "Note", "Trace", "trace_path"]
