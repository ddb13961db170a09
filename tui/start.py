"""Starting the application in this terminal, and leaving the terminal as it was."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mlx_mixer.paths import default_paths
from tui import crash
from tui.app import MixerApp
from tui.engine import MlxEngine
from tui.keymap import load_keys
from tui.librarian import Librarian
from tui.terminal import leave_by_force, screen_to_itself, terminal_problem

if TYPE_CHECKING:
    from mlx_mixer.documents.events import Progress
    from mlx_mixer.documents.library import Library


def run(*, model: Path | None = None, library: Path | None = None) -> int:
    """Run the application in this terminal and return its exit code.

    Args:
        model: Folder of the model to write with; the one used last, or the bundled one, if omitted.
        library: File of the document library; the user's own if omitted.

    Returns:
        0 after an ordinary quit, 1 after a failure, 2 where there is no terminal, 128 + the signal's number after a
        signal.

    Raises:
        ConfigError: If the user's own keys cannot be read.
    """
    if problem := terminal_problem(os.environ, sys.__stdin__, sys.__stdout__):
        sys.stderr.write(f"mlx-mixer: {problem}\n")
        return 2
    paths = default_paths()
    crash.trim_log(paths.log)
    librarian = Librarian(_opener(library))
    app = MixerApp(engine=MlxEngine(), librarian=librarian, paths=paths, model=model, keys=load_keys(paths.config))
    with screen_to_itself(paths.log):
        app.run()
        has_ended = app.stop_work()
    code = app.return_code or 0
    if app.failed_with is not None:
        name = type(app.failed_with).__name__
        kept = "your text is kept" if app.is_text_kept else "your last changes may be lost"
        sys.stderr.write(f"mlx-mixer: stopped by an unexpected {name}; {kept}, details are in {paths.log}\n")
    if not has_ended:
        # Ending the interpreter while MLX is at work aborts the process; nothing is left to do but leave.
        leave_by_force(code)
    return code


def _opener(path: Path | None) -> "Callable[[Callable[[Progress], None]], Library]":
    def open_library(progress: "Callable[[Progress], None]") -> "Library":
        from mlx_mixer.documents.library import Library  # imports NumPy: only on the library's own thread

        return Library(path, progress=progress)

    return open_library
