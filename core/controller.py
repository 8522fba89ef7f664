"""The controller: decides what becomes of the cluster's metadata, and nothing else.

decide → append → replay → reply once committed (``klamm.actors.controller`` performs):

| step | who | what is true then |
|---|---|---|
| :meth:`Controller.decide` | this class, in steps | records and outcome are known; the next decision sees them |
| append, flush | the actor | the records are written, then flushed: committed |
| :meth:`Controller.commit` | this class | ``committed`` shows them; the delta is published; the reply leaves |
| :meth:`Controller.abandon` | this class | the disk refused: ``image`` is ``committed`` again, replies are errors |

There is one voter, so flushed is committed. With more of them, committing moves behind the quorum's high watermark and
nothing else here changes: decisions see ``image``, everybody else sees ``committed``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple
from uuid import UUID

from klamm.core.controller_configs import alter_configs
from klamm.core.controller_partitions import (
    alter_partition,
    elect_leaders,
    leader_epochs_after_crash,
    reassign_partitions,
)
from klamm.core.controller_requests import (
    AllocateProducerIds,
    AlterConfigs,
    AlterPartition,
    BrokerRegistered,
    ControllerOutcome,
    ControllerRequest,
    CreatePartitions,
    CreateTopics,
    DeleteTopics,
    ElectLeaders,
    ProducerIdBlock,
    ReassignPartitions,
    RegisterBroker,
)
from klamm.core.controller_topics import create_partitions, create_topics, delete_topics
from klamm.core.effective_configs import EffectiveConfigs
from klamm.core.metadata_delta import MetadataDelta, delta_between, delta_from_nothing
from klamm.core.metadata_image import EMPTY_IMAGE, MetadataImage
from klamm.core.metadata_records import (
    MetadataRecord,
    ProducerIdsRecord,
    RegisterBrokerRecord,
    encode_record,
)
from klamm.core.steps import Steps, to_end
from klamm.model.configs_broker import BrokerConfig
from klamm.model.errors import ErrorCode, KafkaError

PRODUCER_ID_BLOCK_SIZE: Final = 1000  # Kafka's ProducerIdsBlock.PRODUCER_ID_BLOCK_SIZE


class Decision(NamedTuple):
    """What is to be written, and what is answered once it is committed. ``encoded`` are the records' bytes."""

    records: list[MetadataRecord]
    outcome: ControllerOutcome
    encoded: list[bytes]


class _Uncommitted(NamedTuple):
    records: list[MetadataRecord]
    image: MetadataImage


class Controller:
    """The metadata as decided (``image``) and as committed.

    Invariant: ``image`` is ``committed`` after all of ``_uncommitted``, in order.
    """

    def __init__(self, config: BrokerConfig, new_uuid: Callable[[], UUID]) -> None:
        self.committed = EMPTY_IMAGE
        self.image = EMPTY_IMAGE
        self.configs = EffectiveConfigs(config)
        self._new_uuid = new_uuid
        self._uncommitted: deque[_Uncommitted] = deque()

    def load(self, image: MetadataImage) -> None:
        """Begin with what snapshot and log gave, at start-up."""
        assert not self._uncommitted, "loading after a decision"
        self.committed = self.image = image

    def loaded(self) -> MetadataDelta:
        """Return the delta from nothing to what was loaded."""
        return delta_from_nothing(self.committed, self.configs)

    def decide(self, request: ControllerRequest, next_offset: int) -> Decision:
        """Decide on a request; its records are visible to the next decision at once.

        Args:
            request: What is asked.
            next_offset: The offset that the first record will get. It serves as broker epoch: no other is the same.

        Raises:
            KafkaError: The request is refused as a whole. Nothing changed.
        """
        return to_end(self.decide_in_steps(request, next_offset))

    def decide_in_steps(self, request: ControllerRequest, next_offset: int) -> Steps[Decision]:
        """Decide as :meth:`decide` does, in steps. Nothing of it is visible before the last one.

        Whoever takes them decides nothing else meanwhile; after :meth:`abandon` what was decided half is dropped.

        Raises:
            KafkaError: The request is refused as a whole. Nothing changed.
        """
        before = self.image
        records, outcome = yield from self._decide(request, next_offset)
        encoded: list[bytes] = []
        if records:
            for record in records:
                encoded.append(encode_record(record))
                yield
            after = yield from before.replay_in_steps(records)
            assert self.image is before, "something else was decided or abandoned meanwhile"
            self.image = after
            self._uncommitted.append(_Uncommitted(records, after))
        return Decision(records, outcome, encoded)

    def commit(self, decisions: int) -> MetadataDelta:
        """Take the oldest ``decisions`` decisions with records as committed, and return what they change."""
        return to_end(self.commit_in_steps(decisions))

    def commit_in_steps(self, decisions: int) -> Steps[MetadataDelta]:
        """Commit as :meth:`commit` does. After the first step they are committed; the others find what this changes."""
        before = self.committed
        records: list[MetadataRecord] = []
        for _ in range(decisions):
            done = self._uncommitted.popleft()
            records += done.records
            self.committed = done.image
        yield
        return (yield from delta_between(before, self.committed, records, self.configs))

    def abandon(self, decisions: int) -> None:
        """Forget the newest ``decisions`` decisions with records: they could not be written."""
        for _ in range(decisions):
            self._uncommitted.pop()
        self.image = self._uncommitted[-1].image if self._uncommitted else self.committed

    def _decide(  # noqa: PLR0911 - one return for each kind of request
        self, request: ControllerRequest, next_offset: int
    ) -> Steps[tuple[list[MetadataRecord], ControllerOutcome]]:
        image, config = self.image, self.configs.broker
        match request:
            case CreateTopics():
                return (yield from create_topics(image, request, config, self._new_uuid))
            case DeleteTopics():
                return (yield from delete_topics(image, request, config))
            case CreatePartitions():
                return (yield from create_partitions(image, request))
            case AlterConfigs():
                return (yield from alter_configs(image, request, config))
            case AllocateProducerIds():
                return self._allocate_producer_ids(request)
            case RegisterBroker():
                return self._register(request, next_offset)
            case AlterPartition():
                return alter_partition(image, request)
            case ElectLeaders():
                return (yield from elect_leaders(image, request))
            case ReassignPartitions():
                return (yield from reassign_partitions(image, request))

    def _register(self, request: RegisterBroker, next_offset: int) -> tuple[list[MetadataRecord], BrokerRegistered]:
        known = self.image.brokers.get(request.broker_id)
        records: list[MetadataRecord] = [
            RegisterBrokerRecord(
                request.broker_id, request.incarnation_id, next_offset, request.endpoints, request.rack
            )
        ]
        if known is not None and not request.clean_shutdown:
            records += leader_epochs_after_crash(self.image, request.broker_id)
        return records, BrokerRegistered(next_offset)

    def _allocate_producer_ids(self, request: AllocateProducerIds) -> tuple[list[MetadataRecord], ProducerIdBlock]:
        broker = self.image.brokers.get(request.broker_id)
        if broker is None:
            msg = f"broker {request.broker_id} is not registered"
            raise KafkaError(msg, code=ErrorCode.BROKER_ID_NOT_REGISTERED)
        first = self.image.next_producer_id
        after = first + PRODUCER_ID_BLOCK_SIZE
        record = ProducerIdsRecord(request.broker_id, broker.broker_epoch, after)
        return [record], ProducerIdBlock(first, PRODUCER_ID_BLOCK_SIZE)
