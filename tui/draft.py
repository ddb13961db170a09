"""The text of the Write screen between two starts."""

from pathlib import Path

from mlx_mixer.atomic import write_atomically

NAME = "draft.txt"


def load_draft(folder: Path) -> str:
    """Return the text that was kept last, or "" if there is none that can be read."""
    try:
        return (folder / NAME).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def save_draft(folder: Path, text: str) -> None:
    """Keep a text, readable by the user only.

    Raises:
        OSError: If it cannot be written.
    """
    if not text and not (folder / NAME).exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / NAME, text.encode("utf-8", errors="replace"))
