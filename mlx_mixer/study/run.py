"""A study from files to a table, a picture and a file of results."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from mlx_mixer.atomic import write_atomically
from mlx_mixer.study.autoencoder import autoencoder_plan, study_autoencoder
from mlx_mixer.study.cells import Cells, Work
from mlx_mixer.study.learning import learning_plan, study_learning
from mlx_mixer.study.pairs import study_pairs
from mlx_mixer.study.plot import panels_svg
from mlx_mixer.study.recovery import recovery_plan, study_recovery
from mlx_mixer.study.retrieval import retrieval_plan, study_retrieval
from mlx_mixer.study.settings import StudySettings
from mlx_mixer.study.show import SHOWS
from mlx_mixer.study.texts import study_texts, tokenised
from mlx_mixer.training.data import Pair

Narrate = Callable[[str], None]


@dataclass(frozen=True)
class StudyReport:
    """What a study found.

    Attributes:
        found: Everything, as JSON values.
        table: The same for people, in short.
        picture: The SVG file.
    """

    found: dict[str, Any]
    table: str
    picture: Path


@dataclass(frozen=True)
class Sources:
    """Where the data comes from; Python's own library on this machine if nothing is given.

    Attributes:
        data: Files and folders of text, or files of pairs for the study of retrieval.
        held_out: Files of pairs to report on.
    """

    data: Sequence[Path] = ()
    held_out: Sequence[Path] = ()


@dataclass(frozen=True)
class _TextStudy:
    """A study that needs nothing but text."""

    plan: Callable[[Any], list[Work]]  # of the settings of its own kind
    compute: Callable[..., dict[str, Any]]

    def run(self, name: str, sources: Sources, settings: Any, out: Path, narrate: Narrate) -> dict[str, Any]:
        texts = study_texts(sources.data, narrate)
        cells = Cells(out, _decisive(name, texts, settings), self.plan(settings), narrate)
        narrate(f"{len(texts):,} texts; learning {settings.vocab_size} pieces and tokenising")
        return self.compute(tokenised(texts, settings, out), settings, cells)


class _PairStudy:
    """The study of retrieval, which needs pairs and pre-trains on the passages that are not held out."""

    def run(self, name: str, sources: Sources, settings: Any, out: Path, narrate: Narrate) -> dict[str, Any]:
        pairs = study_pairs(sources.data, sources.held_out, settings)
        words = [text for part in (pairs.train, pairs.choose, pairs.report) for pair in part for text in _words(pair)]
        cells = Cells(out, _decisive(name, words, settings), retrieval_plan(settings), narrate)
        narrate(f"{len(pairs.train):,} pairs to train on, {len(pairs.report):,} held out; tokenising")
        texts = tokenised([text for pair in pairs.train for text in _words(pair)], settings, out)
        return study_retrieval(pairs, texts, settings, cells)


_STUDIES: Mapping[str, _TextStudy | _PairStudy] = {
    "recovery": _TextStudy(recovery_plan, study_recovery),
    "learning": _TextStudy(learning_plan, study_learning),
    "retrieval": _PairStudy(),
    "autoencoder": _TextStudy(autoencoder_plan, study_autoencoder),
}


def run_study(name: str, sources: Sources, settings: StudySettings, out: Path, narrate: Narrate) -> StudyReport:
    """Run a study, or what is left of it.

    Args:
        name: Which one.
        sources: Its data.
        settings: Of its kind.
        out: Folder for results, tokenizer, weights and picture; a killed study goes on from it.
        narrate: Told what is going on and how long it will take.

    Raises:
        MixerError: If data, settings or folder cannot be used.
    """
    found = _STUDIES[name].run(name, sources, settings, out, narrate)
    table, panels = SHOWS[name](found)
    picture = out / f"{name}.svg"
    write_atomically(picture, panels_svg(panels).encode())
    return StudyReport({"study": name, "settings": asdict(settings), **found}, table, picture)


def _decisive(name: str, texts: Sequence[str], settings: StudySettings) -> dict[str, Any]:
    """What must not change when a study goes on."""
    digest = sha256("\0".join(texts).encode("utf-8", "surrogatepass")).hexdigest()
    return {"study": name, "data": digest[:16], **asdict(settings)}


def _words(pair: Pair) -> tuple[str, str]:
    """What a pair says; of several queries the one that is asked."""
    return pair.queries[0], pair.passage
