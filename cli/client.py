"""``klamm client``: list, describe, top. Who is connected to a klamm broker; no other tells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from klamm.cli.names import names_or_all
from klamm.cli.output import Column, Item, Result, Table, count_text, size_text
from klamm.cli.run import Run
from klamm.cli.spec import Argument, Command, Example
from klamm.client.errors import ClientError
from klamm.client.text import duration_text

if TYPE_CHECKING:
    from klamm.client.state import Round

_NAMES = Argument("names", "client ids or addresses, or globs; all if none", required=False, repeat=True)
_SOME = Argument("names", "client ids or addresses, or globs", repeat=True)
_MS_IN_S = 1000


def _rate(value: float) -> str:
    return f"{size_text(round(value))}/s"


LIST_COLUMNS = (
    Column("CLIENT", "client_id"),
    Column("SOFTWARE", "software"),
    Column("ADDRESS", "name"),
    Column("IN", "in_per_s", right=True, show=_rate),
    Column("OUT", "out_per_s", right=True, show=_rate),
    Column("REQUESTS/S", "requests_per_s", right=True, show=count_text),
    Column("ERRORS", "errors", right=True, show=count_text),
    Column("LAST ERROR", "last_error"),
    Column("GROUPS", "groups"),
)


async def list_clients(run: Run) -> Result:
    """List the connections: two looks, a second apart, for the rates."""
    items, missing = await _items(run)
    return Result(items, LIST_COLUMNS, missing, empty="no clients")


async def top_clients(run: Run) -> Result:
    """List the connections, those that move most bytes first."""
    items, missing = await _items(run)
    items.sort(key=lambda item: (-(item["in_per_s"] + item["out_per_s"]), -item["requests_per_s"], item["name"]))
    return Result(items, LIST_COLUMNS, missing, empty="no clients")


async def describe_clients(run: Run) -> Result:
    """Describe connections: every fact, one to a line."""
    items, missing = await _items(run)
    columns = (Column("WHAT", "what"), Column("VALUE", "value"))
    tables = [Table(f"{item['client_id'] or '-'}   {item['name']}", columns, _lines(item)) for item in items]
    return Result(items, (), missing, tables)


def _lines(item: Item) -> list[Item]:
    waiting = f"{item['unanswered']} unanswered"
    return [
        {"what": "software", "value": item["software"]},
        {"what": "connected for", "value": duration_text(item["connected_for_ms"])},
        {"what": "idle for", "value": duration_text(item["idle_ms"])},
        {"what": "in", "value": f"{_rate(item['in_per_s'])}, {size_text(item['received_size'])} in all"},
        {"what": "out", "value": f"{_rate(item['out_per_s'])}, {size_text(item['sent_size'])} in all"},
        {"what": "requests", "value": f"{item['requests']:,}, {waiting}, the last {item['last_api'] or '-'}"},
        {"what": "errors", "value": f"{item['errors']:,}, the last {item['last_error'] or '-'}"},
        {"what": "groups", "value": ",".join(item["groups"]) or None},
        {"what": "client instance id", "value": item["client_instance_id"] or "none: it pushes no metrics"},
    ]


async def _items(run: Run) -> tuple[list[Item], list[ClientError]]:
    from klamm.client.state import two_rounds

    before, after = await two_rounds(run.cluster)
    chosen, errors = _chosen(run, after)
    return [_item(before, after, address) for address in chosen], errors


def _item(before: Round, after: Round, address: str) -> Item:
    new, old = after.clients[address], before.clients.get(address)
    seconds = max((after.time_ms - before.time_ms) / _MS_IN_S, 0.001)
    received, sent, requests = (0, 0, 0) if old is None else (old.received_size, old.sent_size, old.requests)
    software = f"{new.software_name} {new.software_version}".strip()
    return {
        "name": address,
        "broker_id": after.broker_id,
        "software": software or None,
        "in_per_s": round((new.received_size - received) / seconds, 1),
        "out_per_s": round((new.sent_size - sent) / seconds, 1),
        "requests_per_s": round((new.requests - requests) / seconds),
        "connected_for_ms": max(0, after.time_ms - new.connected_ms),
        **new._asdict(),
        "groups": list(new.groups),
    }


def _chosen(run: Run, found: Round) -> tuple[list[str], list[ClientError]]:
    """Return the addresses that the words mean: a client id stands for all of its connections."""
    from klamm.cli.names import mistaken
    from klamm.cli.parser import suggestion

    addresses: dict[str, list[str]] = {}
    for address, client in sorted(found.clients.items(), key=lambda one: (one[1].client_id or "", one[0])):
        addresses.setdefault(address, []).append(address)
        if client.client_id is not None:
            addresses.setdefault(client.client_id, []).append(address)
    words = run.values.texts("names")
    chosen, missing = names_or_all(words, list(addresses))
    errors = [
        mistaken(
            ClientError(
                "CLIENT_NOT_FOUND",
                f"no client {name!r} is connected.{suggestion(name, list(addresses))}",
                "klamm client list",
                name=name,
            )
        )
        for name in missing
    ]
    return list(dict.fromkeys(address for name in chosen for address in addresses[name])), errors


_REQUESTS = ("DescribeConfigs", "Metadata", "ListOffsets", "Fetch")
_ACLS = ("DESCRIBE_CONFIGS on the cluster", "READ on the topic __klamm_state")
_DETAILS = (
    "Read from __klamm_state, which klamm brokers write while somebody watches. Other brokers do not say who is "
    "connected: klamm group members shows their clients that are in groups."
)
COMMANDS = (
    Command(
        "client list",
        "List who is connected to a klamm broker",
        list_clients,
        "ClientList",
        (_NAMES,),
        (),
        (
            Example("klamm clients", "every connection"),
            Example("klamm client list --filter 'errors>0'", "those that were refused something"),
        ),
        _REQUESTS,
        _ACLS,
        details=_DETAILS,
    ),
    Command(
        "client describe",
        "Describe clients that are connected to a klamm broker",
        describe_clients,
        "ClientDescription",
        (_SOME,),
        (),
        (Example("klamm client describe billing", "every connection of one client id"),),
        _REQUESTS,
        _ACLS,
        details=_DETAILS,
    ),
    Command(
        "client top",
        "Show the clients of a klamm broker that move most bytes",
        top_clients,
        "ClientTop",
        (_NAMES,),
        (),
        (Example("klamm client top -w", "again and again"),),
        _REQUESTS,
        _ACLS,
        details=_DETAILS,
    ),
)
