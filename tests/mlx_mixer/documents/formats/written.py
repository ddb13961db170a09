"""Documents made by other people's writers, for the readers to read."""

import io
import mailbox
import zipfile
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from email.message import EmailMessage
from pathlib import Path

import docx
import fpdf
import odf.opendocument
import odf.table
import odf.text
import openpyxl
import pptx


def pdf(pages: Sequence[str], *, title: str = "", chapters: Sequence[str] = (), password: str = "") -> bytes:
    """A PDF with this text on its pages, as fpdf2 writes it."""
    writer = fpdf.FPDF()
    writer.set_font("helvetica", size=12)
    if title:
        writer.set_title(title)
    if password:
        writer.set_encryption(owner_password="owner" + password, user_password=password)
    for number, text in enumerate(pages):
        writer.add_page()
        if number < len(chapters):
            writer.start_section(chapters[number])
        writer.multi_cell(0, 8, text)
    return bytes(writer.output())


def word() -> bytes:
    """A Word document with headings, a list, a table and text in every corner, as python-docx writes it."""
    document = docx.Document()
    document.core_properties.title = "Harbour report"
    document.add_heading("Harbour", level=1)
    document.add_paragraph("Otters sleep in the harbour.")
    document.add_heading("Counting", level=2)
    paragraph = document.add_paragraph("Every ")
    paragraph.add_run("spring").bold = True
    paragraph.add_run(" we count.")
    document.add_paragraph("first item", style="List Bullet")
    document.add_paragraph("second item", style="List Bullet")
    table = document.add_table(rows=2, cols=2)
    for row, cells in zip(table.rows, (("Year", "Otters"), ("2024", "17")), strict=True):
        for cell, text in zip(row.cells, cells, strict=True):
            cell.text = text
    document.add_heading("Method", level=2)
    document.add_paragraph("With binoculars.\tAnd patience.")
    return _saved(document.save)


def excel(rows: Sequence[Sequence[object]] = ()) -> bytes:
    """A workbook of two sheets, as openpyxl writes it."""
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = "Sightings"
    for row in rows or [["Place", "Day", "Otters"], ["Harbour", date(2024, 3, 9), 17], [None, date(2024, 3, 10), 4.5]]:
        sheet.append(list(row))
    other = book.create_sheet("People & boats")
    other.append(["Name", "Boat"])
    other.append(["Ada", "Skua <1>"])
    return _saved(book.save)


def slides(titles: Sequence[str] = ("Otters", "Seals")) -> bytes:
    """A presentation with notes and a table, as python-pptx writes it."""
    presentation = pptx.Presentation()
    for number, title in enumerate(titles, 1):
        slide = presentation.slides.add_slide(presentation.slide_layouts[1])
        slide.shapes.title.text = title
        slide.placeholders[1].text = f"Body of slide {number}"
        slide.notes_slide.notes_text_frame.text = f"Say this on {number}"
    table = presentation.slides[0].shapes.add_table(2, 2, 0, 0, 100, 100).table
    for row, cells in enumerate((("Year", "Count"), ("2024", "17"))):
        for column, text in enumerate(cells):
            table.cell(row, column).text = text
    return _saved(presentation.save)


def open_text() -> bytes:
    """An OpenDocument text, as odfpy writes it."""
    document = odf.opendocument.OpenDocumentText()
    document.text.addElement(odf.text.H(outlinelevel=1, text="Harbour"))
    document.text.addElement(odf.text.P(text="Otters  sleep here."))
    document.text.addElement(odf.text.H(outlinelevel=2, text="Counting"))
    items = odf.text.List()
    for text in ("first item", "second item"):
        item = odf.text.ListItem()
        item.addElement(odf.text.P(text=text))
        items.addElement(item)
    document.text.addElement(items)
    return _saved(document.write)


def open_sheet() -> bytes:
    """An OpenDocument spreadsheet, as odfpy writes it."""
    document = odf.opendocument.OpenDocumentSpreadsheet()
    table = odf.table.Table(name="Sightings")
    for cells in (("Place", "Otters"), ("Harbour", "17")):
        row = odf.table.TableRow()
        for text in cells:
            cell = odf.table.TableCell(valuetype="string")
            cell.addElement(odf.text.P(text=text))
            row.addElement(cell)
        table.addElement(row)
    document.spreadsheet.addElement(table)
    return _saved(document.write)


def zipped(members: Mapping[str, str | bytes]) -> bytes:
    """A zip file with these members."""

    def write(file: io.BytesIO) -> None:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)

    return _saved(write)


def book(chapters: Mapping[str, str], *, extra: Mapping[str, str] | None = None) -> bytes:
    """An EPUB with these chapters: file name -> XHTML of the body."""
    items = "".join(f'<item id="{n}" href="text/{name}"/>' for n, name in enumerate(chapters))
    spine = "".join(f'<itemref idref="{n}"/>' for n in range(len(chapters)))
    page = "<?xml version='1.0'?><!DOCTYPE html><html xmlns='http://www.w3.org/1999/xhtml'><body>{}</body></html>"
    return zipped(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
            '<rootfile full-path="OEBPS/book.opf"/></rootfiles></container>',
            "OEBPS/book.opf": '<package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/">'
            f"<metadata><dc:title>The Otter Book</dc:title></metadata><manifest>{items}</manifest>"
            f"<spine>{spine}</spine></package>",
            **{f"OEBPS/text/{name}": page.format(body) for name, body in chapters.items()},
            **(extra or {}),
        }
    )


def message(subject: str = "Otters", body: str = "They are back.\n", **attachments: bytes) -> EmailMessage:
    """A message with attachments: name with ``__`` for the dot -> content."""
    mail = EmailMessage()
    mail["From"] = "Ada <ada@example.org>"
    mail["To"] = "grace@example.org"
    mail["Date"] = "Sat, 09 Mar 2024 10:00:00 +0000"
    mail["Subject"] = subject
    mail.set_content(body)
    for name, content in attachments.items():
        mail.add_attachment(content, maintype="application", subtype="octet-stream", filename=name.replace("__", "."))
    return mail


def mail_box(messages: Sequence[EmailMessage], folder: Path) -> bytes:
    """A mailbox, as the standard library writes it."""
    box = mailbox.mbox(folder / "box.mbox")
    for mail in messages:
        box.add(mail)
    box.close()
    return (folder / "box.mbox").read_bytes()


def _saved(save: Callable[[io.BytesIO], object]) -> bytes:
    file = io.BytesIO()
    save(file)
    return file.getvalue()
