"""How text falls into words, on both sides of the index: identifiers split, stop-words known, CJK runs cut in pairs.

SQLite's tokenizer takes a run of Chinese, Japanese or Korean letters for one word. The index therefore also holds
every pair of neighbouring letters of such a run, in order, and a query asks for its own pairs (half the space of a
trigram index, and words of two letters are found).
"""

import os
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import NamedTuple

from mlx_mixer.word_cutting import WORD, camel_pieces, cjk_index_words, has_cjk, script_runs

# What a byte of UTF-8 can be in an identifier: "a" small or a digit, "A" a capital, "x" part of some other character,
# a space what no word holds. Only words with one of the changes below fall into parts.
_BYTE_CLASSES = bytes(
    ord("a" if chr(byte).islower() or chr(byte).isdigit() else "A" if chr(byte).isupper() else " ")
    if byte < 0x80
    else ord("x")
    for byte in range(256)
)
_CHANGES = (b"aA", b"AAa")

# They say nothing about a document. Kept short: "not", "all" or "before" can be the point of a question.
_STOP_WORDS = """
    a about am an and any are as at be been being but by can could did do does doing for from had has have having he her
    here hers him his how i if in into is it its itself let me might must my of on or our ours shall she should so some
    such than that the their theirs them then there these they this those to too us very was we were what when where
    which while who whom whose why will with would you your yours
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())


def identifier_parts(text: str) -> Iterator[tuple[int, int]]:
    """Yield the spans of the parts of every camelCase word in a text, and of the pairs in its CJK runs.

    snake_case, dotted and hyphenated names need no help: the tokenizer cuts there by itself.
    """
    for word in WORD.finditer(text):
        start = word.start()
        if has_cjk(word[0]):
            for piece in script_runs(word[0]):
                if has_cjk(piece):
                    yield from ((start + i, start + i + len(pair)) for i, pair in enumerate(cjk_index_words(piece)))
                elif piece != word[0]:
                    yield start, start + len(piece)
                start += len(piece)
            continue
        for piece in camel_pieces(word[0]):
            yield start, start + len(piece)
            start += len(piece)


def identifier_words(text: str) -> str:
    """Return, for the index, the distinct parts of the camelCase words in a text, then the pairs of its CJK runs."""
    data = text.encode("utf-8", "replace")
    (words,) = _words_with_changes(data, [len(data)])
    found = _distinct_pieces(words)
    if has_cjk(text):
        for word in WORD.findall(text):
            found += [piece for run in script_runs(word) for piece in _pieces_beside_cjk(run, word)]
    return " ".join(found)


def identifier_words_of_parts(text: str, ends: Sequence[int]) -> list[str]:
    """Return `identifier_words` of every part of a text, in less time than part by part.

    Args:
        text: The text.
        ends: Where each part ends, in order; the first starts where the text does, every other where one ends.
    """
    parts = [text[start:end] for start, end in pairwise([0, *ends])]
    is_cut = any(_may_be_in_word(text[end - 1]) and _may_be_in_word(text[end]) for end in ends[:-1])
    if is_cut or has_cjk(text):
        return list(map(identifier_words, parts))
    encoded = [part.encode("utf-8", "replace") for part in parts]
    found = _words_with_changes(b"".join(encoded), list(accumulate(map(len, encoded))))
    return [" ".join(_distinct_pieces(words)) for words in found]


def _may_be_in_word(letter: str) -> bool:
    return letter.isalnum() or not letter.isascii()


def _pieces_beside_cjk(run: str, word: str) -> list[str]:
    if has_cjk(run):
        return cjk_index_words(run)
    return [run.lower()] if run != word else []


def _distinct_pieces(words: set[bytes]) -> list[str]:
    return sorted({piece for word in words for piece in _small_pieces(word)}) if words else []


def _words_with_changes(data: bytes, ends: Sequence[int]) -> list[set[bytes]]:
    """Find what looks like an identifier in each part; ten times as fast as a pattern is."""
    classes = data.translate(_BYTE_CLASSES)
    find, find_back = classes.find, classes.rfind
    parts: list[set[bytes]] = [set() for _ in ends]
    for change in _CHANGES:
        number, end = 0, ends[0]
        place = find(change)
        while place >= 0:
            while place >= end:
                number += 1
                end = ends[number]
            stop = find(b" ", place)
            if stop < 0:
                stop = len(data)
            parts[number].add(data[find_back(b" ", 0, place) + 1 : stop])
            place = find(change, stop)
    return parts


@lru_cache(maxsize=1 << 15)
def _small_pieces(word: bytes) -> tuple[str, ...]:
    return tuple(piece.lower() for part in WORD.findall(word.decode()) for piece in camel_pieces(part))


class PathWords(NamedTuple):
    """The words of a path below its root, by which a file is found, and its suffix (lower case, no dot)."""

    folder: str
    name: str
    suffix: str = ""


def path_words(path: bytes, root: bytes) -> PathWords:
    """Return the words of a file's folders below its root, of its own name, and its suffix."""
    folder, name = os.path.split(path)
    below = folder[len(root) :].strip(b"/") if folder.startswith(root) else b""
    return PathWords(_searchable(below), _searchable(name), suffix_of(name))


def suffix_of(name: bytes) -> str:
    """Return the suffix of a file's name; bytes that are not UTF-8 are replaced."""
    return os.path.splitext(name)[1][1:].decode("utf-8", "replace").lower()  # noqa: PTH122  (a name, not a path)


def _searchable(name: bytes) -> str:
    text = os.fsdecode(name).encode("utf-8", "replace").decode()
    return f"{text} {identifier_words(text)}".strip()
