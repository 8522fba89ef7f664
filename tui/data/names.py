"""What there is by name, for the palette and completion, where no screen has been yet that shows it."""

from __future__ import annotations

import difflib
from typing import Final

from klamm.client.errors import ClientError, ResponseError
from klamm.client.groups import list_groups
from klamm.tui.part import Loaded
from klamm.tui.place import Place
from klamm.tui.session import Memory, Session

_NO_SUCH: Final = {3: "topic", 69: "group"}
"""Kafka's error codes: UNKNOWN_TOPIC_OR_PARTITION, GROUP_ID_NOT_FOUND."""
_NEAR_MAX: Final = 3


async def learn_names(session: Session) -> None:
    """Take down the names of topics, brokers and groups. What may not be seen has none; nothing is raised."""
    names, cluster = session.names, session.cluster
    try:
        metadata = await cluster.metadata()
        names.setdefault("topic", sorted(topic.name for topic in metadata.topics))
        names.setdefault("broker", [str(each.broker_id) for each in metadata.brokers])
        groups, _ = await list_groups(cluster)
        names.setdefault("group", sorted(group.group_id for group in groups))
    except ClientError:
        return


async def suggest_names(session: Session, place: Place, memory: Memory, loaded: Loaded) -> None:
    """Have errors that say that there is no such topic or group lead to the names that are near.

    The names are asked for once a screen, where none has been looked at that shows them.
    """
    errors = [loaded.error, *(part.error for part in loaded.parts.values())]
    for error in errors:
        kind = _NO_SUCH.get(error.number) if isinstance(error, ResponseError) else None
        if error is None or kind is None:
            continue
        name = place.name.rpartition(":")[0] if place.kind == "trace" else place.name  # TOPIC:PARTITION@OFFSET
        if "near" not in memory:
            if kind not in session.names:
                await learn_names(session)
            memory["near"] = difflib.get_close_matches(name, set(session.names.get(kind, ())) - {name}, _NEAR_MAX)
        near: list[str] = memory["near"]
        rest = place.name.removeprefix(name)
        error.next_step = " or ".join(f":{place.kind} {each}{rest}" for each in near) or f":{kind}s lists what there is"
