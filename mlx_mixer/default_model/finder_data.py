"""Turns pairs of a query and a passage into the arrays that `finder.py` learns from.

    python finder_data.py TEACHER OUT --corpus PAIRS.jsonl.gz ... --sections PAIRS.jsonl.gz ...

TEACHER is the folder of a BERT with its `tokenizer.json`. OUT gets `words.txt`, the commonest stems of all passages,
and `finder.npz`. Every text stands in that twice: as ids of words for the model, as ids of pieces for its teacher; each
of the two as the concatenated ids of all passages (`word_passages`, `piece_passages`) with the end of each
(`word_passage_ends`, ...), and of all queries likewise. The queries of a passage follow each other (`owners` says whose
each is): its heading, the last part of it, and spans that were cut out of the passage, for which `word_cuts` and
`piece_cuts` say which ids of the passage they are. `of_corpus` says which passages came with `--corpus`; `table` and
`token_weight` are vectors and weights of words to start from.
"""

import argparse
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from mlx_mixer.folding import fold
from mlx_mixer.layers.pooling import StaticPooling
from mlx_mixer.training.json_lines import records_of
from mlx_mixer.training.start import start_words
from mlx_mixer.training.token_vectors import cooccurrence_vectors
from mlx_mixer.word_tokenizer import WordTokenizer, commonest_stems, save_words

WORDS, BUCKETS, DIMS = 12_288, 1024, 384
LONGEST_PASSAGE = 1050  # characters: hardly more than what either side sees of it
MOST_IDS, MOST_QUERY_IDS = 256, 64
SPANS, SPAN_WORDS, SPANNED_FROM = 2, (3, 15), 24
# Enough texts for vectors of co-occurrence.
SAMPLE = 50_000


def main() -> None:
    parser = argparse.ArgumentParser(description="Arrays of pairs for finder.py.")
    parser.add_argument("teacher", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--corpus", type=Path, nargs="+", required=True, metavar="FILE")
    parser.add_argument("--sections", type=Path, nargs="+", default=[], metavar="FILE")
    parser.add_argument("--words", type=int, default=WORDS, metavar="N", help="stems with a vector of their own")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    texts = (" ".join(_words(record["passage"])) for record in _records([*options.corpus, *options.sections]))
    words = WordTokenizer(commonest_stems(texts, options.words), BUCKETS)
    save_words(options.out, words)
    sides = {"word": _Side(_WordIds(words)), "piece": _Side(_PieceIds(options.teacher / "tokenizer.json"))}
    owners = _add_all(_records([*options.corpus, *options.sections]), list(sides.values()))
    of_corpus = np.arange(len(sides["word"].passages)) < sum(1 for _ in _records(options.corpus))
    arrays: dict[str, Any] = {"owners": np.array(owners, np.int32), "of_corpus": of_corpus}
    for name, side in sides.items():
        arrays |= {f"{name}_{key}": array for key, array in side.arrays().items()}
    arrays |= _start(sides["word"].passages, words.vocab_size)
    np.savez(options.out / "finder.npz", **arrays)


class _Ids(Protocol):
    """Makes ids of words between spaces, and what stands around those of a text."""

    around: tuple[list[int], list[int]]

    def __call__(self, word: str) -> Sequence[int]: ...


class _WordIds:
    def __init__(self, tokenizer: WordTokenizer) -> None:
        self.around: tuple[list[int], list[int]] = ([], [])
        self._tokenizer = tokenizer

    def __call__(self, word: str) -> Sequence[int]:
        return self._tokenizer.encode([word])[0]


class _PieceIds:
    """BERT cuts at every space, so what it makes of a text is what it makes of its words."""

    def __init__(self, file: Path) -> None:
        self._tokenizer = Tokenizer.from_file(str(file))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        first, last = self._tokenizer.encode("").ids
        self.around = ([first], [last])
        self._known: dict[str, list[int]] = {}

    def __call__(self, word: str) -> Sequence[int]:
        if word not in self._known:
            self._known[word] = self._tokenizer.encode(word, add_special_tokens=False).ids
        return self._known[word]


@dataclass
class _Side:
    """All texts as ids of one kind."""

    ids: _Ids
    passages: list[npt.NDArray[np.uint16]] = field(default_factory=list)
    queries: list[npt.NDArray[np.uint16]] = field(default_factory=list)
    cuts: list[tuple[int, int]] = field(default_factory=list)

    def add_passage(self, words: Sequence[str]) -> None:
        self.passages.append(self._encoded(words, MOST_IDS))

    def add_query(self, words: Sequence[str]) -> None:
        self.queries.append(self._encoded(words, MOST_QUERY_IDS))
        self.cuts.append((0, 0))

    def add_span(self, words: Sequence[str], start: int, end: int) -> None:
        """A query that is the words of the last passage from `start` to `end`."""
        self.queries.append(self._encoded(words[start:end], MOST_QUERY_IDS))
        before = len(self.ids.around[0]) + self._count(words[:start])
        # What lies behind the part that is seen of a passage is cut out of nothing.
        seen = len(self.passages[-1]) - len(self.ids.around[1])
        self.cuts.append((min(before, seen), min(before + self._count(words[start:end]), seen)))

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {
            "passages": np.concatenate(self.passages),
            "passage_ends": np.cumsum([len(ids) for ids in self.passages]),
            "queries": np.concatenate(self.queries),
            "query_ends": np.cumsum([len(ids) for ids in self.queries]),
            "cuts": np.array(self.cuts, np.uint16),
        }

    def _encoded(self, words: Sequence[str], most: int) -> npt.NDArray[np.uint16]:
        first, last = self.ids.around
        inside = [number for word in words for number in self.ids(word)][: most - len(first) - len(last)]
        # No text is empty: one of punctuation alone becomes the number 0.
        return np.array([*first, *inside, *last] or [0], np.uint16)

    def _count(self, words: Sequence[str]) -> int:
        return sum(len(self.ids(word)) for word in words)


def _add_all(records: Iterable[dict[str, Any]], sides: Sequence[_Side]) -> list[int]:
    """Add passages and queries to both sides; returns the passage that each query belongs to."""
    owners: list[int] = []
    drawn = random.Random(1)
    for number, record in enumerate(records):
        words = _words(record["passage"])
        spans = [_span(len(words), drawn) for _ in range(SPANS)] if len(words) >= SPANNED_FROM else []
        queries: dict[str, list[str]] = {}
        for query in filter(None, (record["query_raw"], record["query_hard"])):
            queries.setdefault(fold(query), query.split())
        for side in sides:
            side.add_passage(words)
            for heading in queries.values():
                side.add_query(heading)
            for start, end in spans:
                side.add_span(words, start, end)
        owners += [number] * (len(queries) + len(spans))
    return owners


def _span(count: int, drawn: random.Random) -> tuple[int, int]:
    length = drawn.randint(*SPAN_WORDS)
    start = drawn.randrange(count - length)
    return start, start + length


def _words(passage: str) -> list[str]:
    text = " ".join(passage.split())
    return (text if len(text) <= LONGEST_PASSAGE else text[:LONGEST_PASSAGE].rsplit(" ", 1)[0]).split()


def _start(passages: Sequence[npt.NDArray[np.uint16]], vocab_size: int) -> dict[str, npt.NDArray[Any]]:
    drawn = np.random.default_rng(0).permutation(len(passages))[:SAMPLE]
    sample = [passages[number].astype(np.int64) for number in np.sort(drawn)]
    pooling = StaticPooling(vocab_size, DIMS)
    start_words(pooling, cooccurrence_vectors(sample, vocab_size, DIMS, seed=0), seed=0)
    return {"table": np.array(pooling.table.weight), "token_weight": np.array(pooling.token_weight)}


def _records(files: Sequence[Path]) -> Iterator[dict[str, Any]]:
    for file in files:
        yield from records_of(file)


if __name__ == "__main__":
    main()
