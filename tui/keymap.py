"""The actions that have keys, by the names that ``[ui.keymap]`` gives other keys to."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from textual.binding import Binding
from textual.dom import DOMNode

from klamm.tui import registry


def action_names() -> set[str]:
    """Return the names of all actions. It imports every screen and dialog: only who says a keymap pays for that."""
    from klamm.tui import about, app, contexts, help, jump, palette, prompt, view  # noqa: A004 (the module's name)
    from klamm.tui.dialogs import menu, screen

    for spec in registry.SCREENS.values():
        registry.view_of(spec.kind)
    modules = (about, app, contexts, help, jump, menu, palette, prompt, screen, view)
    classes = [each for module in modules for each in vars(module).values() if isinstance(each, type)]
    roots: list[type[DOMNode]] = [each for each in classes if issubclass(each, DOMNode)]
    found: set[str] = set()
    for kind in {each for root in roots for each in (root, *_below(root))}:
        found.update(each.id for each in vars(kind).get("BINDINGS", ()) if isinstance(each, Binding) and each.id)
    return found


def unknown_actions(keymap: Mapping[str, str]) -> list[str]:
    """Return for each name of a keymap that there is not what is to be said about it."""
    known = action_names()
    said: list[str] = []
    for name in keymap:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            said.append(f"[ui.keymap]: there is no action {name!r}" + (f"; did you mean {near[0]}?" if near else ""))
    return said


def _below(kind: type[DOMNode]) -> Iterable[type[DOMNode]]:
    for each in kind.__subclasses__():
        yield each
        yield from _below(each)
