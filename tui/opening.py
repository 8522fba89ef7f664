"""What opens over a screen: prompts, menus, dialogs, help, palette. Each has the keys before the next is looked at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

from klamm.tui.navigation import NavigatingApp

if TYPE_CHECKING:
    from textual.screen import ModalScreen
    from textual.widget import Widget

    from klamm.tui.app import KlammApp
    from klamm.tui.dialogs.change import Change, MenuItem
    from klamm.tui.prompt import Prompt


class OpeningApp(NavigatingApp, inherit_bindings=False):
    """An application with what opens over its screens."""

    @property
    def _klamm(self) -> KlammApp:
        return cast("KlammApp", self)

    async def action_command_line(self) -> None:
        """Type a command."""
        from klamm.tui.prompt import CommandPrompt

        prompt = CommandPrompt()
        await self.open_prompt(prompt)
        self.learn_names(prompt.look_again)

    async def action_filter(self) -> None:
        """Type a filter of the focused table."""
        prompt = None if self.view is None else self.view.make_filter_prompt()
        if prompt is not None:
            await self.open_prompt(prompt)

    def open_change(self, change: Change) -> None:
        """Open the dialog of a change."""
        from klamm.tui.dialogs.screen import ChangeScreen

        self.push_screen(ChangeScreen(self._klamm, change))

    async def open_menu(self, title: str, items: Sequence[MenuItem]) -> None:
        """Open a menu of changes."""
        from klamm.tui.dialogs.menu import MenuScreen

        await self._open_over(MenuScreen(self._klamm, title, items), "TableView")

    async def _open_over(self, screen: ModalScreen[None], focus: str = "") -> None:
        """Open a screen over the others and give it the keys before the next one is looked at."""
        await self.push_screen(screen)
        if focus:
            screen.set_focus(screen.query_one(focus))

    def action_undo(self) -> None:
        """Open the plan that takes back the last change."""
        from klamm.tui.dialogs.undo import UndoLast

        self.open_change(UndoLast())

    def action_redo(self) -> None:
        """Open the plan that does again what was undone last."""
        from klamm.tui.dialogs.undo import RedoLast

        self.open_change(RedoLast())

    async def action_help(self) -> None:
        """Show the keys of the focused panel."""
        from klamm.tui.help import HelpScreen

        await self._open_over(HelpScreen(self._klamm), "TextPane")

    async def action_jump(self) -> None:
        """Show a letter on every panel; the next key goes there."""
        from klamm.tui.jump import JumpScreen

        await self._open_over(JumpScreen(self._klamm))

    async def action_palette(self) -> None:
        """Find an action or an object."""
        from klamm.tui.palette import PaletteScreen

        palette = PaletteScreen(self._klamm)
        await self._open_over(palette, "Input")
        self.learn_names(palette.look_again)

    def learn_names(self, then: Callable[[], None]) -> None:
        """Find out what there is by name, where no screen has been that shows it, and do something then."""
        if all(kind in self.session.names for kind in ("topic", "group", "broker")):
            return

        async def learn() -> None:
            from klamm.tui.data.names import learn_names

            await self.session.run(lambda: learn_names(self.session))
            then()

        self.run_worker(learn(), group="names", exclusive=True)

    async def open_prompt(self, prompt: Prompt) -> None:
        """Mount a prompt and focus its input before the next key is looked at: nothing typed quickly is lost."""
        prompt.came_from = self.focused
        await self.screen.query("#prompt").remove()
        await self.screen.mount(prompt)
        self.screen.set_focus(prompt.query_one("Input"))  # Widget.focus() would wait for a turn of the loop

    def focus_on(self, widget: Widget) -> None:
        """Give a panel the keys at once; while a line is being typed, as soon as it is sent.

        ``Widget.focus()`` would do it a turn of the loop later, and take the keys from a line opened meanwhile.
        """
        open_ones = [prompt for prompt in widget.screen.query("#prompt") if getattr(prompt, "is_open", False)]
        if open_ones:
            cast("Prompt", open_ones[0]).came_from = widget
        else:
            widget.screen.set_focus(widget)

    @property
    def is_typing(self) -> bool:
        """Whether keys are text now."""
        return self.focused is not None and self.focused.__class__.__name__.endswith(("Input", "TextArea"))
