"""A bar made of text: how much of something is used. The number beside it says the same without colour."""

from textual.content import Content

FULL, EMPTY = "━", "─"


def meter(used: int, total: int, *, cells: int, style: str = "$primary") -> Content:
    """Draw `used` of `total` on `cells` characters; anything used fills at least one, anything left leaves one."""
    if total <= 0:
        return Content.styled(EMPTY * cells, "$foreground 25%")
    filled = round(cells * min(used, total) / total)
    if 0 < used < total:
        filled = min(max(filled, 1), cells - 1)
    return Content.assemble((FULL * filled, style), (EMPTY * (cells - filled), "$foreground 25%"))


def share(part: int, whole: int) -> str:
    """Return a share as whole per cent; 100 only when nothing is missing, and of nothing it is 100."""
    return f"{100 if whole == 0 else 100 * part // whole} %"
