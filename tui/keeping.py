"""What outlives the application: the text of the Write screen, and choices."""

import contextlib
from pathlib import Path

from mlx_mixer.job_thread import JobThread
from mlx_mixer.paths import Paths
from tui import crash
from tui.draft import save_draft
from tui.preferences import Preferences, save_preferences


class Keeper:
    """Writes to the user's folders, soon on a thread of its own and at the end at once."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self.files = JobThread("files")

    def keep_draft(self, text: str) -> bool:
        """Write a text to disk before leaving; return whether that was possible."""
        try:
            save_draft(self._paths.data, text)
        except OSError as error:
            crash.write_report(error, self._paths.log)
            return False
        return True

    def keep_draft_soon(self, text: str) -> None:
        """Write a text on another thread: a disk may take its time, and someone is typing."""
        self.files.submit(lambda: save_draft(self._paths.data, text))

    def keep_preferences(self, preferences: Preferences) -> None:
        """Remember choices; a disk that refuses them is no reason to bother anyone."""
        with contextlib.suppress(OSError):
            save_preferences(self._paths.state, preferences)


def write_text(path: Path, text: str) -> str | None:
    """Write a text where the user wants it; return why that was not possible."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        return f"{path} could not be written: {error.strerror}"
    return None
