"""Batches for the contrastive objective: real pairs, and pairs made of a passage alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from mlx_mixer.errors import UsageError
from mlx_mixer.training.data import Pair
from mlx_mixer.training.tokenizer import Encode

Ids = npt.NDArray[np.int64]
# Windows come in lengths that are multiples of this, so that few shapes are compiled.
_LENGTH_STEP = 32
# The last chunk of a batch has rows in multiples of this.
_ROW_STEP = 16


@dataclass(frozen=True, kw_only=True)
class PairSettings:
    """How pairs are drawn.

    Attributes:
        batch_size: Pairs of a batch; each serves the others as wrong answers.
        span_share: Share of pairs whose query is a span cut out of the passage instead of a real query. Real pairs
            alone are learned by heart.
        token_drop: Share of a query's tokens left out at random.
        shortest_span: Tokens of the shortest such span.
        longest_span: Tokens of the longest.
    """

    batch_size: int = 512
    span_share: float = 0.6
    token_drop: float = 0.15
    shortest_span: int = 6
    longest_span: int = 24

    def __post_init__(self) -> None:
        if self.batch_size < 2:
            raise UsageError(f"batch_size is {self.batch_size}; a pair needs at least one other to be told from")
        for name in ("span_share", "token_drop"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}; it must be at least 0 and below 1")


@dataclass(frozen=True)
class TokenPairs:
    """Pairs as token ids; `queries[i]` are the ways to ask for `passages[i]`."""

    passages: Sequence[Ids]
    queries: Sequence[Sequence[Ids]]

    @cached_property
    def first_query(self) -> Ids:
        """``(N,)`` number of each pair's first query among all queries in order."""
        return np.cumsum([0, *(len(ways) for ways in self.queries[:-1])])


def encode_pairs(pairs: Sequence[Pair], encode: Encode) -> TokenPairs:
    """Tokenise pairs."""
    passages = [np.asarray(ids, np.int64) for ids in encode([pair.passage for pair in pairs])]
    flat = iter(encode([query for pair in pairs for query in pair.queries]))
    queries = [[np.asarray(next(flat), np.int64) for _ in pair.queries] for pair in pairs]
    return TokenPairs(passages, queries)


@dataclass(frozen=True)
class DrawnPairs:
    """One batch of B pairs, with H wrong answers brought for each.

    Attributes:
        queries: B queries.
        passages: ``B * (1 + H)``: those that answer the queries in order, then the wrong answers for the first query,
            for the second, and so on.
        records: ``(B * (1 + H),)`` number of the pair that each passage is of.
        asked: ``(B,)`` number of the query among all queries of all pairs in order; -1 where it is a span of the
            passage.
    """

    queries: list[Ids]
    passages: list[Ids]
    records: Ids
    asked: Ids


# Wrong answers for a pair at a step, by the pair's number; see `mlx_mixer.training.hard_negatives`.
Rivals = Callable[[int, int, np.random.Generator], Sequence[int]]


def draw_pairs(
    pairs: TokenPairs, settings: PairSettings, rng: np.random.Generator, rivals: Rivals | None = None, step: int = 0
) -> DrawnPairs:
    """Draw one batch.

    Args:
        pairs: What to draw from.
        settings: How.
        rng: Decides the choice.
        rivals: Chooses wrong answers; it gives the same number for every pair.
        step: The step they are for.
    """
    size = min(settings.batch_size, len(pairs.passages))
    chosen = [int(index) for index in rng.choice(len(pairs.passages), size, replace=False)]
    queries, passages, asked = [], [], []
    for index in chosen:
        passage = pairs.passages[index]
        if rng.random() < settings.span_share and len(passage) >= 2 * settings.shortest_span:
            query, passage = cut_span(passage, settings, rng)
            asked.append(-1)
        else:
            which = int(rng.integers(len(pairs.queries[index])))
            query = pairs.queries[index][which]
            asked.append(int(pairs.first_query[index]) + which)
        kept = query[rng.random(len(query)) >= settings.token_drop]
        queries.append(kept if len(kept) else query)
        passages.append(passage)
    wrong = [other for index in chosen for other in rivals(index, step, rng)] if rivals else []
    passages += [pairs.passages[other] for other in wrong]
    return DrawnPairs(queries, passages, np.array([*chosen, *wrong], np.int64), np.array(asked, np.int64))


def cut_span(passage: Ids, settings: PairSettings, rng: np.random.Generator) -> tuple[Ids, Ids]:
    """Cut a random span out of a passage: (the span, the passage without it)."""
    longest = min(settings.longest_span, len(passage) // 2)
    length = int(rng.integers(settings.shortest_span, longest + 1))
    start = int(rng.integers(0, len(passage) - length + 1))
    return passage[start : start + length], np.concatenate([passage[:start], passage[start + length :]])


def windows_of(texts: Sequence[Ids], context_length: int) -> tuple[Ids, Ids, Ids]:
    """Cut texts into windows: ids ``(W, L)`` filled up with 0, real tokens of each, number of the text of each."""
    cut = [
        (number, text[start : start + context_length])
        for number, text in enumerate(texts)
        for start in range(0, max(1, len(text)), context_length)
    ]
    lengths = np.array([len(window) for _, window in cut])
    width = min(context_length, -(-max(1, int(lengths.max())) // _LENGTH_STEP) * _LENGTH_STEP)
    ids = np.zeros((len(cut), width), np.int64)
    for row, (_, window) in enumerate(cut):
        ids[row, : len(window)] = window
    return ids, lengths, np.array([number for number, _ in cut])


@dataclass(frozen=True)
class Chunk:
    """Windows that go through the model together.

    Attributes:
        ids: ``(W, L)`` tokens, filled up on the right.
        lengths: ``(W,)`` real tokens of each window; 0 where a row is there for the shape alone.
        texts: ``(W,)`` which text a window is part of.
    """

    ids: Ids
    lengths: Ids
    texts: Ids


def chunks_of(texts: Sequence[Ids], context_length: int, tokens_per_chunk: int) -> list[Chunk]:
    """Cut texts into windows and put windows of similar length together, so that little is spent on filling up.

    Args:
        texts: Token ids.
        context_length: Longest window.
        tokens_per_chunk: Positions of a chunk, at most, unless one window alone is longer.

    Returns:
        Chunks of few shapes: the length decides the number of rows.
    """
    ids, lengths, owners = windows_of(texts, context_length)
    order = np.argsort(-lengths, kind="stable")
    chunks = []
    while len(order):
        width = min(context_length, -(-max(1, int(lengths[order[0]])) // _LENGTH_STEP) * _LENGTH_STEP)
        rows = max(1, tokens_per_chunk // width)
        taken, order = order[:rows], order[rows:]
        fill = (0, min(rows, -(-len(taken) // _ROW_STEP) * _ROW_STEP) - len(taken))
        chunks.append(
            Chunk(np.pad(ids[taken, :width], (fill, (0, 0))), np.pad(lengths[taken], fill), np.pad(owners[taken], fill))
        )
    return chunks
