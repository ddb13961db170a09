"""A curve that fills the room it has, with its highest and lowest value beside it."""

from collections.abc import Sequence

from textual.content import Content

from mlx_mixer.training.braille import braille_curve, shares
from tui.widgets.plain import Plain, plain

LABEL_CELLS = 8


class LossCurve(Plain):
    """Shows losses from the first step to the last."""

    def __init__(self) -> None:
        super().__init__()
        self._losses: Sequence[float] = ()

    def show_losses(self, losses: Sequence[float]) -> None:
        """Draw other losses."""
        self._losses = losses
        self._draw()

    def on_resize(self) -> None:
        self._draw()

    def _draw(self) -> None:
        self.show(curve_text(self._losses, self.content_size.width, self.content_size.height))


def curve_text(losses: Sequence[float], width: int, height: int) -> Content:
    """A curve with labels on `width` by `height` cells; nothing if there is no room or no course."""
    columns = width - LABEL_CELLS - 1
    if columns < 8 or height < 2 or len(losses) < 2:
        return plain("")
    shown = shares(losses, 2 * columns)
    labels = [f"{max(shown):.2f}", *[""] * (height - 2), f"{min(shown):.2f}"]
    rows = braille_curve(losses, columns, height)
    lines = [
        plain(f"{label:>{LABEL_CELLS}} ", "$text-muted") + plain(row, "$primary")
        for label, row in zip(labels, rows, strict=True)
    ]
    return plain("\n").join(lines)
