"""Recordings: what a cluster was like, sampled into Arrow IPC files, and served again as a cluster.

| file | owns |
|---|---|
| `state.py` | what a sample knows, as rows by key, and how rows stand in Arrow |
| `sampling.py` | asks a cluster for one sample |
| `writing.py` | writes samples: changes since the sample before, all of it now and then, bounded files |
| `reading.py` | a recording's times, and the state at one of them |
| `serving.py`, `serving_groups.py` | answers requests from a state: every reading operation works on it |

`Recording(path).times` are its times, `Recording(path).cluster_at(time_ms)` is a cluster.
"""

from klamm.client.recording.reading import Recording

__all__ = ["Recording"]
