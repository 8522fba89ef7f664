"""Component styles for widgets that draw their own lines: opaque colours, blended with what lies behind."""

from __future__ import annotations

from rich.style import Style
from textual.color import Color
from textual.widget import Widget


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
