"""A controller with brokers, for tests."""

import itertools
from collections.abc import Callable
from uuid import UUID

from klamm.core.controller import Controller
from klamm.core.controller_requests import CreateTopics, NewTopic, RegisterBroker
from klamm.core.metadata_delta import MetadataDelta
from klamm.core.metadata_records import Endpoint
from klamm.model.configs_broker import BrokerConfig
from klamm.model.ids import BrokerId


def counting_uuids() -> Callable[[], UUID]:
    """Return a source of UUIDs: 1, then 2, and so on."""
    numbers = itertools.count(1)
    return lambda: UUID(int=next(numbers))


def register(broker: int, *, clean: bool = True) -> RegisterBroker:
    """Return the request with which a broker starts."""
    endpoint = Endpoint("PLAINTEXT", f"host{broker}", 9092)
    return RegisterBroker(BrokerId(broker), UUID(int=broker), (endpoint,), None, clean)


def controller(brokers: int = 1, **properties: str) -> Controller:
    """Return a controller that knows ``brokers`` brokers; underscores in the properties' names stand for dots."""
    config, _ = BrokerConfig.from_properties({name.replace("_", "."): text for name, text in properties.items()})
    made = Controller(config, counting_uuids())
    for broker in range(1, brokers + 1):
        apply(made, register(broker))
    return made


def apply(to: Controller, request: object) -> tuple[object, MetadataDelta | None]:
    """Decide and commit; return the outcome, and the delta if anything changed."""
    decision = to.decide(request, to.image.end_offset)  # type: ignore[arg-type]  # tests pass requests
    return decision.outcome, to.commit(1) if decision.records else None


def with_topic(brokers: int = 1, partitions: int = 2, **properties: str) -> Controller:
    """Return a controller that knows the topic ``t``."""
    made = controller(brokers, **properties)
    apply(made, CreateTopics((NewTopic("t", partitions),)))
    return made
