"""Contexts out of the files of other tools: rpk, kafkactl, kaf, kcl, kcat, kaskade and Java's client.properties.

What a tool calls otherwise is given its librdkafka name. Secrets are taken over as they stand; the file that they are
written to is readable by its owner only.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from klamm.client.errors import SettingsError
from klamm.client.folders import config_folder
from klamm.client.property_names import is_known
from klamm.client.text import reason_of

Contexts = dict[str, dict[str, Any]]


def default_path(tool: str) -> Path | None:
    """Return where a tool keeps its configuration, the first place that is there."""
    home = Path.home()
    config = config_folder()
    places = {
        "rpk": [config / "rpk/rpk.yaml", Path("/etc/redpanda/redpanda.yaml")],
        "kafkactl": [config / "kafkactl/config.yml", home / ".kafkactl/config.yml", Path("kafkactl.yml")],
        "kaf": [home / ".kaf/config"],
        "kcl": [config / "kcl/config.toml", home / ".kcl/config.toml"],
        "kcat": [Path(os.environ["KCAT_CONFIG"])] if "KCAT_CONFIG" in os.environ else [config / "kcat.conf"],
        "kaskade": [Path("kaskade.toml"), Path("kaskade.ini")],
        "properties": [Path("client.properties")],
    }
    return next((path for path in places[tool] if path.is_file()), None)


def read_contexts(tool: str, path: Path) -> Contexts:
    """Return the contexts of a tool's file, by name.

    Raises:
        SettingsError: The file cannot be read, or is not that tool's.
    """
    try:
        text = path.read_text()
        found = _READERS[tool](text, path)
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path}: {reason_of(error)}"
        raise SettingsError(msg) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        msg = f"{path} is no configuration of {tool}: {error!r}"
        raise SettingsError(msg) from error
    if not found:
        msg = f"{path} names no cluster"
        raise SettingsError(msg)
    return found


def parse_properties(text: str) -> dict[str, str]:
    """Return the keys and values of a properties file: ``=`` or ``:``, comments, continued lines."""
    properties: dict[str, str] = {}
    lines = iter(text.splitlines())
    for line in lines:
        whole = line.strip()
        while whole.endswith("\\") and not whole.endswith("\\\\"):
            whole = whole[:-1] + next(lines, "").strip()
        if not whole or whole[0] in "#!":
            continue
        cut = min((place for sign in "=:" if (place := whole.find(sign)) >= 0), default=-1)
        if cut > 0:
            properties[whole[:cut].strip()] = whole[cut + 1 :].strip()
    return properties


def _from_properties(text: str, path: Path) -> Contexts:
    properties = parse_properties(text)
    servers = properties.pop("bootstrap.servers", None) or properties.pop("metadata.broker.list", None)
    keep = ("security.", "sasl.", "ssl.", "client.id", "enable.ssl.", "enable.sasl.", "request.timeout.ms")
    # What no client has is kept, too: the command tells of it, and a mistyped security.protocol is no trifle.
    kafka = {key: value for key, value in properties.items() if key.startswith(keep) or not is_known(key)}
    if servers is None and not any(is_known(key) for key in kafka):
        return {}
    name = "default" if path.name.startswith(".") else path.stem.replace(".", "-")
    return {name: _context(servers.split(",") if servers else None, kafka)}


def _from_rpk(text: str, _: Path) -> Contexts:
    found = _yaml(text)
    contexts: Contexts = {}
    profiles: list[dict[str, Any]] = found.get("profiles") or [{"name": "redpanda", **found.get("rpk", {})}]
    for profile in profiles:
        api = profile.get("kafka_api") or {}
        if api.get("brokers"):
            kafka = _security(
                tls=_tls(api.get("tls"), "ca_file", "cert_file", "key_file"),
                mechanism=(api.get("sasl") or {}).get("mechanism"),
                user=(api.get("sasl") or {}).get("user"),
                password=(api.get("sasl") or {}).get("password"),
            )
            contexts[profile["name"]] = _context(api["brokers"], kafka)
    return contexts


def _from_kafkactl(text: str, _: Path) -> Contexts:
    contexts: Contexts = {}
    for name, each in (_yaml(text).get("contexts") or {}).items():
        sasl, tls = each.get("sasl") or {}, each.get("tls") or {}
        enabled = sasl.get("enabled", False)
        mechanism = str(sasl.get("mechanism") or "plaintext").lower()
        kafka = _security(
            tls=_tls(tls, "ca", "cert", "certKey") if tls.get("enabled") else None,
            mechanism={
                "plaintext": "PLAIN",
                "scram-sha256": "SCRAM-SHA-256",
                "scram-sha512": "SCRAM-SHA-512",
                "oauth": "OAUTHBEARER",
            }.get(mechanism, mechanism.upper())
            if enabled
            else None,
            user=sasl.get("username"),
            password=sasl.get("password"),
            insecure=bool(tls.get("insecure")),
        )
        contexts[name] = _context(each["brokers"], kafka)
    return contexts


def _from_kaf(text: str, _: Path) -> Contexts:
    contexts: Contexts = {}
    for each in _yaml(text).get("clusters") or []:
        sasl = each.get("SASL") or {}
        protocol = str(each.get("security-protocol") or "")
        tls = each.get("TLS")
        kafka = _security(
            tls=_tls(tls or {}, "cafile", "clientfile", "clientkeyfile") if tls or protocol.endswith("SSL") else None,
            mechanism=sasl.get("mechanism"),
            user=sasl.get("username"),
            password=sasl.get("password"),
            insecure=bool((tls or {}).get("insecure")),
        )
        contexts[each["name"]] = _context(each["brokers"], kafka)
    return contexts


def _from_kcl(text: str, path: Path) -> Contexts:
    import tomllib  # noqa: PLC0415

    found = tomllib.loads(text)
    profiles: Mapping[str, Any] = found.get("profiles") or {path.stem if path.stem != "config" else "kcl": found}
    contexts: Contexts = {}
    for name, each in profiles.items():
        if not each.get("seed_brokers"):
            continue
        sasl, tls = each.get("sasl") or {}, each.get("tls")
        kafka = _security(
            tls=_tls(tls, "ca_cert_path", "client_cert_path", "client_key_path") if tls is not None else None,
            mechanism=str(sasl.get("method") or "").upper().replace("_", "-") or None,
            user=sasl.get("user"),
            password=sasl.get("pass"),
        )
        contexts[name] = _context(each["seed_brokers"], kafka)
    return contexts


def _from_kaskade(text: str, path: Path) -> Contexts:
    import configparser  # noqa: PLC0415

    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(text)
    except configparser.MissingSectionHeaderError:
        return _from_properties(text, path)
    except configparser.Error as error:
        raise ValueError(str(error)) from error
    contexts: Contexts = {}
    for section in parser.sections():
        pairs = {key: value.strip("\"'") for key, value in parser.items(section)}
        servers = pairs.pop("bootstrap.servers", None)
        if servers:
            contexts[section] = _context(servers.split(","), pairs)
    return contexts


def _context(brokers: Any, kafka: dict[str, str]) -> dict[str, Any]:  # noqa: ANN401 (a list or a text)
    listed = [str(each).strip() for each in (brokers.split(",") if isinstance(brokers, str) else brokers or ())]
    context: dict[str, Any] = {"bootstrap": listed} if listed else {}
    return context | ({"kafka": kafka} if kafka else {})


def _security(
    *,
    tls: dict[str, str] | None,
    mechanism: str | None,
    user: str | None,
    password: str | None,
    insecure: bool = False,
) -> dict[str, str]:
    kafka: dict[str, str] = {}
    protocol = ("SASL_" if mechanism else "") + ("SSL" if tls is not None else "PLAINTEXT")
    if protocol != "PLAINTEXT":
        kafka["security.protocol"] = protocol
    if mechanism:
        kafka["sasl.mechanism"] = mechanism
    if user:
        kafka["sasl.username"] = user
    if password:
        kafka["sasl.password"] = password
    if insecure:
        kafka["enable.ssl.certificate.verification"] = "false"
    return kafka | (tls or {})


def _tls(tls: Mapping[str, Any] | None, ca: str, certificate: str, key: str) -> dict[str, str] | None:
    if tls is None:
        return None
    names = {"ssl.ca.location": ca, "ssl.certificate.location": certificate, "ssl.key.location": key}
    return {ours: str(tls[theirs]) for ours, theirs in names.items() if tls.get(theirs)}


def _yaml(text: str) -> Mapping[str, Any]:
    import yaml  # noqa: PLC0415

    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
    if not isinstance(found, dict):
        msg = "no mapping at the top"
        raise TypeError(msg)
    return found


_READERS: Final[dict[str, Callable[[str, Path], Contexts]]] = {
    "rpk": _from_rpk,
    "kafkactl": _from_kafkactl,
    "kaf": _from_kaf,
    "kcl": _from_kcl,
    "kcat": _from_properties,
    "kaskade": _from_kaskade,
    "properties": _from_properties,
}
TOOLS: Final = tuple(_READERS)
