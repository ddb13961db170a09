"""What the commands over the document library share: opening it, and a line that shows how work goes on."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import click

from mlx_mixer.cli.output import narrate
from mlx_mixer.errors import MixerError
from mlx_mixer.safe_text import safe_line

if TYPE_CHECKING:
    from mlx_mixer.documents.events import Progress
    from mlx_mixer.documents.library import Library

# Also in `mlx_mixer.documents.embedder_choice`, which takes longer to import.
BUNDLED = "default"
_UNDO = "mlx-mixer train retrieval --docs --undo"
_STAGES = {
    "upgrade": "bringing an earlier version's library forward",
    "scan": "looking at files",
    "text": "reading",
    "meaning": "embedding passages",
    "export": "writing passages",
}
_REDRAW_SECONDS = 0.1
_PATH_CHARACTERS = 50


@contextmanager
def open_library(*, words_only: bool = False, embeds: bool = False) -> Iterator["Library"]:
    """Open the user's library, with its embedder where that can be had.

    Args:
        words_only: Load none.
        embeds: The library will embed: a model that is taking over gets on with that.
    """
    # The library needs SQLite tools that take a tenth of a second to import; `--help` must not pay for them.
    from mlx_mixer.documents.library import Library

    line = ProgressLine()
    with Library(progress=line) as library:
        line.clear()
        if not words_only:
            attach_embedders(library, embeds=embeds)
        yield library


def attach_embedders(library: "Library", *, embeds: bool = False) -> None:
    """Attach what a library's settings name, or the bundled model where that cannot be loaded; say so on stderr."""
    choice = library.embedder_choice()
    if not _attach(library, choice.current) and choice.current != BUNDLED:
        narrate(f"searching by the bundled model; to stay with it: {_UNDO}")
        _attach(library, BUNDLED)
    if embeds and choice.incoming is not None and not _attach(library, choice.incoming.name):
        narrate(f"it was to take over from the present one; to give that up: {_UNDO}")


def _attach(library: "Library", name: str) -> bool:
    try:
        from mlx_mixer.embedding import load_embedder  # imports MLX

        library.attach(load_embedder(name))
    except (MixerError, ImportError, OSError) as error:
        # Words are worth having without meaning; say so and go on.
        narrate(f"working with words only: {error}" if name == BUNDLED else f"the model {name} cannot be used: {error}")
        return False
    return True


class EmbedderFollower:
    """Attaches what a library's settings name whenever that changes, for programs that stay.

    Args:
        library: The library, with its embedders attached.
    """

    def __init__(self, library: "Library") -> None:
        self._library = library
        self._seen = library.embedder_choice()

    def __call__(self) -> None:
        """Look whether it changed, and embed what the new one has not seen."""
        from mlx_mixer.documents.lock import LibraryBusyError

        choice = self._library.embedder_choice()
        if choice == self._seen:
            return
        attach_embedders(self._library, embeds=True)
        with suppress(LibraryBusyError):  # whoever writes embeds it, or the next round does
            self._library.embed_pending()
        self._seen = self._library.embedder_choice()


class ProgressLine:
    """Draws `Progress` events over each other on one line of a terminal, and nothing anywhere else."""

    def __init__(self) -> None:
        self._is_terminal = sys.stderr.isatty()
        self._drawn_at = 0.0
        self._stage = ""

    def __call__(self, progress: "Progress") -> None:
        now = time.monotonic()
        is_new = progress.stage != self._stage or progress.done == progress.total
        if not self._is_terminal or (not is_new and now - self._drawn_at < _REDRAW_SECONDS):
            return
        self._drawn_at, self._stage = now, progress.stage
        count = f"{progress.done}" if progress.total is None else f"{progress.done}/{progress.total}"
        path = safe_line(progress.path)[-_PATH_CHARACTERS:]
        click.echo(f"\r\x1b[K{_STAGES[progress.stage]}: {count}  {path}", nl=False, err=True)

    def clear(self) -> None:
        if self._is_terminal and self._stage:
            click.echo("\r\x1b[K", nl=False, err=True)
