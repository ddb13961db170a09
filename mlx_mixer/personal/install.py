"""A better model moves in, and a model moves out again, while searches go on."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from mlx_mixer.atomic import atomic_directory
from mlx_mixer.documents.embedder_choice import BUNDLED
from mlx_mixer.documents.events import Progress
from mlx_mixer.documents.gate import Gate
from mlx_mixer.documents.library import Library
from mlx_mixer.documents.lock import LibraryBusyError
from mlx_mixer.embedding import load_embedder
from mlx_mixer.personal.adapt import Candidate, Mined
from mlx_mixer.personal.learned import KEY
from mlx_mixer.personal.provenance import write_provenance

# Another process that indexes lets go of the library between two rounds.
_PATIENCE_SECONDS = 300.0
_RETRY_SECONDS = 0.5
_PREFIX = "personal-"

Result = TypeVar("Result")


def install(
    library: Library,
    folder: Path,
    candidate: Candidate,
    mined: Mined,
    models: Path,
    *,
    progress: Callable[[Progress], None],
) -> str:
    """Keep a model that has won and let it take the library over.

    The caller holds the library's `adapting_lock`. Searches go by the present model until the new one has a vector for
    every passage. Killed before, the work goes on with the next `docs add`.

    Args:
        library: The library.
        folder: The model.
        candidate: How it did.
        mined: What it learned from.
        models: Folder of all models.
        progress: Told how the embedding goes on.

    Returns:
        The model's name.

    Raises:
        LibraryBusyError: If another process keeps writing to the library.
    """
    for left_over in models.glob(f".{_PREFIX}*.partial"):
        shutil.rmtree(left_over, ignore_errors=True)  # of a process that was killed
    name = _free_name(models)
    facts = {
        "origin": candidate.origin,
        "made": time.strftime("%Y-%m-%d"),
        "steps": candidate.steps,
        "share": candidate.share,
        "learned": mined.counts()["train"],
        KEY: list(mined.learned),
    }
    with atomic_directory(models / name) as kept:
        shutil.copytree(folder, kept, dirs_exist_ok=True)
        write_provenance(kept, facts, candidate.outcome)
    embedder = load_embedder(name)
    _patiently(lambda: library.take_over(name, embedder))
    gate = Gate(candidate.outcome.new_scale, len(mined.split.valid), int(time.time()))
    _patiently(lambda: library.set_gate(gate))
    _patiently(lambda: library.embed_pending(progress))
    return name


def return_to(library: Library, name: str, *, progress: Callable[[Progress], None]) -> None:
    """Let another model take the library over; at once, where its vectors are still there.

    Args:
        library: The library.
        name: Of the model; the bundled one is "default".
        progress: Told how the embedding goes on.

    Raises:
        MixerError: If the model cannot be loaded, or another process keeps writing to the library.
    """
    embedder = load_embedder(name)
    _patiently(lambda: library.take_over(name, embedder))
    _patiently(lambda: library.embed_pending(progress))


def undo(library: Library, *, progress: Callable[[Progress], None]) -> None:
    """Return to the bundled model, see `return_to`."""
    return_to(library, BUNDLED, progress=progress)


def _free_name(models: Path) -> str:
    base = f"{_PREFIX}{time.strftime('%Y-%m-%d')}"
    names = (base if number == 1 else f"{base}-{number}" for number in range(1, 1000))
    return next(name for name in names if not (models / name).exists())


def _patiently(work: Callable[[], Result]) -> Result:
    """Try again while another process writes."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return work()
        except LibraryBusyError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(_RETRY_SECONDS)
