"""Component styles for widgets that draw their own lines: opaque colours, blended with what lies behind."""

from __future__ import annotations

from typing import Final

from rich.style import Style
from textual.color import Color
from textual.widget import Widget

LEGIBLE: Final = 3.0
"""The contrast below which letters cannot be read (WCAG 2.1, 1.4.11)."""


def legible(style: Style, base: Style) -> Style:
    """Return a style over a base, with the base's colour where its own could not be read there."""
    over = base + style
    found = contrast(over)
    return over if found is None or found >= LEGIBLE or base.color is None else over + Style(color=base.color)


def contrast(style: Style) -> float | None:
    """Return the contrast of letters and ground, 1 to 21 (WCAG 2.1); None for the terminal's own 16 colours."""
    ink, ground = style.color, style.bgcolor
    if ink is None or ground is None or ink.triplet is None or ground.triplet is None:
        return None
    lighter, darker = sorted((_luminance(*ink.triplet), _luminance(*ground.triplet)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(*parts: int) -> float:
    black = 10  # of 255: below it sRGB is linear
    linear = [part / 255 / 12.92 if part <= black else ((part / 255 + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def forget_lines(widget: Widget) -> None:
    """Have the lines of a widget that goes let go: Textual keeps those of the last thousand that are not stale."""
    for each in widget.walk_children(with_self=True):
        each.refresh()


def component_style(widget: Widget, name: str) -> Style:
    """Return what a component class sets (colour, background, text style), as a style to add to the widget's own.

    Textual's own way leaves alpha out: a background of 10 % would be drawn in full.
    """
    styles = widget.get_component_styles(name)
    _, behind = widget.background_colors
    color: Color | None = None
    background: Color | None = None
    if styles.has_rule("background"):
        background = behind + styles.background
    if styles.has_rule("color"):
        ground = background or behind
        color = ground + (ground.get_contrast_text(styles.color.a) if styles.auto_color else styles.color)
    text = styles.text_style if styles.has_rule("text_style") else Style.null()
    return Style(color=color and color.rich_color, bgcolor=background and background.rich_color) + text
