"""A model moves in while searches go on; killed at any moment, the old one answers and the next `docs add` goes on.

A child installs a real, tiny model and dies of SIGKILL at a given moment.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mlx_mixer.documents.check import SCALES
from mlx_mixer.documents.library import Library
from mlx_mixer.documents.lock import writer_lock
from mlx_mixer.embedding import load_embedder
from mlx_mixer.paths import default_paths
from mlx_mixer.personal.adapt import Candidate, Mined
from mlx_mixer.personal.contest import compare
from mlx_mixer.personal.install import install, return_to
from mlx_mixer.personal.provenance import origin_of
from mlx_mixer.personal.split import Split
from tests.mlx_mixer.personal.made_up import write_files
from tests.tiny import tiny_model_folder

MOMENTS = ["the model is being written", "it is written", "it begins to take over", "a part is embedded"]
CHILD = """
import os, signal, sys
from pathlib import Path
import mlx_mixer.personal.install as module
from mlx_mixer.documents import meaning
from mlx_mixer.documents.library import Library
from mlx_mixer.embedding import load_embedder
from tests.mlx_mixer.personal.test_install import MOMENTS, candidate, mined

meaning._BATCH_CHUNKS = meaning._EMBED_CHUNKS = 8
moment = MOMENTS.index(sys.argv[1])

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

def dying(target, name, here):
    if moment == here:
        setattr(target, name, die)

seen = []
def progress(step):
    seen.append(step)
    if moment == 3 and len(seen) > 6:
        die()

with Library(embedder=load_embedder("first")) as library:
    dying(module, "write_provenance", 0)
    dying(module, "load_embedder", 1)
    dying(library, "set_gate", 2)
    models = Path(sys.argv[2])
    module.install(library, models / "second", candidate(), mined(), models, progress=progress)
"""


def candidate() -> Candidate:
    words, good = np.full(100, 2), np.full(100, 1)
    old = {"words": words, "meaning": words, **dict.fromkeys(SCALES, words)}
    new = {"words": words, "meaning": good, **dict.fromkeys(SCALES, good)}
    outcome = compare(old, new, old_scale=1.0, new_scale=1.5, chunks=50)
    return Candidate(outcome, 1.0, 20, "first", "first", {})


def mined() -> Mined:
    return Mined(Split([], [], []), 0, 0)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Two tiny models, and a library that is embedded by the first."""
    folder = default_paths().models
    for seed, name in enumerate(("first", "second")):
        tiny_model_folder(folder / name, seed=seed, pooling="token_weighted")
    with Library() as library:
        first = load_embedder("first")
        library.take_over("first", first)
        library.add([write_files(tmp_path / "docs", 30)])
        assert library.embedder_choice().current == "first"
    return folder


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_kill_leaves_the_old_model_answering_and_nothing_half_installed(models: Path, moment: str) -> None:
    done = subprocess.run([sys.executable, "-c", CHILD, moment, str(models)], env={**os.environ, "PYTHONPATH": "."})
    assert done.returncode == -signal.SIGKILL
    first, second = load_embedder("first"), load_embedder(models / "second")
    with Library(embedder=first) as library:
        assert library.embedder_choice().current == "first"
        assert library.search("walk").by_meaning
        assert library.status().pending == 0
        incoming = library.embedder_choice().incoming
    names = sorted(path.name for path in models.iterdir() if not path.name.startswith("."))
    whole = [name for name in names if (models / name / "config.json").is_file()]
    assert names == whole
    assert (incoming is not None) == (moment in MOMENTS[2:])
    assert len(names) == (2 if moment == MOMENTS[0] else 3)
    # As `docs add` does.
    with Library(embedder=first) as library:
        if incoming is not None:
            library.attach(second)
        library.add([])
        wanted = "first" if incoming is None else incoming.name
        assert library.embedder_choice().current == wanted


def test_an_installed_model_has_its_weight_and_knows_where_it_came_from(models: Path) -> None:
    (models / ".personal-2020-01-01.abc.partial").mkdir()
    with Library(embedder=load_embedder("first")) as library:
        name = install(library, models / "second", candidate(), mined(), models, progress=lambda _: None)
        gate = library.gate()
        assert gate is not None
        assert gate.scale == 1.5
        assert library.status().embedder == name
        assert origin_of(name) == "first"
        assert origin_of("first") == "first"
        again = install(library, models / "second", candidate(), mined(), models, progress=lambda _: None)
        assert again == f"{name}-2"
        return_to(library, "first", progress=lambda _: None)
        assert library.status().embedder == "first"
    assert not list(models.glob(".*"))


def test_another_writer_is_waited_for(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Library(embedder=load_embedder("first")) as library:
        held = writer_lock(library.path)
        held.__enter__()

        def let_go(_: float) -> None:
            held.__exit__(None, None, None)

        monkeypatch.setattr("mlx_mixer.personal.install.time.sleep", let_go)
        return_to(library, "second", progress=lambda _: None)
        assert library.embedder_choice().current == "second"
