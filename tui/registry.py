"""The table of screens. Modules load when a screen is first wanted."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple, cast

if TYPE_CHECKING:
    from klamm.tui.session import Loader
    from klamm.tui.view import View


class ScreenSpec(NamedTuple):
    """One screen.

    ``loader`` and ``view`` are ``module:name`` below ``klamm.tui``. ``names`` is of what kind of object its place has a
    name ("topic", "group", "broker"), "" for none. ``key`` is what ``:`` takes; ``listed`` screens are in the palette.
    """

    kind: str
    summary: str
    loader: str
    view: str
    names: str = ""
    aliases: tuple[str, ...] = ()


SCREENS: dict[str, ScreenSpec] = {
    spec.kind: spec
    for spec in (
        ScreenSpec("home", "What is wrong right now", "data.home:load", "screens.home:HomeView", "", ("h",)),
        ScreenSpec("topics", "All topics", "data.topics:load", "screens.topics:TopicsView", "", ("t",)),
        ScreenSpec(
            "groups", "All groups, their lag", "data.groups:load", "screens.groups:GroupsView", "", ("g", "lag")
        ),
        ScreenSpec("brokers", "All brokers", "data.brokers:load", "screens.brokers:BrokersView", "", ("b", "nodes")),
        ScreenSpec("cluster", "Quorum, features, moves", "data.cluster:load", "screens.cluster:ClusterView"),
        ScreenSpec("topic", "One topic", "data.topic:load", "screens.topic:TopicView", "topic"),
        ScreenSpec("group", "One group", "data.group:load", "screens.group:GroupView", "group"),
        ScreenSpec("broker", "One broker", "data.broker:load", "screens.broker:BrokerView", "broker"),
        ScreenSpec(
            "messages", "One topic's messages", "data.messages:load", "screens.messages:MessagesView", "topic", ("m",)
        ),
        ScreenSpec(
            "trace",
            "One message's life: TOPIC:PARTITION@OFFSET",
            "data.trace:load",
            "screens.trace:TraceView",
            "message",
        ),
        ScreenSpec("actors", "A klamm broker's mailboxes", "data.state:load_actors", "screens.state:ActorsView"),
        ScreenSpec("clients", "Who is connected", "data.state:load_clients", "screens.state:ClientsView", "", ("c",)),
        ScreenSpec("segments", "A klamm broker's files", "data.state:load_segments", "screens.state:SegmentsView"),
        ScreenSpec("diff", "Topics, groups or brokers side by side", "data.diff:load", "screens.diff:DiffView"),
        ScreenSpec("acls", "Who may do what", "data.security:load_acls", "screens.security:AclsView"),
        ScreenSpec("users", "Users with SCRAM credentials", "data.security:load_users", "screens.security:UsersView"),
        ScreenSpec("quotas", "What clients are held to", "data.security:load_quotas", "screens.security:QuotasView"),
        ScreenSpec(
            "transactions",
            "Transactional ids and what is open",
            "data.transactions:load",
            "screens.transactions:TransactionsView",
            "",
            ("txns", "txn"),
        ),
    )
}
START = "home"
_ALIASES = {alias: spec.kind for spec in SCREENS.values() for alias in spec.aliases}


def find(word: str) -> ScreenSpec | None:
    """Return the screen that a word names."""
    return SCREENS.get(_ALIASES.get(word, word))


def loader_of(kind: str) -> Loader:
    """Return a screen's loader; it imports no Textual."""
    return cast("Loader", _load(SCREENS[kind].loader))


def view_of(kind: str) -> type[View]:
    """Return a screen's view."""
    return cast("type[View]", _load(SCREENS[kind].view))


def _load(path: str) -> object:
    module, _, name = path.partition(":")
    return getattr(import_module(f"klamm.tui.{module}"), name)
