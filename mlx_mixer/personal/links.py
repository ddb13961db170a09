"""The text of a link asks for the passage it leads to.

Markdown and reStructuredText keep their links in the stored text. Pages lose theirs when they are read, so an HTML file
is looked through again, for nothing but the links in it. What a link says stands in its own file too, so such questions
are good to learn from and not to test with.
"""

import html
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote

from mlx_mixer.documents.known_items import (
    MIN_HEADING_WORDS,
    KnownItem,
    StoredChunk,
    heading_path,
    is_question,
    without_heading,
)
from mlx_mixer.personal.mining import Document
from mlx_mixer.word_cutting import words_of

# An image, a reference to elsewhere on the Web and a mail address lead to no file of ours.
_MARKDOWN = re.compile(
    r"(?<!!)\[([^\]\[\n]{3,150})\]\(<?([^)\s<>#]{0,300})(#[^)\s<>]{1,200})?>?(?:\s+\"[^\"\n]{0,200}\")?\)"
)
_RST = re.compile(r":doc:`([^`<\n]{3,150}?)\s*<([^`>\s]{1,300})>()`")
_HTML = re.compile(
    r"<a\s[^>]{0,300}?href\s*=\s*[\"']([^\"'#]{0,300})(#[^\"']{1,200})?[\"'][^>]{0,300}>(.{3,400}?)</a>",
    re.IGNORECASE | re.DOTALL,
)
_TAG = re.compile(r"<[^>]{1,400}>")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:|//", re.IGNORECASE)
_MOST_HTML_BYTES = 4_000_000
_MOST_LINKS = 500
# What people write where the text says nothing.
_EMPTY_TEXTS = frozenset(
    ("click here", "read more", "learn more", "see also", "next page", "previous page", "home page")
)

Link = tuple[str, str, str]  # text, path, fragment


def link_items(documents: Sequence[Document]) -> list[KnownItem]:
    """Find the links from one document to another and make questions of their texts."""
    by_path = {document.path: document for document in documents}
    return [
        item
        for document in documents
        for text, path, fragment in _links(document)
        if (target := _target(document, path, by_path)) is not None
        if (item := _item(text, target, fragment)) is not None
    ]


def _links(document: Document) -> Iterator[Link]:
    if document.reader == "html":
        found: Iterator[Link] = _html_links(Path(document.path))
    elif document.reader in ("markdown", "rst", "text"):
        found = _text_links("".join(chunk.body for chunk in document.chunks))
    else:
        return
    for number, link in enumerate(found):
        if number == _MOST_LINKS:
            return
        yield link


def _text_links(text: str) -> Iterator[Link]:
    for pattern in (_MARKDOWN, _RST):
        for match in pattern.finditer(text):
            yield match[1], match[2], (match[3] or "").lstrip("#")


def _html_links(path: Path) -> Iterator[Link]:
    try:
        with path.open("rb") as file:
            text = file.read(_MOST_HTML_BYTES).decode("utf-8", "replace")
    except OSError:  # gone since it was read
        return
    for match in _HTML.finditer(text):
        yield html.unescape(_TAG.sub(" ", match[3])), html.unescape(match[1]), (match[2] or "").lstrip("#")


def _target(document: Document, path: str, by_path: dict[str, Document]) -> Document | None:
    if not path or _SCHEME.match(path):
        return None
    base = os.path.normpath(os.path.join(os.path.dirname(document.path), unquote(path).lstrip("/")))  # noqa: PTH118, PTH120
    names = (base, *(base + suffix for suffix in (".md", ".rst", ".html")), os.path.join(base, "index.html"))  # noqa: PTH118
    target = next((by_path[name] for name in names if name in by_path), None)
    return None if target is None or target.content == document.content else target


def _item(text: str, target: Document, fragment: str) -> KnownItem | None:
    query = " ".join(text.replace("`", "").replace("*", "").split())
    if query.lower() in _EMPTY_TEXTS or not is_question(query, MIN_HEADING_WORDS):
        return None
    chunks = _section(target.chunks, fragment) if fragment else target.chunks[:1]
    if not chunks:
        return None
    cleaned = {
        chunk.seq: without_heading(chunk, path)
        for chunk in chunks
        if _slug((path := heading_path(chunk))[-1]) == _slug(query)
    }
    return KnownItem(query, "link", target.content, frozenset(chunk.seq for chunk in chunks), cleaned)


def _section(chunks: Sequence[StoredChunk], fragment: str) -> list[StoredChunk]:
    """The chunks below the heading that a link's fragment names, as most renderers name them."""
    wanted = _slug(unquote(fragment))
    paths = [heading_path(chunk) for chunk in chunks]
    path = next((path[: i + 1] for path in paths for i, part in enumerate(path) if _slug(part) == wanted), None)
    return [] if path is None else [c for c, own in zip(chunks, paths, strict=True) if own[: len(path)] == path]


def _slug(heading: str) -> str:
    return "-".join(words_of(heading.lower()))
