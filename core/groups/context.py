"""What the machines of one coordinator share: groups, timers, configuration, and the effects of the event at hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from klamm.core.groups.classic_group import ClassicGroup
from klamm.core.groups.config import GroupConfig
from klamm.core.groups.consumer_group import ConsumerGroup
from klamm.core.groups.deadlines import Deadlines
from klamm.core.groups.messages import Append, Effect, Now, Reply, Topics
from klamm.model.errors import ErrorCode, KafkaError
from klamm.records.offsets_schema import GroupRecord


class GroupIdNotFoundError(KafkaError):
    """There is no such group, or not of that type."""

    code = ErrorCode.GROUP_ID_NOT_FOUND


@dataclass(slots=True)
class Context:
    """Shared by the machines; ``now`` is the time of the event at hand.

    Attributes:
        new_id: Returns a fresh UUID as text; randomness comes from outside.
        replay: Applies a record to the state, live and on load alike.
    """

    config: GroupConfig
    topics: Topics
    new_id: Callable[[], str]
    replay: Callable[[GroupRecord], None]
    groups: dict[str, ClassicGroup | ConsumerGroup] = field(default_factory=dict)
    deadlines: Deadlines = field(default_factory=Deadlines)
    effects: list[Effect] = field(default_factory=list)
    now: Now = field(default_factory=lambda: Now(0, 0))

    def reply(self, reply_to: object, result: object) -> None:
        """Answer, after all that was appended before."""
        self.effects.append(Reply(reply_to, result))

    def write(self, records: list[GroupRecord]) -> None:
        """Append records and apply them."""
        if records:
            self.effects.append(Append(tuple(records)))
            for record in records:
                self.replay(record)

    def checkpoint(self, record: GroupRecord) -> None:
        """Append a record of state that is already so: a classic group changes in memory first, as in Kafka."""
        self.effects.append(Append((record,)))

    def classic_group(self, group_id: str) -> ClassicGroup:
        """Return the classic group.

        Raises:
            GroupIdNotFoundError: There is none of that id, or it is a consumer group.
        """
        group = self.groups.get(group_id)
        if group is None:
            msg = f"Group {group_id} not found."
            raise GroupIdNotFoundError(msg)
        if not isinstance(group, ClassicGroup):
            msg = f"Group {group_id} is not a classic group."
            raise GroupIdNotFoundError(msg)
        return group

    def consumer_group(self, group_id: str) -> ConsumerGroup:
        """Return the consumer group.

        Raises:
            GroupIdNotFoundError: There is none of that id, or it is a classic group.
        """
        group = self.groups.get(group_id)
        if group is None:
            msg = f"Group {group_id} not found."
            raise GroupIdNotFoundError(msg)
        if not isinstance(group, ConsumerGroup):
            msg = f"Group {group_id} is not a consumer group."
            raise GroupIdNotFoundError(msg)
        return group
