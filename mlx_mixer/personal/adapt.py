"""From a library to a better embedder for it, or to the proof that the present one should stay.

Everything happens in a folder that vanishes, until the new model has won: a process that is killed changes nothing.
"""

import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mlx_mixer.checkpoint import load_config, load_language_model, resolve_model
from mlx_mixer.config import LanguageMixerConfig
from mlx_mixer.documents.cleaned_copy import cleaned_copy
from mlx_mixer.documents.library import Library
from mlx_mixer.embedding import Embedder, load_embedder
from mlx_mixer.errors import LibraryError
from mlx_mixer.personal.contest import Outcome, RanksBySystem, best_scale, compare, look_for, score
from mlx_mixer.personal.learned import marks_of
from mlx_mixer.personal.links import link_items
from mlx_mixer.personal.mining import MOST_CHUNKS, MinedPair, asked_hard, mine, read_documents
from mlx_mixer.personal.mixture import SHARES, write_mixture
from mlx_mixer.personal.pair_files import write_pairs
from mlx_mixer.personal.provenance import origin_of
from mlx_mixer.personal.split import Split, split_pairs
from mlx_mixer.training.hard_negatives import MiningSettings
from mlx_mixer.training.loop import LoopSettings
from mlx_mixer.training.pair_batches import PairSettings
from mlx_mixer.training.retrieval_run import RetrievalRun, train_retrieval

LEAST_TRAIN, LEAST_VALID, LEAST_TEST = 150, 30, 60
# Passages among which questions are looked for while weights are chosen: fewer, because that is done five times.
_VALID_CHUNKS = 5_000
# For "contextual" pooling, whose blocks take many times as long as bags of words: sized for ten minutes on two cores
# with 5,000 passages, if a hundred are embedded in a second and a pair that is learned from takes as long as four.
_CONTEXTUAL_STEPS, _CONTEXTUAL_BATCH, _CONTEXTUAL_VALID_CHUNKS = 24, 128, 1_500
# Its blocks learn at a tenth of the rate of its vectors.
_CONTEXTUAL_BLOCK_RATE = 0.1

MODEL = "model"
_WORK_PREFIX = ".adapting-"

Report = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class AdaptSettings:
    """The dials of one adaptation; see docs/personal.md for what was tried.

    Attributes:
        steps: Optimiser steps at most.
        learning_rate: Peak.
        batch_size: Pairs of a batch.
        span_share: Share of queries that are cut out of their passage.
        hard_negatives: Wrong answers that BM25 brings for each query.
        most_chunks: Passages of the library that are looked at; evenly over it where there are more.
        seed: Decides which files are held out, and every random choice.
    """

    steps: int = 200
    learning_rate: float = 1e-2
    batch_size: int = 256
    span_share: float = 0.4
    hard_negatives: int = 0
    most_chunks: int = MOST_CHUNKS
    seed: int = 0


@dataclass(frozen=True)
class Effort:
    """What an adaptation spends, by what its model costs.

    Attributes:
        steps: Optimiser steps at most.
        batch_size: Pairs of a batch.
        block_rate: Factor on the learning rate of blocks, where there are some to train.
        valid_chunks: Passages among which questions are looked for while weights are chosen.
        shares: Of the trained weights in the mixtures that are tried.
    """

    steps: int
    batch_size: int
    block_rate: float
    valid_chunks: int
    shares: Sequence[float]


@dataclass(frozen=True)
class Mined:
    """What a library has to learn from.

    Attributes:
        split: The pairs by part.
        documents: How many documents they were looked for in.
        chunks: How many passages those have.
        learned: Marks of the files that are learned from; see `mlx_mixer.personal.learned`.
    """

    split: Split
    documents: int
    chunks: int
    learned: Sequence[str] = ()

    def parts(self) -> dict[str, Sequence[MinedPair]]:
        return {"train": self.split.train, "valid": self.split.valid, "test": self.split.test}

    def counts(self) -> dict[str, dict[str, int]]:
        """Pairs by part and kind."""
        return {part: dict(Counter(pair.item.kind for pair in pairs)) for part, pairs in self.parts().items()}


@dataclass(frozen=True)
class Candidate:
    """A trained model that was tested.

    Attributes:
        outcome: Of the test.
        share: Of the trained weights in its mixture with those it started from.
        steps: Optimiser steps that were made.
        origin: Name of the model that training started from.
        before: Name of the present model, which it was tested against.
        seconds: How long each stage took.
    """

    outcome: Outcome
    share: float
    steps: int
    origin: str
    before: str
    seconds: dict[str, float]


def effort_for(origin: str, settings: AdaptSettings) -> Effort:
    """What to spend on a model: as much as was asked for, or less where its vectors come out of blocks.

    Raises:
        MixerError: If there is no such model.
    """
    config = load_config(origin)
    if isinstance(config, LanguageMixerConfig) and config.pooling == "contextual":
        return Effort(
            steps=min(settings.steps, _CONTEXTUAL_STEPS),
            batch_size=min(settings.batch_size, _CONTEXTUAL_BATCH),
            block_rate=_CONTEXTUAL_BLOCK_RATE,
            valid_chunks=_CONTEXTUAL_VALID_CHUNKS,
            shares=SHARES[1:],
        )
    return Effort(settings.steps, settings.batch_size, 1.0, _VALID_CHUNKS, SHARES)


@contextmanager
def work_folder(library: Path) -> Iterator[Path]:
    """Give an empty folder beside a library that vanishes afterwards; the caller holds its `adapting_lock`.

    What a process left that was killed goes first.
    """
    for left_over in library.parent.glob(f"{_WORK_PREFIX}*"):
        shutil.rmtree(left_over, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=_WORK_PREFIX, dir=library.parent) as name:
        yield Path(name)


def mine_library(library: Library, settings: AdaptSettings, report: Report) -> Mined:
    """Mine pairs and split them by file.

    Raises:
        LibraryError: If there are too few.
    """
    report("looking for questions", 0, 0)
    with library.reading() as db:
        documents = read_documents(db, settings.most_chunks)
    pairs = mine(documents, link_items(documents))
    split = split_pairs(documents, pairs, settings.seed)
    sources = {pair.item.content for pair in split.train}
    learned = marks_of(document for document in documents if document.content in sources)
    mined = Mined(split, len(documents), sum(len(each.chunks) for each in documents), learned)
    for what, part, least in (
        ("learn from", mined.split.train, LEAST_TRAIN),
        ("choose by", mined.split.valid, LEAST_VALID),
        ("test with", mined.split.test, LEAST_TEST),
    ):
        if len(part) < least:
            raise LibraryError(
                f"only {len(part)} questions to {what} in {len(documents)} documents, and {least} are needed; "
                "add more files with headings of two words or more, mail, or Python code with docstrings"
            )
    return mined


def adapt(
    library: Library,
    mined: Mined,
    settings: AdaptSettings,
    work: Path,
    *,
    report: Report,
    is_cancelled: Callable[[], bool],
) -> Candidate:
    """Train a model on mined pairs and test it against the library's present one.

    Args:
        library: The library; nothing is written to it.
        mined: Its pairs.
        settings: The dials.
        work: Empty folder; the model ends up in its folder `MODEL`, whether or not it is better.
        report: Told what is being done, how many steps of it and of how many (0 where that is not known).
        is_cancelled: Asked now and then; True ends with an error.

    Raises:
        LibraryError: If the caller stopped it.
        MixerError: If the present model cannot be trained.
    """
    clock = _Clock()
    before = library.embedder_choice().current
    origin = origin_of(before)
    effort = effort_for(origin, settings)
    steps = _train(mined.split, origin, work, settings, effort, report, is_cancelled)
    clock.lap("training")
    share, old_scale, new_scale = _choose(library, mined.split, origin, before, work, effort, report, is_cancelled)
    clock.lap("choosing")
    out = work / MODEL
    out.mkdir()
    write_mixture(resolve_model(origin), work / "trained", share, out)
    old, new = load_embedder(before), load_embedder(out)
    ranks = _ranks(library, mined.split.test, (old, new), settings.most_chunks, "testing", report, is_cancelled)
    clock.lap("testing")
    outcome = compare(ranks[0][0], ranks[1][0], old_scale=old_scale, new_scale=new_scale, chunks=ranks[0][1])
    return Candidate(outcome, share, steps, origin, before, clock.seconds)


def _train(
    split: Split,
    origin: str,
    work: Path,
    settings: AdaptSettings,
    effort: Effort,
    report: Report,
    is_cancelled: Callable[[], bool],
) -> int:
    write_pairs(work / "train.jsonl", split.train)
    write_pairs(work / "valid.jsonl", split.valid)
    start = load_language_model(origin, as_stored=False)
    run = RetrievalRun(
        pairs=[work / "train.jsonl"],
        valid=[work / "valid.jsonl"],
        init=resolve_model(origin),
        out=work / "trained",
        fold_case=start.config.fold_case,
        # With every gate but the first at 0 the blocks add nothing, and training through them takes hours.
        through_blocks=start.config.pooling == "token_weighted" and bool(start.pooling.layer_gate[1:].any()),
        mining=MiningSettings(count=settings.hard_negatives),
        drawing=PairSettings(batch_size=effort.batch_size, span_share=settings.span_share),
        loop=LoopSettings(
            steps=effort.steps,
            learning_rate=settings.learning_rate * effort.block_rate,
            embedding_rate=1 / effort.block_rate,
            warmup_steps=min(20, effort.steps // 5),
            weight_decay=0.0,
            clip_norm=100.0,
            checkpoint_every=effort.steps,
            validate_every=20,
            patience=3,
            seed=settings.seed,
        ),
    )

    def step(done: int) -> None:
        report("learning", done, effort.steps)
        if is_cancelled():
            raise LibraryError("the adaptation was stopped; nothing was changed")

    summary = train_retrieval(run, resume=False, report=lambda entry: step(entry.step), narrate=lambda _: None)
    return summary.steps


def _choose(
    library: Library,
    split: Split,
    origin: str,
    before: str,
    work: Path,
    effort: Effort,
    report: Report,
    is_cancelled: Callable[[], bool],
) -> tuple[float, float, float]:
    """Choose a mixture, and for it and for the present model the weight of meaning, by the questions kept for that."""
    embedders: list[Embedder] = [load_embedder(before)]
    for share in effort.shares:
        folder = work / f"mixture-{share}"
        folder.mkdir()
        write_mixture(resolve_model(origin), work / "trained", share, folder)
        embedders.append(load_embedder(folder))
    found = _ranks(library, split.valid, embedders, effort.valid_chunks, "choosing", report, is_cancelled)
    old, *mixtures = (ranks for ranks, _ in found)
    share, best = max(zip(effort.shares, mixtures, strict=True), key=lambda each: score(each[1]))
    return share, best_scale(old), best_scale(best)


def _ranks(
    library: Library,
    pairs: Sequence[MinedPair],
    embedders: Sequence[Embedder],
    most_chunks: int,
    stage: str,
    report: Report,
    is_cancelled: Callable[[], bool],
) -> list[tuple[RanksBySystem, int]]:
    """Look for the questions with each embedder: the ranks, and among how many passages."""
    # The first is the present one, which has seen most of the library.
    with library.reading() as db:
        copy = cleaned_copy(
            db, [asked_hard(pair) for pair in pairs], most_chunks=most_chunks, fingerprint=embedders[0].fingerprint
        )
    found = []
    try:
        for number, embedder in enumerate(embedders, start=1):
            which = f"{stage}, model {number} of {len(embedders)}"
            ranks = look_for(
                copy,
                embedder,
                embedding=partial(report, f"{which}: passages"),
                progress=partial(report, f"{which}: questions"),
                is_cancelled=is_cancelled,
            )
            found.append((ranks, copy.chunks))
    finally:
        copy.close()
    return found


class _Clock:
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage] = round(now - self._last, 1)
        self._last = now
