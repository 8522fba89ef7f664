"""How to reach one cluster and what may be done there: a context's words made into values.

Property names are librdkafka's and Java's, verbatim (https://github.com/confluentinc/librdkafka CONFIGURATION.md;
``org.apache.kafka.common.config.SaslConfigs`` and ``SslConfigs``). Where they have two names for one thing both work.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import Final, NamedTuple

from klamm.client.errors import RefusedError, SettingsError

DEFAULT_BOOTSTRAP: Final = "localhost:9092"
DEFAULT_PORT: Final = 9092
SETUP_TIMEOUT_S: Final = 4.0
"""For TCP, TLS, SASL and the first answer together: a dead broker is reported within five seconds."""
REQUEST_TIMEOUT_S: Final = 30.0
"""As Kafka's request.timeout.ms."""

SECURITY_PROTOCOLS: Final = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS: Final = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER")


class Address(NamedTuple):
    """Where a broker listens."""

    host: str
    port: int

    def __str__(self) -> str:
        """Return ``host:port``, an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Settings(NamedTuple):
    """Everything :class:`klamm.client.cluster.Cluster` needs to know. Secrets are resolved."""

    bootstrap: tuple[Address, ...]
    properties: Mapping[str, str]
    context: str | None = None
    cluster_id: str | None = None
    env: str | None = None
    read_only: bool = False
    write: bool = False
    protect: tuple[str, ...] = ()
    address_map: Mapping[str, str] = {}
    registry: Mapping[str, str] = {}

    @property
    def security_protocol(self) -> str:
        """PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL."""
        return self.properties.get("security.protocol", "PLAINTEXT").upper()

    @property
    def uses_tls(self) -> bool:
        """Whether connections are encrypted."""
        return self.security_protocol.endswith("SSL")

    @property
    def uses_sasl(self) -> bool:
        """Whether connections authenticate."""
        return self.security_protocol.startswith("SASL")

    @property
    def mechanism(self) -> str:
        """The SASL mechanism. librdkafka's default is GSSAPI, which klamm has not."""
        named = self.properties.get("sasl.mechanism") or self.properties.get("sasl.mechanisms") or "GSSAPI"
        return named.upper()

    @property
    def client_id(self) -> str:
        """What brokers' audit logs show."""
        return self.properties.get("client.id", f"klamm/{klamm_version()}")

    def seconds(self, name: str, default: float) -> float:
        """Return a property in milliseconds as seconds."""
        text = self.properties.get(name)
        if text is None:
            return default
        if not text.isdigit():
            msg = f"{name}={text!r} is no number of milliseconds"
            raise SettingsError(msg)
        return int(text) / 1000

    @property
    def named(self) -> str:
        """What messages call these settings."""
        return f"context {self.context!r}" if self.context else "this session"

    def ensure_writable(self, what: str) -> None:
        """Check that what these settings reach, a cluster or a registry, may be changed.

        Raises:
            RefusedError: They are read-only, or of production and without ``--write``.
        """
        if self.read_only:
            msg = f"{what} refused: {self.named} is read-only"
            raise RefusedError(msg, "set read_only = false in the context (or unset KLAMM_READ_ONLY)")
        if self.env == "prod" and not self.write:
            msg = f"{what} refused: {self.named} has env = prod"
            raise RefusedError(msg, "add --write if you mean it")

    def check(self) -> None:
        """Check what can be checked without a connection.

        Raises:
            SettingsError: A value that cannot be meant.
        """
        if self.security_protocol not in SECURITY_PROTOCOLS:
            msg = f"security.protocol={self.security_protocol!r} is none of {', '.join(SECURITY_PROTOCOLS)}"
            raise SettingsError(msg)
        if self.uses_sasl and self.mechanism not in MECHANISMS:
            msg = f"sasl.mechanism={self.mechanism!r}: klamm speaks {', '.join(MECHANISMS)}"
            raise SettingsError(msg, "set sasl.mechanism, in the context or with -X sasl.mechanism=PLAIN")

    def credentials(self) -> tuple[str, str]:
        """Return (user, password), from sasl.username and sasl.password or from sasl.jaas.config.

        Raises:
            SettingsError: There are none.
        """
        user, password = self.properties.get("sasl.username"), self.properties.get("sasl.password")
        jaas = self.properties.get("sasl.jaas.config", "")
        user = user or _quoted("username", jaas)
        password = password or _quoted("password", jaas)
        if not user or password is None:
            missing = "sasl.username" if not user else "sasl.password"
            msg = f"{missing} is not set, and {self.mechanism} needs it"
            raise SettingsError(msg, f"KLAMM_X_{missing.upper().replace('.', '_')}=… or in the context")
        return user, password


def klamm_version() -> str:
    """Return klamm's version. The package is loaded; importing it by name would count as reaching for the broker."""
    return str(sys.modules["klamm"].__version__)


def parse_address(text: str) -> Address:
    """Return the address that ``host``, ``host:port`` or ``[v6]:port`` means; the port is 9092 unless said.

    Raises:
        SettingsError: It is no address.
    """
    text = text.strip().rpartition("://")[2]  # PLAINTEXT://host:port, as in advertised.listeners
    match = re.fullmatch(r"\[(?P<v6>[0-9a-fA-F:.%]+)\](?::(?P<p6>\d+))?|(?P<host>[^:\s/]+)(?::(?P<port>\d+))?", text)
    if match is None:
        msg = f"{text!r} is no HOST:PORT"
        raise SettingsError(msg, "klamm topics -b localhost:9092")
    port = int(match["p6"] or match["port"] or DEFAULT_PORT)
    if not 0 < port < 65536:  # noqa: PLR2004 (a port has 16 bits)
        msg = f"port {port} of {text!r} is not between 1 and 65535"
        raise SettingsError(msg)
    return Address(match["v6"] or match["host"], port)


def parse_bootstrap(text: str) -> tuple[Address, ...]:
    """Return the addresses of a list separated by commas."""
    addresses = tuple(parse_address(part) for part in text.split(",") if part.strip())
    if not addresses:
        msg = f"{text!r} names no broker"
        raise SettingsError(msg, "klamm topics -b localhost:9092")
    return addresses


def _quoted(name: str, jaas: str) -> str | None:
    match = re.search(rf'\b{name}="((?:[^"\\]|\\.)*)"', jaas)
    return None if match is None else match[1].replace('\\"', '"').replace("\\\\", "\\")
