"""Batches for the contrastive objective: real pairs, and pairs made of a passage alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import mlx.core as mx
import numpy as np
import numpy.typing as npt

from mlx_mixer.errors import UsageError
from mlx_mixer.training.data import Pair
from mlx_mixer.training.loop import Batch
from mlx_mixer.training.tokenizer import Encode

Ids = npt.NDArray[np.int64]


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


def encode_pairs(pairs: Sequence[Pair], encode: Encode) -> TokenPairs:
    """Tokenise pairs."""
    passages = [np.asarray(ids, np.int64) for ids in encode([pair.passage for pair in pairs])]
    flat = iter(encode([query for pair in pairs for query in pair.queries]))
    queries = [[np.asarray(next(flat), np.int64) for _ in pair.queries] for pair in pairs]
    return TokenPairs(passages, queries)


def draw_pairs(pairs: TokenPairs, settings: PairSettings, rng: np.random.Generator) -> tuple[list[Ids], list[Ids]]:
    """Draw the queries and passages of one batch."""
    size = min(settings.batch_size, len(pairs.passages))
    queries, passages = [], []
    for index in map(int, rng.choice(len(pairs.passages), size, replace=False)):
        passage = pairs.passages[index]
        if rng.random() < settings.span_share and len(passage) >= 2 * settings.shortest_span:
            query, passage = cut_span(passage, settings, rng)
        else:
            query = pairs.queries[index][int(rng.integers(len(pairs.queries[index])))]
        kept = query[rng.random(len(query)) >= settings.token_drop]
        queries.append(kept if len(kept) else query)
        passages.append(passage)
    return queries, passages


def cut_span(passage: Ids, settings: PairSettings, rng: np.random.Generator) -> tuple[Ids, Ids]:
    """Cut a random span out of a passage: (the span, the passage without it)."""
    longest = min(settings.longest_span, len(passage) // 2)
    length = int(rng.integers(settings.shortest_span, longest + 1))
    start = int(rng.integers(0, len(passage) - length + 1))
    return passage[start : start + length], np.concatenate([passage[:start], passage[start + length :]])


def count_tokens(texts: Sequence[Ids], vocab_size: int) -> npt.NDArray[np.float32]:
    """How often each token occurs in each text, ``(B, V)`` float32."""
    return np.stack([np.bincount(text, minlength=vocab_size).astype(np.float32) for text in texts])


def bag_batches(
    pairs: TokenPairs, settings: PairSettings, vocab_size: int, seed: int
) -> Callable[[int], tuple[Batch, int]]:
    """Batches of token counts by step: ``(queries (B, V), passages (B, V))`` and the number of tokens in them."""

    def batch_at(step: int) -> tuple[Batch, int]:
        queries, passages = draw_pairs(pairs, settings, np.random.default_rng((seed, step)))
        tokens = sum(map(len, queries)) + sum(map(len, passages))
        return tuple(mx.array(count_tokens(side, vocab_size)) for side in (queries, passages)), tokens

    return batch_at


def window_batches(
    pairs: TokenPairs, settings: PairSettings, context_length: int, seed: int
) -> Callable[[int], tuple[Batch, int]]:
    """Batches for the blocks by step: windows, their lengths and their texts, for queries and then for passages."""

    def batch_at(step: int) -> tuple[Batch, int]:
        sides = draw_pairs(pairs, settings, np.random.default_rng((seed, step)))
        arrays = [array for side in sides for array in windows_of(side, context_length)]
        return tuple(mx.array(array) for array in arrays), sum(len(text) for side in sides for text in side)

    return batch_at


def windows_of(texts: Sequence[Ids], context_length: int) -> tuple[Ids, Ids, Ids]:
    """Cut texts into windows: ids ``(W, L)`` filled up with 0, real tokens of each, number of the text of each."""
    cut = [
        (number, text[start : start + context_length])
        for number, text in enumerate(texts)
        for start in range(0, max(1, len(text)), context_length)
    ]
    lengths = np.array([len(window) for _, window in cut])
    # Few lengths, so that few shapes are compiled.
    width = min(context_length, -(-max(1, int(lengths.max())) // 32) * 32)
    ids = np.zeros((len(cut), width), np.int64)
    for row, (_, window) in enumerate(cut):
        ids[row, : len(window)] = window
    return ids, lengths, np.array([number for number, _ in cut])
