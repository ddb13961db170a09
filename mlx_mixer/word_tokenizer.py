r"""Texts as stems of words, for vectors that find.

A piece of a word says little about what the word means: of two texts that share "ing" and "ql", neither need be about
PostgreSQL. Here a word is reduced to its stem, and every stem has a number. The commonest ones have one of their own;
any other, such as a name that only one person's files have, has two numbers that it shares with a few other stems, and
hardly ever both with the same one. Sources: hash embeddings, https://arxiv.org/abs/1709.03933, and Porter's second
stemmer, https://snowballstem.org/algorithms/english/stemmer.html, which leaves words of other languages nearly as they
are.

A camelCase name counts as itself and as its parts; a run of Chinese, Japanese or Korean letters as its pairs.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from pathlib import Path

import Stemmer

from mlx_mixer.errors import CheckpointError, ModelNotFoundError
from mlx_mixer.text_tokenizer import PlacedIds
from mlx_mixer.word_cutting import WORD, camel_pieces, cjk_pairs, has_cjk, script_runs

WORDS_NAME = "words.txt"
# Distinct words whose numbers are remembered, a few tens of megabytes.
_MOST_REMEMBERED = 1 << 18


class WordTokenizer:
    """Turns texts into the numbers of their stems.

    Attributes:
        words: Stems with a number of their own, which is their place here.
        vocab_size: Number of numbers.

    Args:
        words: Those stems.
        buckets: Numbers that all others share; two for each.
    """

    def __init__(self, words: Sequence[str], buckets: int) -> None:
        self.words = words
        self.vocab_size = len(words) + buckets
        self._numbers = {word: number for number, word in enumerate(words)}
        self._buckets = buckets
        self._remembered: dict[str, tuple[int, ...]] = {}

    def encode(self, texts: Iterable[str]) -> list[list[int]]:
        """See `mlx_mixer.text_tokenizer.TextTokenizer`."""
        known, ids = self._remembered, self._ids
        return [[number for word in WORD.findall(text) for number in known.get(word) or ids(word)] for text in texts]

    def encode_placed(self, text: str) -> list[PlacedIds]:
        """See `mlx_mixer.text_tokenizer.TextTokenizer`."""
        return [PlacedIds(*word.span(), self._ids(word[0])) for word in WORD.finditer(text)]

    def _ids(self, word: str) -> tuple[int, ...]:
        ids = self._remembered.get(word)
        if ids is None:
            ids = tuple(number for stem in stems_of(word) for number in self._numbers_of(stem))
            if len(self._remembered) >= _MOST_REMEMBERED:
                self._remembered.clear()
            self._remembered[word] = ids
        return ids

    def _numbers_of(self, stem: str) -> tuple[int, ...]:
        number = self._numbers.get(stem)
        if number is not None:
            return (number,)
        digest = blake2b(stem.encode("utf-8", "replace"), digest_size=8).digest()
        halves = (int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little"))
        return tuple(len(self.words) + half % self._buckets for half in halves)


def stems_of(word: str) -> list[str]:
    """Stems of a word of letters and digits: its own, then those of its parts."""
    if has_cjk(word):
        pieces = [piece for run in script_runs(word) for piece in (cjk_pairs(run) if has_cjk(run) else [run])]
    else:
        pieces = [word, *(piece for piece in camel_pieces(word) if len(piece) > 1)]
    # Not shared: one that several threads use at once breaks.
    stems: list[str] = Stemmer.Stemmer("english", 0).stemWords([piece.lower() for piece in pieces])
    return stems


def commonest_stems(texts: Iterable[str], count: int) -> list[str]:
    """The stems that the most texts hold, most first; those of equally many in alphabetical order."""
    stems: dict[str, list[str]] = {}
    held: Counter[str] = Counter()
    for text in texts:
        found: set[str] = set()
        for word in set(WORD.findall(text)):
            if word not in stems:
                stems[word] = stems_of(word)
            found.update(stems[word])
        held.update(found)
    return sorted(held, key=lambda stem: (-held[stem], stem))[:count]


def load_word_tokenizer(folder: Path, vocab_size: int) -> WordTokenizer:
    """Read the stems of a model folder.

    Args:
        folder: The folder.
        vocab_size: Number of numbers its config asks for.

    Raises:
        ModelNotFoundError: If it has no `words.txt`.
        CheckpointError: If that file does not fit.
    """
    file = folder / WORDS_NAME
    try:
        words = file.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise ModelNotFoundError(f"{folder} holds no {WORDS_NAME}, which its config.json asks for") from error
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{file} cannot be read: {error}") from error
    if not len(set(words)) == len(words) < vocab_size:
        raise CheckpointError(
            f"{file} holds {len(words):,} words, {len(words) - len(set(words)):,} of them twice; it must hold fewer "
            f"than {vocab_size:,}, each once"
        )
    return WordTokenizer(words, vocab_size - len(words))


def save_words(folder: Path, tokenizer: WordTokenizer) -> None:
    """Write the stems of a tokenizer into a model folder."""
    (folder / WORDS_NAME).write_text("".join(f"{word}\n" for word in tokenizer.words), encoding="utf-8")
