"""Which quotations of an answer stand in the documents, character for character, and where.

The rule, all of it: the words of a quotation, cut at white space, must stand in the stored text of a document in the
same order with nothing but white space between them. So a line break may be quoted as a space, and nothing else may
differ: no letter, no case, no accent, no punctuation, no apostrophe. Only a last comma, full stop or the like is left
out where the quotation does not occur with it, because it belongs to the answer's own sentence. What was found is
``stored[start:end]``, and the stored text is what the file held when it was read; whether the file has changed since is
told by the hash of its bytes.
"""

import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from mlx_mixer.documents.passages import FileState, StoredDocument
from mlx_mixer.documents.structure import PageKind
from mlx_mixer.errors import LibraryError
from mlx_mixer.grounding.pack import Source
from mlx_mixer.grounding.quotes import Quote, QuoteKind, find_quotes

_OWN_PUNCTUATION = ".,;:!?…"


class QuotableLibrary(Protocol):
    """What is needed of `mlx_mixer.documents.library.Library`."""

    def stored_document(self, content: int) -> StoredDocument: ...

    def file_state(self, path: str, content_digest: bytes, *, now_ns: int) -> FileState: ...


@dataclass(frozen=True)
class CheckedQuote:
    """A quotation of an answer and what became of it.

    Attributes:
        start: Offset in the answer.
        end: Where it ends there.
        text: What is quoted.
        kind: How it is set apart.
        cited: Passages named beside it.
        verified: Whether it stands in one of the documents. The attributes below mean nothing otherwise.
        source: Number of the passage whose document holds it: the one that is cited, if that does.
        in_passage: Whether it lies in what the model was shown, or elsewhere in the same document.
        path: The file.
        line: Line of its first character, counted from 1.
        page: Page it is on; None where the document has none.
        stored_start: Offset in characters in the stored document.
        stored_end: Where it ends there.
        file: Whether the file on disk still holds the bytes that were read.
        page_kind: What such a page is called; empty where it has none.
    """

    start: int
    end: int
    text: str
    kind: QuoteKind
    cited: tuple[int, ...]
    verified: bool = False
    source: int = 0
    in_passage: bool = False
    path: str = ""
    line: int = 0
    page: int | None = None
    stored_start: int = 0
    stored_end: int = 0
    file: FileState = "gone"
    page_kind: PageKind = ""

    @property
    def cites_another(self) -> bool:
        """Whether it is true, but not of the passage that is named beside it."""
        return self.verified and bool(self.cited) and self.source not in self.cited


def locate(quotation: str, text: str, start: int = 0, end: int | None = None) -> tuple[int, int] | None:
    """Find a quotation in ``text[start:end]`` by the rule above, the last punctuation aside.

    Returns:
        The span in `text`, or None. ``text[span]`` and the quotation are equal once every run of white space in both
        is one space, and equal as they are where the quotation's white space is the text's.
    """
    words = quotation.split()
    if not words:
        return None
    pattern = re.compile(r"\s+".join(re.escape(word) for word in words))
    match = pattern.search(text, start, len(text) if end is None else end)
    return match.span() if match else None


def check_quotes(answer: str, sources: Iterable[Source], library: QuotableLibrary) -> tuple[CheckedQuote, ...]:
    """Look every quotation of an answer up in the documents of the passages that were sent.

    Args:
        answer: What the model wrote.
        sources: The passages; those that were not sent are not looked at.
        library: Where the documents are stored.
    """
    sent = [source for source in sources if source.is_sent]
    documents: dict[int, StoredDocument] = {}
    for source in sent:
        if source.content not in documents:
            try:
                documents[source.content] = library.stored_document(source.content)
            except LibraryError:  # forgotten meanwhile: nothing can be shown to stand in it
                continue
    shelf = _Shelf(sent, documents, library)
    return tuple(shelf.check(quote) for quote in find_quotes(answer))


class _Shelf:
    """The documents of the passages that were sent."""

    def __init__(
        self, sources: Sequence[Source], documents: dict[int, StoredDocument], library: QuotableLibrary
    ) -> None:
        self._sources = [source for source in sources if source.content in documents]
        self._documents = documents
        self._library = library

    def check(self, quote: Quote) -> CheckedQuote:
        for wording in _wordings(quote.text):
            for in_passage in (True, False):
                for source in sorted(self._sources, key=lambda each: each.number not in quote.cited):
                    document = self._documents[source.content]
                    bounds = (source.start, source.start + len(source.text)) if in_passage else (0, None)
                    span = locate(wording, document.text, *bounds)
                    if span is not None:
                        return self._found(quote, source, span, in_passage=in_passage)
        return CheckedQuote(quote.start, quote.end, quote.text, quote.kind, quote.cited)

    def _found(self, quote: Quote, source: Source, span: tuple[int, int], *, in_passage: bool) -> CheckedQuote:
        document = self._documents[source.content]
        line, page = document.place(span[0])
        return CheckedQuote(
            start=quote.start,
            end=quote.end,
            text=quote.text,
            kind=quote.kind,
            cited=quote.cited,
            verified=True,
            source=source.number,
            in_passage=in_passage,
            path=source.path,
            line=line,
            page=page,
            page_kind=document.page_kind,
            stored_start=span[0],
            stored_end=span[1],
            file=self._library.file_state(source.path, document.hash, now_ns=time.time_ns()),
        )


def _wordings(text: str) -> list[str]:
    bare = text.rstrip().rstrip(_OWN_PUNCTUATION)
    return [text, bare] if bare and bare != text.rstrip() else [text]
