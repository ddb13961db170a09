"""Documents made by other people's writers, for the readers to read."""

from collections.abc import Sequence

import fpdf


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
