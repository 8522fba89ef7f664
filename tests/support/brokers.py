"""What a test may ask of a broker whatever its kind."""

from typing import Protocol


class Addressed(Protocol):
    """Anything clients can connect to, an embedded broker too."""

    @property
    def bootstrap(self) -> str:
        """Return ``host:port`` for clients."""
        ...


class Broker(Addressed, Protocol):
    """A running broker: ``KlammProcess`` or ``ApacheKafkaNode``."""

    name: str
    port: int

    @property
    def host(self) -> str:
        """Return the address clients connect to."""
        ...

    @property
    def pid(self) -> int:
        """Return the process id."""
        ...

    def log(self) -> str:
        """Return what the broker has logged."""
        ...
