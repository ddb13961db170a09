"""Questions and answers mined from a user's own documents.

Headings, docstrings and subjects of mail are what `mlx_mixer.documents.known_items` finds. Two more kinds are to learn
from only: the text of a link asks for where it leads (`mlx_mixer.personal.links`), and a passage's first sentence asks
for the rest of it.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mlx_mixer.documents.connection import Database
from mlx_mixer.documents.known_items import (
    MIN_REST,
    KnownItem,
    StoredChunk,
    document_items,
    is_question,
    read_chunks,
)
from mlx_mixer.documents.prepare import embedding_text
from mlx_mixer.personal.giveaways import WordCounts, without_giveaways

MOST_CHUNKS = 20_000
_MIN_SENTENCE_WORDS = 4
_RULE = re.compile(r"([!-/:-@\[-`{-~])\1{2}")
_SENTENCE = re.compile(r"([^\n].{20,220}?[.!?])\s+(?=\S)", re.DOTALL)


@dataclass(frozen=True)
class Document:
    """A document to learn from.

    Attributes:
        content: Its id in the library.
        path: A file that holds it.
        reader: What read it.
        chunks: Its passages in order.
    """

    content: int
    path: str
    reader: str
    chunks: Sequence[StoredChunk]


@dataclass(frozen=True)
class MinedPair:
    """A question and the passage that answers it.

    Attributes:
        item: The question as it stands, and what answers it.
        hard: The question without rare words that its answer holds; None where too little is left.
        passage: What is embedded of the answer's first passage of any length, the giveaway taken out.
        seq: That passage's number.
        path: The file of the answer.
    """

    item: KnownItem
    hard: str | None
    passage: str
    seq: int
    path: str

    @property
    def queries(self) -> tuple[str, ...]:
        """The ways to ask, hardest first."""
        return (self.item.query,) if self.hard is None else (self.hard, self.item.query)


def read_documents(db: Database, most_chunks: int = MOST_CHUNKS) -> list[Document]:
    """Read documents evenly over the library, up to so many passages, in order of their ids."""
    rows = db.execute(
        "SELECT c.id, c.reader, c.chunk_count,"
        " (SELECT path FROM files f WHERE f.content = c.id AND missing_since IS NULL ORDER BY path LIMIT 1)"
        " FROM contents c WHERE unreferenced_since IS NULL ORDER BY c.id"
    ).fetchall()
    chosen, total = [], 0
    for index in np.random.default_rng(1).permutation(len(rows)).tolist():
        content, reader, count, path = rows[index]
        if path is not None and total + count <= most_chunks:
            total += count
            chosen.append((content, os.fsdecode(path), reader))
    return [Document(*row, read_chunks(db, row[0])) for row in sorted(chosen)]


def mine(documents: Sequence[Document], links: Sequence[KnownItem] = ()) -> list[MinedPair]:
    """Make pairs of documents, no question twice and none that nothing is left of.

    Args:
        documents: What to mine.
        links: Questions from elsewhere about these documents.
    """
    counts = WordCounts(chunk.body for document in documents for chunk in document.chunks)
    by_content: dict[int, list[KnownItem]] = {document.content: [] for document in documents}
    for link in links:
        by_content[link.content].append(link)
    pairs: list[MinedPair] = []
    asked: set[str] = set()
    for document in documents:
        found = [
            *document_items(document.content, document.chunks, document.reader),
            *by_content[document.content],
        ]
        # A passage that several questions are asked for would be its own wrong answer in a batch.
        answered = {min(item.answers) for item in found}
        found += [item for item in _sentence_items(document) if not item.answers & answered]
        for item in found:
            if item.query.lower() not in asked:
                asked.add(item.query.lower())
                pairs += _pairs_of(item, document, counts)
    return pairs


def _pairs_of(item: KnownItem, document: Document, counts: WordCounts) -> Iterator[MinedPair]:
    texts = {chunk.seq: (chunk.heading, chunk.body) for chunk in document.chunks if chunk.seq in item.answers}
    texts |= item.cleaned
    for seq in sorted(item.answers & texts.keys()):
        heading, body = texts[seq]
        if len(body.strip()) >= MIN_REST:
            hard = without_giveaways(item.query, f"{heading}\n{body}", counts)
            yield MinedPair(item, hard, embedding_text(heading, body), seq, document.path)
            return


def _sentence_items(document: Document) -> Iterator[KnownItem]:
    """A passage's first sentence asks for the rest of it."""
    for chunk in document.chunks:
        for paragraph in re.finditer(r"(?:\A|\n\s*\n)(?=[A-Z\"'(])", chunk.body):
            match = _SENTENCE.match(chunk.body, paragraph.end())
            if match is None or _RULE.search(match[1]):
                continue
            sentence = " ".join(match[1].split())
            rest = chunk.body[: match.start()] + chunk.body[match.end() :]
            if is_question(sentence[:120], _MIN_SENTENCE_WORDS) and len(rest.strip()) >= MIN_REST:
                cleaned: Mapping[int, tuple[str, str]] = {chunk.seq: (chunk.heading, rest)}
                yield KnownItem(sentence, "sentence", document.content, frozenset({chunk.seq}), dict(cleaned))
                break


def asked_hard(pair: MinedPair) -> KnownItem:
    """The pair's question as it is tested: without giveaways where something is left of it."""
    return pair.item if pair.hard is None else replace(pair.item, query=pair.hard)
