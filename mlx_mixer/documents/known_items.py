"""Questions with a known answer, made of a user's own documents: headings, docstrings and subjects of mail.

A heading asks for its section, the first sentence of a docstring for its function, a subject for its message. What
would give the answer away is taken out of it: the heading's line and its place in the heading path, the docstring.
"""

import os
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from mlx_mixer.documents.connection import Database
from mlx_mixer.documents.passages import stored_document
from mlx_mixer.documents.words import STOP_WORDS
from mlx_mixer.word_cutting import words_of

Kind = Literal["heading", "docstring", "subject", "link", "sentence"]
KINDS: tuple[Kind, ...] = ("heading", "docstring", "subject")
"""What `document_items` finds; the others are made in `mlx_mixer.personal`."""

_SEPARATOR = " › "
_MAX_QUERY = 120
MIN_REST = 120
MIN_HEADING_WORDS, _MIN_SENTENCE_WORDS = 2, 3
_ITEMS_PER_DOCUMENT = 3
_MARKUP_WORDS = 2
_DOCSTRING = re.compile(
    r"^([ \t]*)(?:async[ \t]+)?(?:def|class)[ \t]+\w+[^\n]*?(?:\([^\"']*?\)[^\n:]*)?:[ \t]*\n"
    r"([ \t]+[rRuU]?(\"\"\"|''')(.+?)\3[ \t]*\n)",
    re.MULTILINE | re.DOTALL,
)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s|\n\s*\n")
_REPLY = re.compile(r"^(?:\s*(?:re|aw|fwd?|wg|sv|tr)\s*(?:\[\d+\])?\s*:|\s*\[[^\]]{1,40}\])+\s*", re.IGNORECASE)
_RULE = re.compile(r"^[=\-~^\"'`#*+]{3,}\s*$")


@dataclass(frozen=True)
class StoredChunk:
    """A chunk as it is in the library."""

    seq: int
    heading: str
    body: str


@dataclass(frozen=True)
class KnownItem:
    """A question and its answer.

    Attributes:
        query: The question.
        kind: What it was made of.
        content: The document that holds the answer.
        answers: The `seq` of the chunks that are right.
        cleaned: The answers' headings and bodies without the giveaway, by `seq`; only those that change.
    """

    query: str
    kind: Kind
    content: int
    answers: frozenset[int]
    cleaned: dict[int, tuple[str, str]]


# Of a document's path and its chunks: whether an embedder has learned from it.
IsLearned = Callable[[str, Sequence[StoredChunk]], bool]


def find_items(
    db: Database, fingerprint: str, most: int, *, is_learned: IsLearned | None = None, seed: int = 1
) -> list[KnownItem]:
    """Return up to `most` items of documents that are embedded, no question twice, kinds in equal parts if possible.

    Args:
        db: The library.
        fingerprint: Of the embedder.
        most: How many items at most.
        is_learned: Says what the embedder has learned from: nothing is asked about that.
        seed: Chooses documents and items.
    """
    rng = random.Random(seed)
    contents = [
        tuple(row)
        for row in db.execute(
            "SELECT c.id, c.reader, (SELECT path FROM files f WHERE f.content = c.id ORDER BY path LIMIT 1)"
            " FROM contents c JOIN vectors v ON v.content = c.id AND v.fingerprint = ?"
            " WHERE c.unreferenced_since IS NULL ORDER BY c.id",
            [fingerprint],
        )
    ]
    rng.shuffle(contents)
    found: dict[Kind, list[KnownItem]] = {kind: [] for kind in KINDS}
    asked: set[str] = set()
    for content, reader, path in contents:
        if all(len(items) >= most for items in found.values()):
            break
        chunks = read_chunks(db, content)
        if is_learned is not None and is_learned(os.fsdecode(path or b""), chunks):
            continue
        items = list(document_items(content, chunks, reader))
        rng.shuffle(items)
        for item in items[:_ITEMS_PER_DOCUMENT]:
            if item.query.lower() not in asked:
                asked.add(item.query.lower())
                found[item.kind].append(item)
    chosen = in_equal_parts(list(found.values()), most)
    rng.shuffle(chosen)
    return chosen


def in_equal_parts(kinds: Sequence[Sequence[KnownItem]], most: int) -> list[KnownItem]:
    """Take up to `most` items, as many of each kind as of any other where there are enough."""
    chosen: list[KnownItem] = []
    for left, items in zip(range(len(kinds), 0, -1), sorted(kinds, key=len), strict=True):
        chosen += items[: -(-(most - len(chosen)) // left)]
    return chosen


def read_chunks(db: Database, content: int) -> list[StoredChunk]:
    """Read a document's chunks in order."""
    return [StoredChunk(chunk.seq, chunk.heading, chunk.body) for chunk in stored_document(db, content).chunks]


def document_items(content: int, chunks: Sequence[StoredChunk], reader: str) -> Iterator[KnownItem]:
    """Yield the items of one document, given the name of its reader.

    Headings of source code are names of functions: nobody's question, and their answers name them again.
    """
    if _is_code(reader):
        for chunk in chunks:
            yield from _docstring_items(content, chunk)
    else:
        yield from _heading_items(content, chunks, is_mail=reader in ("mail", "mailbox"))


def _is_code(reader: str) -> bool:
    """Whether what made the headings was a reader of source code."""
    return reader == "python" or reader.startswith("source-")


def _docstring_items(content: int, chunk: StoredChunk) -> Iterator[KnownItem]:
    for match in _DOCSTRING.finditer(chunk.body):
        sentence = " ".join(_SENTENCE_END.split(match[4].strip())[0].split())
        rest = chunk.body[: match.start(2)] + chunk.body[match.end(2) :]
        if is_question(sentence, _MIN_SENTENCE_WORDS) and len(rest) - match.start() >= MIN_REST:
            cleaned = {chunk.seq: (chunk.heading, rest)}
            yield KnownItem(sentence, "docstring", content, frozenset({chunk.seq}), cleaned)


def _heading_items(content: int, chunks: Sequence[StoredChunk], *, is_mail: bool) -> Iterator[KnownItem]:
    paths = dict.fromkeys(heading_path(chunk) for chunk in chunks if chunk.heading)
    leaves = [_title(path, is_mail=is_mail).lower() for path in paths]
    for path in paths:
        title = _title(path, is_mail=is_mail)
        if leaves.count(title.lower()) > 1 or not is_question(title, MIN_HEADING_WORDS):
            continue
        below = [chunk for chunk in chunks if heading_path(chunk)[: len(path)] == path]
        cleaned = {chunk.seq: without_heading(chunk, path) for chunk in below}
        if sum(len(body.strip()) for _, body in cleaned.values()) >= MIN_REST:
            kind: Kind = "subject" if is_mail and len(path) == 1 else "heading"
            yield KnownItem(title, kind, content, frozenset(cleaned), cleaned)


def heading_path(chunk: StoredChunk) -> tuple[str, ...]:
    """The headings a chunk lies under, outermost first."""
    return tuple(chunk.heading.split(_SEPARATOR))


def _title(path: tuple[str, ...], *, is_mail: bool) -> str:
    title = " ".join(path[-1].split())
    return _REPLY.sub("", title) if is_mail and len(path) == 1 else title


def without_heading(chunk: StoredChunk, path: tuple[str, ...]) -> tuple[str, str]:
    """Take one heading out of a chunk's path, and its line (with the rule below or above it) out of its body."""
    parts = heading_path(chunk)
    lines = chunk.body.splitlines(keepends=True)
    drop = {i for i, line in enumerate(lines) if _is_line_of(line, path[-1])}
    drop |= {j for i in drop for j in (i - 1, i + 1) if 0 <= j < len(lines) and _RULE.match(lines[j].strip())}
    body = "".join(line for i, line in enumerate(lines) if i not in drop)
    return _SEPARATOR.join(parts[: len(path) - 1] + parts[len(path) :]), body


def _is_line_of(line: str, heading: str) -> bool:
    """Whether a line is a heading and at most some mark-up of it: a role, "Subject:", a number."""
    words, own = Counter(words_of(line.lower())), Counter(words_of(heading.lower()))
    return bool(own) and own <= words and words.total() - own.total() <= _MARKUP_WORDS


def is_question(text: str, words: int) -> bool:
    """Whether a text is short and has at least so many words that say something."""
    telling = {word.lower() for word in words_of(text)} - STOP_WORDS
    telling = {word for word in telling if len(word) > 2 and not word.isdigit()}
    return len(text) <= _MAX_QUERY and len(telling) >= words
