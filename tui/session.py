"""What the application knows at the moment: the application writes it, screens read it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mlx_mixer.sampling import SamplingSettings
from tui.events import IndexingProgress, LibraryState
from tui.keymap import Keys


@dataclass
class Session:
    """The state of one run of the application.

    Attributes:
        model_path: Folder of the model that is loaded or being loaded; None is the bundled one.
        loaded_path: Folder of the model that writes; means something only when `context_length` is not 0.
        model_state: Where loading stands; "failed" only when there is no model that could write.
        context_length: Longest text the model sees, in tokens; 0 until it is loaded.
        settings: How the next continuation is written.
        keys: Which key does what.
        meaning: Whether texts can be embedded.
        library: What the library holds; None until it was asked.
        indexing: Work on the library in progress.
        library_note: One line about the last work on the library.
    """

    model_path: Path | None = None
    loaded_path: Path | None = None
    model_state: Literal["loading", "ready", "failed"] = "loading"
    context_length: int = 0
    settings: SamplingSettings = field(default_factory=SamplingSettings)
    keys: Keys = field(default_factory=Keys)
    meaning: Literal["waiting", "ready", "failed"] = "waiting"
    library: LibraryState | None = None
    indexing: IndexingProgress | None = None
    library_note: str = ""
