import pytest
from textual.color import Color
from textual.theme import Theme

from tui.themes import THEMES

TEXTS = ("foreground", "text-muted", "primary", "accent", "warning", "error", "text-error")
SURFACES = ("background", "surface", "panel")
PAIRS = [(text, surface) for text in TEXTS for surface in SURFACES]
PAIRS += [
    ("block-cursor-foreground", "block-cursor-background"),
    ("block-cursor-blurred-foreground", "block-cursor-blurred-background"),
    # Marked words and the quiet parts of the hit under the cursor.
    ("accent", "block-cursor-background"),
    ("accent", "block-cursor-blurred-background"),
    ("text-muted", "block-cursor-blurred-background"),
    ("text-muted", "block-cursor-background"),
    ("input-selection-foreground", "input-selection-background"),
    ("input-cursor-foreground", "input-cursor-background"),
    ("footer-key-foreground", "footer-background"),
    ("footer-description-foreground", "footer-background"),
]
READABLE = 4.5


def contrast(text: Color, surface: Color) -> float:
    """Contrast ratio of the Web Content Accessibility Guidelines 2.1."""

    def luminance(color: Color) -> float:
        parts = [part / 255 for part in color.rgb]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    lighter, darker = sorted((luminance(text), luminance(surface)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
@pytest.mark.parametrize(("text", "surface"), PAIRS, ids=[f"{text}-on-{surface}" for text, surface in PAIRS])
def test_text_is_readable_on_everything_it_stands_on(theme: Theme, text: str, surface: str) -> None:
    colors = theme.to_color_system().generate()
    ratio = contrast(Color.parse(colors[text]), Color.parse(colors[surface]))
    assert ratio >= READABLE, f"{theme.name}: {text} on {surface} is {ratio:.2f} : 1"


def test_there_is_a_dark_and_a_light_theme() -> None:
    assert {theme.dark for theme in THEMES} == {True, False}
