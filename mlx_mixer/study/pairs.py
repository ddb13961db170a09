"""Queries and their passages: from files, or the docstrings of Python's own library and what stands under them."""

import ast
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mlx_mixer.errors import MixerError
from mlx_mixer.study.settings import RetrievalSettings
from mlx_mixer.study.texts import study_texts
from mlx_mixer.training.data import Pair, read_pairs
from mlx_mixer.training.tokenizer import EOS_ID, Encode

# Held out at most; the rest of what was not asked for separately is for training.
_MOST_HELD_OUT = 0.4
# Of the pairs for training, so many decide learning rates.
_CHOOSING = 512
_FEWEST_PAIRS = 64
_SHORTEST_PASSAGE = 80

Ids = npt.NDArray[np.int32]


@dataclass(frozen=True)
class PairTexts:
    """Pairs in three parts, as words.

    Attributes:
        train: To train on.
        choose: These decide learning rates.
        report: These decide nothing.
    """

    train: list[Pair]
    choose: list[Pair]
    report: list[Pair]


@dataclass(frozen=True)
class PairIds:
    """Pairs as tokens, cut to a length and filled up on the right.

    Attributes:
        queries: ``(N, query_length)``.
        query_ends: ``(N,)`` place of the last token.
        passages: ``(N, context_length)``.
        passage_ends: ``(N,)`` likewise.
    """

    queries: Ids
    query_ends: Ids
    passages: Ids
    passage_ends: Ids

    def __len__(self) -> int:
        return len(self.queries)


def study_pairs(paths: Sequence[Path], held_out: Sequence[Path], settings: RetrievalSettings) -> PairTexts:
    """Read pairs, or take them from the standard library, and divide them.

    Args:
        paths: Files of pairs; none for docstrings.
        held_out: Files of pairs to report on; a part of the others if empty.
        settings: Seed and the most candidates.

    Raises:
        MixerError: If there are too few.
    """
    pairs = _unique(read_pairs(paths) if paths else list(docstring_pairs(study_texts([]))))
    order = np.random.default_rng(settings.seed).permutation(len(pairs))
    pairs = [pairs[index] for index in order]
    if held_out:
        report = _unique(read_pairs(held_out))
    else:
        count = min(max(_CHOOSING, *settings.candidates), int(_MOST_HELD_OUT * len(pairs)))
        report, pairs = pairs[:count], pairs[count:]
    if min(len(pairs), len(report)) < _FEWEST_PAIRS:
        raise MixerError(f"{len(pairs)} pairs to train on and {len(report)} held out are too few; give more")
    chosen = min(_CHOOSING, len(pairs) // 8)
    return PairTexts(pairs[chosen:], pairs[:chosen], report)


def docstring_pairs(sources: Sequence[str]) -> Iterator[Pair]:
    """The first line of every docstring, and the code that it describes without its docstring and its name."""
    for source in sources:
        try:
            with warnings.catch_warnings():
                # Some sources of the library hold escapes that Python warns about.
                warnings.simplefilter("ignore")
                tree = ast.parse(source)
        except (SyntaxError, ValueError):
            continue
        lines = source.splitlines()
        for node in ast.walk(tree):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or len(node.body) < 2:
                continue
            question = (ast.get_docstring(node) or "").strip().split("\n\n")[0].replace("\n", " ")
            body = "\n".join(lines[node.body[1].lineno - 1 : node.end_lineno])
            if len(question.split()) >= 3 and len(body) >= _SHORTEST_PASSAGE:
                yield Pair(body, (question,), hard_query=question)


def pair_ids(pairs: Sequence[Pair], encode: Encode, settings: RetrievalSettings) -> PairIds:
    """Tokenise pairs; of several queries the hardest is asked."""
    queries, query_ends = _filled(encode([pair.queries[0] for pair in pairs]), settings.query_length)
    # The last position of a window is never trained to say anything, so no passage ends there.
    passages, passage_ends = _filled(encode([pair.passage for pair in pairs]), settings.context_length - 1)
    return PairIds(queries, query_ends, passages, passage_ends)


def _filled(texts: list[list[int]], length: int) -> tuple[Ids, Ids]:
    ids = np.full((len(texts), length), EOS_ID, np.int32)
    ends = np.zeros(len(texts), np.int32)
    for row, text in enumerate(texts):
        cut = text[:length] or [EOS_ID]
        ids[row, : len(cut)] = cut
        ends[row] = len(cut) - 1
    return ids, ends


def _unique(pairs: Sequence[Pair]) -> list[Pair]:
    """One pair for each passage and for each question, so that a right answer is the only one."""
    questions: set[str] = set()
    passages: set[str] = set()
    kept = []
    for pair in pairs:
        if pair.passage not in passages and pair.queries[0] not in questions:
            kept.append(pair)
            questions.add(pair.queries[0])
            passages.add(pair.passage)
    return kept
