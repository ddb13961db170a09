"""PDFs written by fpdf2 come back page by page."""

import fpdf
import pytest

from mlx_mixer.documents.formats.limits import Limits
from mlx_mixer.documents.unreadable import UnreadableError
from tests.mlx_mixer.documents.formats.reading import headings, part_of, read
from tests.mlx_mixer.documents.formats.written import pdf

LONG = "A sentence about boats in the harbour, long enough to fill a page with others. " * 30


def test_every_passage_has_the_page_it_is_on() -> None:
    pages = [f"Page {number}. {LONG} The word of this page is otter{number}." for number in range(1, 8)]
    document = read("a.pdf", pdf(pages, title="Harbour"))
    assert (document.title, document.page_kind, len(document.pages)) == ("Harbour", "page", 7)
    for number in range(1, 8):
        assert part_of(document, f"otter{number}").page == number


def test_short_pages_are_not_joined() -> None:
    document = read("a.pdf", pdf(["one", "two", "three"]))
    assert [part_of(document, word).page for word in ("one", "two", "three")] == [1, 2, 3]


def test_an_empty_page_counts() -> None:
    document = read("a.pdf", pdf(["", "second", "", "fourth"]))
    assert [part_of(document, word).page for word in ("second", "fourth")] == [2, 4]


def test_the_outline_gives_headings() -> None:
    document = read("a.pdf", pdf(["first", "second", "third"], chapters=["Otters", "Seals"]))
    assert headings(document) == [("Otters",), ("Seals",)]
    assert part_of(document, "third").heading == ("Seals",)


def test_headings_start_where_they_stand_on_the_page() -> None:
    writer = fpdf.FPDF()
    writer.set_font("helvetica", size=12)
    writer.add_page()
    for number, title in enumerate(["Otters", "Seals", "Gulls"], 1):
        writer.start_section(title)
        writer.multi_cell(0, 8, f"{number}. {title}\nAbout {title.lower()}.\n")
    document = read("a.pdf", bytes(writer.output()))
    assert [document.text[section.start :].split("\n")[0] for section in document.sections] == [
        "1. Otters", "2. Seals", "3. Gulls",
    ]  # fmt: skip
    assert headings(document) == [("Otters",), ("Seals",), ("Gulls",)]


def test_words_broken_at_line_ends_are_whole_again() -> None:
    document = read("a.pdf", pdf(["a long hyphen-\nation by Jean-\nPaul, 2020-\n2024, and so on"]))
    assert document.text.strip() == "a long hyphenation by Jean-Paul, 2020-2024, and so on"


def test_a_password_is_the_reason() -> None:
    with pytest.raises(UnreadableError, match=r"^password-protected$"):
        read("a.pdf", pdf(["secret"], password="open sesame"))


def test_a_scan_says_that_it_has_no_text() -> None:
    with pytest.raises(UnreadableError, match=r"no text in it \(scanned\?\)"):
        read("a.pdf", pdf(["", ""]))


def test_pages_beyond_the_limit_are_noted() -> None:
    document = read("a.pdf", pdf([f"page {number}" for number in range(1, 6)]), Limits(pages=3))
    assert "page 3" in document.text
    assert "page 4" not in document.text
    assert document.note == "partial: only the first 3 of 5 pages"


def test_time_that_runs_out_keeps_what_was_read() -> None:
    with pytest.raises(UnreadableError, match="no text in it; partial: the rest took longer than 0 s"):
        read("a.pdf", pdf(["one", "two"]), Limits(seconds=0))
