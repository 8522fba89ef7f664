"""What changes slowly of topics, or costs the brokers more: sizes, log starts, last writes, configs.

What one look sends is said in ``topics``; whose turn it is :class:`klamm.tui.data.topics.Known` keeps.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from klamm.client.configs import describe_configs
from klamm.client.errors import ClientError
from klamm.client.offsets import EARLIEST, MAX_TIMESTAMP, Partition, list_offsets
from klamm.client.offsets_watch import OffsetsWatch
from klamm.client.topics import log_dirs
from klamm.client.wire import ClusterMetadata, TopicMetadata
from klamm.tui.session import Session

if TYPE_CHECKING:
    from klamm.tui.data.topics import Known

SLOW_MS: Final = 10_000
"""How often sizes, log starts and last writes are looked at."""
MINUTE_MS: Final = 60_000
"""How often configs are looked at, and sizes while nothing is written anywhere."""
PARTITIONS_EACH_SLOW_LOOK: Final = 5_000
"""Of how many partitions sizes are looked at every :data:`SLOW_MS`; of twice as many half as often. Reading the sizes
of 30,000 takes half a second of CPU here, and more of the brokers."""
_KEYS: Final = ("cleanup.policy", "retention.ms", "min.insync.replicas")


async def look_slowly(
    session: Session,
    metadata: ClusterMetadata,
    topics: Sequence[TopicMetadata],
    known: Known,
    changed: bool,  # noqa: FBT001 (as :func:`is_due` has it)
) -> list[ClientError]:
    """Look at what changes slowly or costs the brokers more. What may not be seen stays unknown and hinders nothing."""
    errors = await _look_at_sizes(session, metadata, known)
    await _look_at_starts(session, metadata, topics, known)
    await _look_at_writes(session, metadata, topics, known)
    names = [topic.name for topic in topics]
    due = changed or session.now_ms - known.configs_at_ms >= MINUTE_MS
    wanted = sorted(name for name in names if due or name not in known.configs)
    if wanted:
        known.configs_at_ms = session.now_ms if due else known.configs_at_ms
        try:
            configs, _ = await describe_configs(session.cluster, [("topic", name) for name in wanted], _KEYS)
        except ClientError as error:
            errors.append(error)
        else:
            found = {name: {e.name: e.value for e in entries} for (_, name), entries in configs.items()}
            known.forget_rows(name for name, each in found.items() if known.configs.get(name) != each)
            known.configs.update(found)
    return errors


async def _look_at_starts(
    session: Session, metadata: ClusterMetadata, topics: Sequence[TopicMetadata], known: Known
) -> None:
    """Take the log starts of some topics, and of all of which none is known although their end is."""
    missing = (known.ends.keys() - known.starts.keys()).difference(topic.name for topic in topics)
    watches = [known.starts_watch] if known.starts_watch is not None and known.in_view else []
    if not watches:
        missing.update(topic.name for topic in topics)
    if missing:
        wanted = partitions_of(topic for topic in known.topics if topic.name in missing)
        watches.append(OffsetsWatch(metadata, dict.fromkeys(wanted, EARLIEST)))
    for watch in watches:
        found, _ = await watch.ask(session.cluster) or ({}, {})
        for (name, index), each in found.items():
            starts = known.starts.setdefault(name, {})
            if starts.get(index) != each.offset:
                starts[index] = each.offset
                known.grown = True
                known.forget_rows((name,))


async def _look_at_writes(
    session: Session, metadata: ClusterMetadata, topics: Sequence[TopicMetadata], known: Known
) -> None:
    """Take when something was last written into some topics, where their ends have moved since the last look."""
    ends = {(topic.name, index): end for topic in topics for index, end in known.ends.get(topic.name, {}).items()}
    moved = {where: end for where, end in ends.items() if known.written_at.get(where) != end}
    if not moved:
        return
    newest, _ = await list_offsets(session.cluster, metadata, dict.fromkeys(moved, MAX_TIMESTAMP))
    for where, found in newest.items():
        known.written_at[where] = moved[where]
        if found.timestamp_ms > known.last_write_ms.get(where[0], -1):
            known.last_write_ms[where[0]] = found.timestamp_ms
            known.forget_rows((where[0],))


async def _look_at_sizes(session: Session, metadata: ClusterMetadata, known: Known) -> list[ClientError]:
    """Take what topics take on disk, unless there are so many partitions that it is not yet time again."""
    partitions = sum(len(topic.partitions) for topic in metadata.topics)
    pause_ms = SLOW_MS * (partitions // PARTITIONS_EACH_SLOW_LOOK)
    if session.now_ms - known.sizes_at_ms < (pause_ms if known.grown else max(pause_ms, MINUTE_MS)):
        return []
    known.sizes_at_ms, known.grown = session.now_ms, False
    try:
        dirs, failed = await log_dirs(session.cluster, [broker.broker_id for broker in metadata.brokers])
    except ClientError as error:
        return [error]
    sizes: dict[str, int] = {}
    for each in dirs:
        for replica in each.replicas:
            sizes[replica.topic] = sizes.get(replica.topic, 0) + replica.size_bytes
    sized = frozenset(broker.broker_id for broker in metadata.brokers) - failed.keys()
    changed = None if sized != known.sized else [name for name, size in sizes.items() if known.sizes.get(name) != size]
    known.sized = sized
    known.forget_rows(changed)
    known.sizes.update(sizes)
    return list(failed.values())


def partitions_of(topics: Iterable[TopicMetadata]) -> list[Partition]:
    """Return the partitions of some topics that have a leader."""
    return [(topic.name, part.partition) for topic in topics for part in topic.partitions if part.leader >= 0]
