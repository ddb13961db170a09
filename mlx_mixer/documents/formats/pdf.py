"""PDF by PDFium: text page by page, the outline as headings."""

import re
from itertools import islice

import pypdfium2
import pypdfium2.raw

from mlx_mixer.documents.formats.builder import Builder
from mlx_mixer.documents.formats.limits import FullError
from mlx_mixer.documents.unreadable import UnreadableError

_MAX_BOOKMARKS = 5_000
_MAX_WORDS = 40
# PDFium writes one character where a hyphen ends a line. It is part of the word unless small letters follow:
# "hyphen-\nation", but "Jean-\nPaul" and "2020-\n2024". ("well-\nknown" loses one it should keep.)
_HYPHEN_AT_LINE_END = re.compile(r"[\ufffe\x02](?:\r?\n)?|-\r?\n")
_INVISIBLE = "\xad"  # a soft hyphen inside a line


def read(data: bytes, out: Builder) -> None:
    """Put the pages of a PDF into `out`.

    Raises:
        UnreadableError: If it needs a password, is damaged, or has no text, as scans have not.
    """
    try:
        pdf = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        if error.err_code == pypdfium2.raw.FPDF_ERR_PASSWORD:
            raise UnreadableError("password-protected") from error
        raise UnreadableError("damaged PDF: it cannot be opened") from error
    count = len(pdf)
    out.title = str(pdf.get_metadata_value("Title")).strip()
    bookmarks = _bookmarks(pdf)
    for index in range(min(count, out.limits.pages)):
        out.page("page", str(index + 1))
        _put_page(_page_text(pdf, index), bookmarks.get(index, []), out)
    if out.is_empty:
        raise UnreadableError("no text in it (scanned?)")
    if count > out.limits.pages:
        raise FullError(f"only the first {out.limits.pages:,} of {count:,} pages")


def _put_page(text: str, bookmarks: list[tuple[int, str]], out: Builder) -> None:
    """Put a page under the outline's headings, each from where it stands; one that is nowhere to be seen at once."""
    position = 0
    for level, words in bookmarks:
        line = re.compile(rf"^[^\n]{{0,12}}?{re.escape(words[:_MAX_WORDS])}", re.MULTILINE).search(text, position)
        place = line.start() if line and words else position
        out.paragraph(text[position:place])
        out.heading(level, words, is_shown=False)
        position = place
    out.paragraph(text[position:])


def _page_text(pdf: pypdfium2.PdfDocument, index: int) -> str:
    try:
        page = pdf[index]
        words = page.get_textpage()
    except pypdfium2.PdfiumError:
        return ""  # one bad page does not cost the others
    text = words.get_text_bounded().replace("\r\n", "\n")
    words.close()
    page.close()
    return _mend_hyphens(text.replace(_INVISIBLE, ""))


def _mend_hyphens(text: str) -> str:
    """Put words together again that were broken at the end of a line."""

    def joined(match: re.Match[str]) -> str:
        before, after = text[match.start() - 1 : match.start()], text[match.end() : match.end() + 1]
        if before.islower() and after.islower():
            return ""
        return "-" if before.isalnum() and after.isalnum() else "-\n"

    return _HYPHEN_AT_LINE_END.sub(joined, text)


def _bookmarks(pdf: pypdfium2.PdfDocument) -> dict[int, list[tuple[int, str]]]:
    """Return page index -> ``(level, words)`` of the outline's entries that point there."""
    found: dict[int, list[tuple[int, str]]] = {}
    for bookmark in islice(pdf.get_toc(), _MAX_BOOKMARKS):
        target = bookmark.get_dest()
        index = target.get_index() if target else None
        if index is not None:
            found.setdefault(index, []).append((bookmark.level + 1, bookmark.get_title()))
    return found
