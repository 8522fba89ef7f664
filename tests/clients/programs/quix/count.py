"""Counts the records of each key with state: ``count.py BOOTSTRAP TOPIC STATE_DIRECTORY RECORDS``.

Ends after so many records and prints what it counted, in order, as JSON: [[key, count], …].
"""

import json
import sys
from typing import Any

from quixstreams import Application  # type: ignore[import-not-found]  # it is in an environment of its own


def main() -> None:
    """Run the application until it has counted enough."""
    bootstrap, topic, state_directory, records = sys.argv[1:]
    counted: list[tuple[str, int]] = []
    app = Application(
        bootstrap,
        consumer_group=topic,
        auto_offset_reset="earliest",
        state_dir=state_directory,
        commit_every=2,  # several commits a run: each writes the changelog and then the offsets
        loglevel="WARNING",
        consumer_extra_config={"session.timeout.ms": 6_000, "heartbeat.interval.ms": 500},
    )

    def count(_: object, key: Any, __: int, ___: object, state: Any) -> dict[str, int]:
        total = state.get("total", 0) + 1
        state.set("total", total)
        counted.append((key.decode(), total))
        return {"total": total}

    frame = app.dataframe(app.topic(topic, value_deserializer="bytes"))
    frame = frame.apply(count, stateful=True, metadata=True)
    frame.to_topic(app.topic(f"{topic}-counts", value_serializer="json"))
    app.run(count=int(records), timeout=60)
    print(json.dumps(counted))


if __name__ == "__main__":
    main()
