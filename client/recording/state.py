"""What one sample knows: rows by key. A row is the same whether it was written whole or as a change.

| kind | name | topic, partition | broker | offset | end | time | body (JSON) |
|---|---|---|---|---|---|---|---|
| sample | | | | number of the sample | 1 where it holds everything | | error, where the cluster did not answer |
| cluster | | | controller | | | | id, brokers, may_describe: whether groups may be hidden from who recorded |
| topic | | topic | | | | | id, internal |
| partition | | both | leader | start | end | | epoch, replicas, isr, offline |
| group | group | | coordinator | | | | state, type, protocol |
| members | group | | coordinator | | | | the group as it was described |
| commit | group | both | | committed | | | epoch, metadata, share lag |
| record | | both | | offset of the record | high watermark | timestamp | source, stable and start offset |
| config | type:name | | | | | | entries |
| logdir | path | | broker | | | | sizes |
| gone | | | | | | | the key of a row that is no more |

A record's row is keyed by its offset as well: two groups may stand at two records of one partition.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

FORMAT: Final = "1"
FORMAT_KEY: Final = b"klamm.recording"
GONE: Final = "gone"
SAMPLE: Final = "sample"

Key = tuple[str, str, str, int]
"""Kind, name (of a group, config, directory, or a record's offset), topic, partition."""


class Row(NamedTuple):
    """One thing at one time; -1 where a number means nothing."""

    kind: str
    name: str = ""
    topic: str = ""
    partition: int = -1
    broker: int = -1
    offset: int = -1
    end: int = -1
    time_ms: int = -1
    body: str = ""

    @property
    def key(self) -> Key:
        """What it is about."""
        return self.kind, self.name, self.topic, self.partition

    def json(self) -> dict[str, Any]:
        """Return the body."""
        found: dict[str, Any] = json.loads(self.body) if self.body else {}
        return found


State = dict[Key, Row]


def hides_groups(state: State) -> bool:
    """Return whether there may be groups that whoever recorded was not shown (:func:`cluster_rights.may_describe`)."""
    row = state.get(("cluster", "", "", -1))
    return row is not None and row.json().get("may_describe") is False


def body(**fields: object) -> str:
    """Return a body; the same fields give the same text, so that a change can be seen."""
    return json.dumps(fields, separators=(",", ":"), sort_keys=True)


def changes(before: State, after: State) -> list[Row]:
    """Return the rows that make ``before`` into ``after``."""
    rows = [row for key, row in after.items() if before.get(key) != row]
    gone = [Row(GONE, name, topic, partition, body=kind) for kind, name, topic, partition in before if
            (kind, name, topic, partition) not in after]  # fmt: skip
    return rows + gone


def apply(state: State, rows: Iterable[Row]) -> None:
    """Change a state as rows of :func:`changes` say."""
    for row in rows:
        if row.kind == GONE:
            state.pop((row.body, row.name, row.topic, row.partition), None)
        elif row.kind != SAMPLE:
            state[row.key] = row


def schema() -> Any:  # noqa: ANN401 (pyarrow has no types)
    """Return the Arrow schema of a recording."""
    import pyarrow as pa  # noqa: PLC0415 (a tenth of a second that only recordings take)

    return pa.schema(
        [
            ("at", pa.timestamp("ms", tz="UTC")),
            ("kind", pa.string()),
            ("name", pa.string()),
            ("topic", pa.string()),
            ("partition", pa.int32()),
            ("broker", pa.int32()),
            ("offset", pa.int64()),
            ("end", pa.int64()),
            ("time_ms", pa.int64()),
            ("body", pa.string()),
        ],
        metadata={FORMAT_KEY: FORMAT.encode()},
    )
