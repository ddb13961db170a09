"""Hand the terminal to the user's editor and take it back."""

import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from textual.app import App, SuspendNotSupported

from mlx_mixer.errors import MixerError, UsageError
from tui.editor import editor_command


class ExternalEditor:
    """The editor in `VISUAL` or `EDITOR`, run while the application stands aside."""

    def __init__(self, app: App[int], environ: Mapping[str, str]) -> None:
        self._app = app
        self._environ = environ

    def open(self, path: Path, line: int) -> None:
        """Open a file at a line and wait for the editor to end.

        Raises:
            MixerError: If the file is gone, there is no editor, or it does not start.
        """
        if not path.exists():
            raise MixerError(f"{path} is no longer there")
        self._run(editor_command(path, line, environ=self._environ))

    def edit(self, text: str, line: int, *, folder: Path) -> str:
        """Let the user edit a text and return it.

        Raises:
            MixerError: As for `open`.
        """
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as private:
            file = Path(private) / "text.md"
            file.write_text(text, encoding="utf-8")
            self.open(file, line)
            return file.read_text(encoding="utf-8", errors="replace")

    def _run(self, command: Sequence[str]) -> None:
        try:
            with self._app.suspend():
                # Descriptors 1 and 2 lead to the log while the application runs; `sys.__stderr__` is the terminal.
                code = subprocess.run(command, check=False, stdout=sys.__stderr__, stderr=sys.__stderr__).returncode
        except SuspendNotSupported as error:
            raise UsageError("an editor cannot be started from here") from error
        except OSError as error:
            raise MixerError(f"{command[0]} could not be started: {error.strerror}") from error
        if code:
            raise MixerError(f"{command[0]} ended with code {code}")
