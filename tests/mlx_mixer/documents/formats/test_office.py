"""Office documents as their own libraries write them: python-docx, openpyxl, python-pptx, odfpy."""

from datetime import date, datetime, time

import pytest

from mlx_mixer.documents.formats.limits import Limits
from mlx_mixer.documents.unreadable import UnreadableError
from tests.mlx_mixer.documents.formats.reading import headings, part_of, read
from tests.mlx_mixer.documents.formats.written import excel, open_sheet, open_text, slides, word, zipped

WORD = """Harbour

Otters sleep in the harbour.

Counting

Every spring we count.

- first item
- second item

Year | Otters
2024 | 17

Method

With binoculars.\tAnd patience.

"""


def test_a_word_document_keeps_its_text_and_headings() -> None:
    document = read("a.docx", word())
    assert document.text == WORD
    assert document.title == "Harbour report"
    assert headings(document) == [("Harbour",), ("Harbour", "Counting"), ("Harbour", "Method")]
    assert [document.text[start:end] for start, end in document.blocks] == ["Year | Otters\n2024 | 17\n\n"]


W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'


@pytest.mark.parametrize(
    ("paragraph", "text"),
    [
        ("<w:r><w:delText>gone</w:delText></w:r><w:r><w:t>here</w:t></w:r>", "here"),
        ("<w:r><w:instrText>PAGE</w:instrText></w:r><w:r><w:t>3</w:t></w:r>", "3"),
        ("<w:pPr><w:tabs><w:tab w:val='left'/></w:tabs></w:pPr><w:r><w:t>no tab</w:t></w:r>", "no tab"),
        ("<w:r><w:t>a</w:t><w:br/><w:t>b</w:t><w:noBreakHyphen/><w:t>c</w:t></w:r>", "a\nb-c"),
        (
            (
                "<mc:AlternateContent xmlns:mc='m'><mc:Choice><w:p><w:r><w:t>box</w:t></w:r></w:p></mc:Choice>"
                "<mc:Fallback><w:p><w:r><w:t>box</w:t></w:r></w:p></mc:Fallback></mc:AlternateContent><w:r><w:t>text</w:t></w:r>"
            ),
            "box\n\ntext",
        ),
    ],
)
def test_what_word_hides_stays_hidden(paragraph: str, text: str) -> None:
    body = f"<w:document {W}><w:body><w:p>{paragraph}</w:p></w:body></w:document>"
    assert read("a.docx", zipped({"word/document.xml": body})).text.strip() == text


def test_notes_and_comments_of_a_word_document_are_found() -> None:
    def part(text: str) -> str:
        return f"<w:any {W}><w:p><w:r><w:t>{text}</w:t></w:r></w:p></w:any>"

    document = read(
        "a.docx",
        zipped(
            {"word/document.xml": part("body"), "word/footnotes.xml": part("foot"), "word/comments.xml": part("aside")}
        ),
    )
    assert part_of(document, "foot").start == 0  # all of it is small
    assert headings(document) == [(), ("Footnotes",), ("Comments",)]


def test_a_workbook_has_a_page_for_each_sheet_and_its_header_over_every_row() -> None:
    rows = [["Place", "Day", "Otters"], *([f"Harbour {n}", date(2024, 3, 1), n] for n in range(400))]
    document = read("a.xlsx", excel(rows))
    assert document.page_kind == "sheet"
    late = part_of(document, "Harbour 399 | 2024-03-01 | 399")
    assert (late.heading, late.page) == (("Sightings", "Place, Day, Otters"), 1)
    assert part_of(document, "Skua <1>")[3:] == (("People & boats", "Name, Boat"), 2)


def test_cells_read_as_excel_shows_them() -> None:
    row = ["x", None, 4.5, True, datetime(2024, 3, 9, 14, 30), time(9, 5), date(1999, 12, 31), "a\nb"]
    assert read("a.xlsx", excel([row])).text.startswith(
        "x |  | 4.5 | TRUE | 2024-03-09 14:30 | 09:05 | 1999-12-31 | a b\n"
    )


def test_slides_have_numbers_titles_and_notes() -> None:
    document = read("a.pptx", slides(["Otters", "Seals"]))
    assert (document.page_kind, document.title) == ("slide", "Otters")
    assert "2024 | 17" in document.text
    second = part_of(document, "Body of slide 2")
    assert (second.page, second.heading[:1]) == (2, ("Seals",))
    assert part_of(document, "Say this on 2").page == 2


def test_slides_come_in_the_order_they_are_shown() -> None:
    document = read("a.pptx", slides([f"Title number {n}" for n in range(1, 13)]))
    assert [part_of(document, f"Body of slide {n}\n").page for n in range(1, 13)] == list(range(1, 13))


def test_slides_beyond_the_limit_are_noted() -> None:
    assert read("a.pptx", slides(["A", "B", "C"]), Limits(pages=2)).note == "partial: only the first 2 of 3 slides"


def test_an_open_document_keeps_its_text_and_headings() -> None:
    document = read("a.odt", open_text())
    assert document.text == "Harbour\n\nOtters sleep here.\n\nCounting\n\n- first item\n- second item\n"
    assert headings(document) == [("Harbour",), ("Harbour", "Counting")]


def test_an_open_sheet_is_read_by_rows() -> None:
    document = read("a.ods", open_sheet())
    assert document.text.strip() == "Place | Otters\nHarbour | 17"
    assert part_of(document, "17")[3:] == (("Sightings", "Place, Otters"), 1)


def test_an_encrypted_open_document_says_so() -> None:
    manifest = "<manifest:manifest xmlns:manifest='m'><manifest:encryption-data/></manifest:manifest>"
    with pytest.raises(UnreadableError, match="password-protected"):
        read("a.odt", zipped({"content.xml": "x", "META-INF/manifest.xml": manifest}))


def test_an_encrypted_or_ancient_office_file_says_so() -> None:
    compound = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504)
    with pytest.raises(UnreadableError, match="password-protected"):
        read("a.docx", compound + "EncryptedPackage".encode("utf-16-le"))
    with pytest.raises(UnreadableError, match="before 2007"):
        read("a.xlsx", compound)
