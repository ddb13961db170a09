"""How text falls into words, on both sides of the index: identifiers split, stop-words known."""

import os
import re
from collections.abc import Iterator
from typing import NamedTuple

_WORD = re.compile(r"[^\W_]+")
_INNER_CAPITAL = re.compile(r"[a-z0-9][A-Z]|[A-Z][A-Z0-9]+[a-z]")
_CAMEL_PART = re.compile(r"[A-Z][A-Z0-9]*(?=[A-Z][a-z])|[A-Z]?[a-z0-9]+|[A-Z0-9]+")

# They say nothing about a document. Kept short: "not", "all" or "before" can be the point of a question.
_STOP_WORDS = """
    a about am an and any are as at be been being but by can could did do does doing for from had has have having he her
    here hers him his how i if in into is it its itself let me might must my of on or our ours shall she should so some
    such than that the their theirs them then there these they this those to too us very was we were what when where
    which while who whom whose why will with would you your yours
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())


def words_of(text: str) -> list[str]:
    """Return the runs of letters and digits, as SQLite's unicode61 tokenizer would cut them (nearly), in order."""
    return _WORD.findall(text)


def split_identifier(word: str) -> list[str]:
    """Return the parts of a camelCase word: ``HTTPServer`` -> ``HTTP``, ``Server``; others come back whole."""
    parts = _CAMEL_PART.findall(word)
    return parts if len("".join(parts)) == len(word) else [word]


def identifier_parts(text: str) -> Iterator[tuple[int, int]]:
    """Yield the spans of the parts of every camelCase word in a text.

    snake_case, dotted and hyphenated names need no help: the tokenizer cuts there by itself.
    """
    for word in _WORD.finditer(text):
        start = word.start()
        for piece in _camel_pieces(word[0]):
            yield start, start + len(piece)
            start += len(piece)


def identifier_words(text: str) -> str:
    """Return the distinct parts of the camelCase words in a text, for the index."""
    if not _INNER_CAPITAL.search(text):
        return ""
    words = set(_WORD.findall(text))
    return " ".join(sorted({piece.lower() for word in words for piece in _camel_pieces(word)}))


def _camel_pieces(word: str) -> list[str]:
    """The parts of a camelCase word; none for another one."""
    # Nearly every word is told apart without a pattern: lower case after its first letter, or capitals throughout.
    if word[1:].islower() or word.isupper() or len(word) < 3:
        return []
    pieces = split_identifier(word)
    return pieces if len(pieces) > 1 else []


class PathWords(NamedTuple):
    """The words of a path below its root, by which a file is found, and its suffix (lower case, no dot)."""

    folder: str
    name: str
    suffix: str = ""


def path_words(path: bytes, root: bytes) -> PathWords:
    """Return the words of a file's folders below its root, of its own name, and its suffix."""
    folder, name = os.path.split(path)
    below = os.path.relpath(folder, root) if folder.startswith(root) and folder != root else b""
    return PathWords(_searchable(below), _searchable(name), suffix_of(name))


def suffix_of(name: bytes) -> str:
    """Return the suffix of a file's name; bytes that are not UTF-8 are replaced."""
    return os.path.splitext(name)[1][1:].decode("utf-8", "replace").lower()  # noqa: PTH122  (a name, not a path)


def _searchable(name: bytes) -> str:
    text = os.fsdecode(name).encode("utf-8", "replace").decode()
    return f"{text} {identifier_words(text)}".strip()
