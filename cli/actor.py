"""``klamm actor``: list, top, describe. Of klamm brokers: no other has actors to tell about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from klamm.cli.names import names_or_all
from klamm.cli.output import Column, Item, Result, count_text
from klamm.cli.run import Run
from klamm.cli.spec import Argument, Command, Example
from klamm.client.errors import ClientError

if TYPE_CHECKING:
    from klamm.client.state import Round
    from klamm.records.state_schema import ActorState

_NAMES = Argument("names", "actors, by name or glob; all if none", required=False, repeat=True)
_SOME = Argument("names", "actors, by name or glob", repeat=True)
_PER_CENT = 100
_MS_IN_S = 1000


def _ms(value: float) -> str:
    return f"{value:,.1f} ms" if value < _MS_IN_S else f"{value / _MS_IN_S:,.1f} s"


LIST_COLUMNS = (
    Column("NAME", "name"),
    Column("RUNS ON", "dispatcher"),
    Column("DEPTH", "depth", right=True, show=count_text),
    Column("OLDEST", "oldest_ms", right=True, show=_ms),
    Column("HANDLED", "handled", right=True, show=count_text),
    Column("BUSY", "busy_ms", right=True, show=_ms),
    Column("RESTARTS", "restarts", right=True),
    Column("LAST FAILURE", "last_failure"),
)
TOP_COLUMNS = (
    Column("NAME", "name"),
    Column("BUSY %", "busy_percent", right=True),
    Column("HANDLED/S", "handled_per_s", right=True, show=count_text),
    Column("DEPTH", "depth", right=True, show=count_text),
    Column("OLDEST", "oldest_ms", right=True, show=_ms),
    Column("RESTARTS", "restarts", right=True),
    Column("LAST FAILURE", "last_failure"),
)


async def list_actors(run: Run) -> Result:
    """List actors with their counters."""
    from klamm.client.state import read_round

    found = await read_round(run.cluster)
    chosen, missing = _chosen(run, found)
    return Result([_item(found, name) for name in chosen], LIST_COLUMNS, missing, empty="no actors")


async def top_actors(run: Run) -> Result:
    """Show the busiest actors: two looks, a second apart."""
    from klamm.client.state import two_rounds

    before, after = await two_rounds(run.cluster)
    chosen, missing = _chosen(run, after)
    seconds = max((after.time_ms - before.time_ms) / _MS_IN_S, 0.001)
    items: list[Item] = []
    for name in chosen:
        new, old = after.actors[name], before.actors.get(name)
        handled = new.handled - (0 if old is None else old.handled)
        busy_ms = new.busy_ms - (0.0 if old is None else old.busy_ms)
        items.append(
            _item(after, name)
            | {
                "busy_percent": round(busy_ms / seconds / _MS_IN_S * _PER_CENT, 1),
                "handled_per_s": round(handled / seconds),
            }
        )
    items.sort(key=lambda item: (-item["busy_percent"], -item["handled_per_s"], item["name"]))
    return Result(items, TOP_COLUMNS, missing, empty="no actors")


async def describe_actors(run: Run) -> Result:
    """Describe actors: every counter, one to a line."""
    from klamm.cli.output import Table
    from klamm.client.state import read_round

    found = await read_round(run.cluster)
    chosen, missing = _chosen(run, found)
    items = [_item(found, name) for name in chosen]
    columns = (Column("WHAT", "what"), Column("VALUE", "value"))
    tables = [
        Table(f"{item['name']}   on broker {found.broker_id}", columns, _lines(found.actors[str(item["name"])]))
        for item in items
    ]
    return Result(items, (), missing, tables)


def _lines(actor: ActorState) -> list[Item]:
    messages = f"{actor.depth} waiting, the oldest for {actor.oldest_ms:,.1f} ms"
    per_message = actor.busy_ms / actor.handled * _MS_IN_S if actor.handled else 0.0
    per_drain = actor.handled / actor.drains if actor.drains else 0.0
    return [
        {"what": "runs on", "value": actor.dispatcher},
        {"what": "messages", "value": messages},
        {"what": "handled", "value": f"{actor.handled:,} in {actor.drains:,} drains, {per_drain:.1f} a drain"},
        {"what": "busy", "value": f"{_ms(actor.busy_ms)} in all, {per_message:.1f} µs a message"},
        {"what": "restarts", "value": actor.restarts},
        {"what": "last failure", "value": actor.last_failure},
    ]


def _item(found: Round, name: str) -> Item:
    return {"name": name, "broker_id": found.broker_id, **found.actors[name]._asdict()}


def _chosen(run: Run, found: Round) -> tuple[list[str], list[ClientError]]:
    from klamm.cli.names import mistaken
    from klamm.cli.parser import suggestion

    known = sorted(found.actors)
    chosen, missing = names_or_all(run.values.texts("names"), known)
    told = {name: f"there is no actor {name!r}.{suggestion(name, known)}" for name in missing}
    errors = [mistaken(ClientError("ACTOR_NOT_FOUND", told[name], "klamm actor list", name=name)) for name in missing]
    return chosen, errors


_REQUESTS = ("DescribeConfigs", "Metadata", "ListOffsets", "Fetch")
_ACLS = ("DESCRIBE_CONFIGS on the cluster", "READ on the topic __klamm_state")
_DETAILS = "Read from __klamm_state, which klamm brokers write while somebody watches. Other brokers have none."
COMMANDS = (
    Command(
        "actor list",
        "List a klamm broker's actors",
        list_actors,
        "ActorList",
        (_NAMES,),
        (),
        (
            Example("klamm actors", "every actor"),
            Example("klamm actor list 'orders-*' -o json", "those of one topic's partitions, for programs"),
        ),
        _REQUESTS,
        _ACLS,
        details=_DETAILS,
    ),
    Command(
        "actor top",
        "Show the busiest actors of a klamm broker",
        top_actors,
        "ActorTop",
        (_NAMES,),
        (),
        (Example("klamm actor top -w", "again and again"),),
        _REQUESTS,
        _ACLS,
        details=_DETAILS,
    ),
    Command(
        "actor describe",
        "Describe actors of a klamm broker",
        describe_actors,
        "ActorDescription",
        (_SOME,),
        (),
        (Example("klamm actor describe orders-0", "the actor of one partition"),),
        _REQUESTS,
        _ACLS,
        details=_DETAILS,
    ),
)
