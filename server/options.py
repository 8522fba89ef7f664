"""Where a node keeps its data and where it is reached: what is decided outside Kafka's own configs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 9092
PORT_MAX: Final = 65535
PLAINTEXT: Final = "PLAINTEXT"
"""The one protocol that is served: no TLS, nobody logs in."""
WILDCARD: Final = ("0.0.0.0", "::")  # noqa: S104
"""Listens on every interface of the host; nobody can connect to it from another one."""


class AddressError(ValueError):
    """Not a host and port. The message says what was expected."""


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a port; written ``host:port``, an IPv6 host in brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        """Return it as it is written."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str, default_port: int = DEFAULT_PORT) -> Address:
        """Read ``host:port``, ``host``, ``:port`` or Kafka's ``PLAINTEXT://host:port``.

        Raises:
            AddressError: It is none of these.
        """
        _, _, rest = text.rpartition("://")
        scheme = text[: len(text) - len(rest)].removesuffix("://")
        if scheme and scheme.upper() != PLAINTEXT:
            msg = f"{text!r}: only PLAINTEXT listeners are served, not {scheme}"
            raise AddressError(msg)
        if "," in rest:
            msg = f"{text!r} are several addresses: give one"
            raise AddressError(msg)
        if rest.startswith("["):
            host, bracket, after = rest[1:].partition("]")
            if not bracket or (after and not after.startswith(":")):
                msg = f"{text!r}: an IPv6 host stands in brackets, its port behind a colon, as in [::1]:9092"
                raise AddressError(msg)
            port_text = after.removeprefix(":")
        elif rest.count(":") > 1:
            msg = f"{text!r}: write an IPv6 host in brackets, as in [::1]:9092"
            raise AddressError(msg)
        else:
            host, _, port_text = rest.partition(":")
        if rest != "".join(rest.split()):
            msg = f"{text!r}: a space is no part of an address"
            raise AddressError(msg)
        if port_text and not (port_text.isdecimal() and int(port_text) <= PORT_MAX):
            msg = f"{text!r}: {port_text!r} is no port (0 to {PORT_MAX})"
            raise AddressError(msg)
        if host.isdecimal() and not port_text:
            msg = f"{text!r} is a port alone: write {DEFAULT_HOST}:{host}, or :{host} for every interface"
            raise AddressError(msg)
        return cls(host or "0.0.0.0", int(port_text) if port_text else default_port)  # noqa: S104 (Kafka: no host, all interfaces)


@dataclass(frozen=True, slots=True)
class NodeOptions:
    """What a node needs besides its configs.

    Attributes:
        data: The folder of its data; None keeps everything in memory.
        listen: Where it listens; port 0 is a free one.
        advertised: What clients are told to connect to, port 0 for that where it listens; None: where it listens.
    """

    data: Path | None
    listen: Address
    advertised: Address | None = None
