"""Two quiet themes: ink for dark rooms, paper for light ones. The only place in this package that names a colour.

Text keeps a contrast of at least 4.5 : 1 against everything it stands on, which `tests/tui/test_themes.py` measures.
"""

from textual.theme import Theme

INK = Theme(
    name="ink",
    primary="#7fb0e6",
    secondary="#9aa7b8",
    accent="#e6b673",
    warning="#e6b673",
    error="#ee8a80",
    success="#92c98f",
    foreground="#dcdfe4",
    background="#16181c",
    surface="#1c1f24",
    panel="#24282f",
    dark=True,
    variables={
        "text-muted": "#9da4b0",
        "block-cursor-background": "#2c3a4d",
        "block-cursor-foreground": "#f3f5f8",
        "block-cursor-text-style": "none",
        "block-cursor-blurred-background": "#262d37",
        "block-cursor-blurred-foreground": "#dcdfe4",
        "block-cursor-blurred-text-style": "none",
        "footer-background": "#16181c",
        "footer-key-foreground": "#7fb0e6",
        "footer-description-foreground": "#9da4b0",
        "input-selection-background": "#3b5878",
        "input-selection-foreground": "#f3f5f8",
        "input-cursor-background": "#e6b673",
        "input-cursor-foreground": "#16181c",
        "scrollbar": "#353b45",
        "scrollbar-background": "#16181c",
        "scrollbar-background-hover": "#16181c",
        "scrollbar-background-active": "#16181c",
        "scrollbar-corner-color": "#16181c",
    },
)

PAPER = Theme(
    name="paper",
    primary="#1f5f99",
    secondary="#5c6470",
    accent="#8f4a0b",
    warning="#8f4a0b",
    error="#a8322a",
    success="#2f6b34",
    foreground="#26282c",
    background="#fbfaf7",
    surface="#f4f2ed",
    panel="#ebe8e1",
    dark=False,
    variables={
        "text-muted": "#5f646d",
        "block-cursor-background": "#d8e5f2",
        "block-cursor-foreground": "#14161a",
        "block-cursor-text-style": "none",
        "block-cursor-blurred-background": "#e9ecee",
        "block-cursor-blurred-foreground": "#26282c",
        "block-cursor-blurred-text-style": "none",
        "footer-background": "#fbfaf7",
        "footer-key-foreground": "#1f5f99",
        "footer-description-foreground": "#5f646d",
        "input-selection-background": "#c3d9ef",
        "input-selection-foreground": "#14161a",
        "input-cursor-background": "#8f4a0b",
        "input-cursor-foreground": "#fbfaf7",
        "scrollbar": "#d5d1c7",
        "scrollbar-background": "#fbfaf7",
        "scrollbar-background-hover": "#fbfaf7",
        "scrollbar-background-active": "#fbfaf7",
        "scrollbar-corner-color": "#fbfaf7",
    },
)

THEMES = (INK, PAPER)
