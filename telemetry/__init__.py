"""What the broker counts of itself.

| file | counts |
|---|---|
| `actors.py` | each actor: depth, handled, busy, oldest waiting message, failures; restarts and dead letters |
| `requests.py` | each API: requests, errors, bytes, time |
"""
