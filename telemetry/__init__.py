"""What the broker counts of itself.

| file | counts |
|---|---|
| `actors.py` | each actor: depth, handled, busy, oldest waiting message, failures; restarts and dead letters |
| `requests.py` | each API: requests, errors, bytes, time |
| `journal.py` | what the hot path notes down, for all that follows |
| `flow.py` | the records of `__klamm_flow`, made of the journal's notes |
| `spans.py`, `message_spans.py`, `request_spans.py` | spans, made of them as well |
| `span_encoder.py` | spans as OTLP protobuf, for the broker's own topic |
| `instruments.py` | every metric: name, unit, labels |
| `client_payload.py` | the metrics that clients push |
| `export_health.py` | whether OTLP exports arrive, and what the log says of it |
| `otel_*.py` | the same through the OpenTelemetry SDK: imported only where something is asked for |
"""
