"""Which of a config file's listeners is served, and what its clients are told to connect to.

Kafka's listeners have names, which ``listener.security.protocol.map`` gives protocols; those in
``controller.listener.names`` are for controllers and stand in the same list. One of the others is served: the first
that speaks PLAINTEXT.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from klamm.model.configs_broker import BrokerConfig
from klamm.server.options import DEFAULT_HOST, DEFAULT_PORT, PLAINTEXT, Address, AddressError

CONTROLLER: Final = "CONTROLLER"
"""What Kafka's own example files call the controller's listener."""


class Listeners(NamedTuple):
    """What was decided.

    Attributes:
        listen: Where to listen.
        advertised: What clients are told; None: where it listens.
        others: Listeners that are named and not served, as they were written.
    """

    listen: Address
    advertised: Address | None
    others: tuple[str, ...]


def choose(config: BrokerConfig, listen: str, advertise: str) -> Listeners:
    """Return what these two flags and the config say; an empty flag was not given.

    Raises:
        AddressError: Something is no address, or nothing speaks PLAINTEXT.
    """
    name, others = "", tuple[str, ...]()
    if listen:
        address = Address.parse(listen)
    else:
        texts = _of_clients(config, config.listeners)
        served = next((text for text in texts if _protocol(config, text) == PLAINTEXT), texts[0] if texts else "")
        name, address = _name(served), _parse(config, served) if served else Address(DEFAULT_HOST, DEFAULT_PORT)
        others = tuple(text for text in texts if text != served)
    if advertise:
        return Listeners(address, Address.parse(advertise, address.port), others)
    told = _of_clients(config, config.advertised_listeners)
    plain = [text for text in told if _protocol(config, text) == PLAINTEXT] or told
    text = next((text for text in plain if _name(text) == name), plain[0] if plain else "")
    return Listeners(address, _parse(config, text, address.port) if text else None, others)


def _of_clients(config: BrokerConfig, texts: tuple[str, ...] | None) -> list[str]:
    controllers = config.controller_listener_names or (CONTROLLER,)
    return [text for text in texts or () if _name(text) not in {name.upper() for name in controllers}]


def _name(text: str) -> str:
    return text.partition("://")[0].upper() if "://" in text else ""


def _protocol(config: BrokerConfig, text: str) -> str:
    """Return what a listener speaks; a name that the map lacks is a protocol's own."""
    pairs = (pair.strip().partition(":") for pair in config.listener_security_protocol_map.split(","))
    protocols = {name.strip().upper(): protocol.strip().upper() for name, _, protocol in pairs}
    name = _name(text) or PLAINTEXT
    return protocols.get(name, name)


def _parse(config: BrokerConfig, text: str, default_port: int = DEFAULT_PORT) -> Address:
    protocol = _protocol(config, text)
    if protocol != PLAINTEXT:
        msg = f"{text!r}: only PLAINTEXT listeners are served, not {protocol}"
        raise AddressError(msg)
    return Address.parse(text.rpartition("://")[2], default_port)
