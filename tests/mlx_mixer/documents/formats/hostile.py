"""Documents made to hurt whoever reads them; each is small and built here."""

import zlib
from collections.abc import Iterator, Sequence

from tests.mlx_mixer.documents.formats.written import zipped


def pdf_of(objects: Sequence[bytes]) -> bytes:
    """A PDF of these objects, the first of which is the catalogue; the cross-reference table is right."""
    out, offsets = bytearray(b"%PDF-1.7\n"), []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer <</Size %d /Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, start)
    return bytes(out)


def stream(data: bytes, entries: bytes = b"") -> bytes:
    """A stream object."""
    return b"<<%s /Length %d>>\nstream\n%s\nendstream" % (entries, len(data), data)


def one_page_pdf(content: bytes, *more: bytes, resources: bytes = b"") -> bytes:
    """A PDF with one page, whose content is object 4; further objects follow from 5 on."""
    page = b"<</Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Contents 4 0 R /Resources <<%s>>>>" % resources
    pages = b"<</Type /Pages /Kids [3 0 R] /Count 1>>"
    return pdf_of([b"<</Type /Catalog /Pages 2 0 R>>", pages, page, content, *more])


def deflated_spaces(megabytes: int) -> bytes:
    """So many spaces, packed; the packed form of one megabyte is used again and again."""
    megabyte = b" " * (1 << 20)
    packer = zlib.compressobj(9, wbits=-15)
    block = packer.compress(megabyte) + packer.flush(zlib.Z_FULL_FLUSH)
    check = 1
    for _ in range(megabytes):
        check = zlib.adler32(megabyte, check)
    return b"\x78\xda" + block * megabytes + packer.flush() + check.to_bytes(4, "big")


def pdf_flate_bomb() -> bytes:
    """A page whose content unpacks to a gigabyte; packed twice, it is a few kilobytes."""
    packed = zlib.compress(deflated_spaces(1024), 9)
    return one_page_pdf(stream(packed, b"/Filter [/FlateDecode /FlateDecode]"))


def pdf_form_bomb() -> bytes:
    """Forms that draw the next form sixteen times each, six levels deep, and the last one the first again."""
    forms = []
    for level in range(6):
        child = 5 + (level + 1) % 6
        forms.append(
            stream(
                b"/F Do " * 16,
                b"/Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources <</XObject <</F %d 0 R>>>>" % child,
            )
        )
    return one_page_pdf(stream(b"/F Do " * 16), *forms, resources=b"/XObject <</F 5 0 R>>")


def pdf_of_many_pages(count: int) -> bytes:
    """One page object, named so many times."""
    pages = b"<</Type /Pages /Kids [%s] /Count %d>>" % (b"3 0 R " * count, count)
    page = b"<</Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Contents 4 0 R /Resources <</Font <</F 5 0 R>>>>>>"
    font = b"<</Type /Font /Subtype /Type1 /BaseFont /Helvetica>>"
    text = stream(b"BT /F 12 Tf 50 700 Td (the same page) Tj ET")
    return pdf_of([b"<</Type /Catalog /Pages 2 0 R>>", pages, page, text, font])


def pdf_with_page_loop() -> bytes:
    """A page tree that holds itself."""
    pages = b"<</Type /Pages /Kids [2 0 R 2 0 R] /Count 2000000000 /Parent 2 0 R>>"
    return pdf_of([b"<</Type /Catalog /Pages 2 0 R>>", pages])


def zip_bombs() -> Iterator[tuple[str, bytes]]:
    """Every zipped format, its text full of white space that packs well."""
    space = b" " * 8_000_000
    yield "a.docx", zipped({"word/document.xml": b"<d><p><t>x</t></p>" + space + b"</d>"})
    yield "a.odt", zipped({"content.xml": b"<d>" + space + b"</d>"})
    yield "a.xlsx", zipped({"xl/workbook.xml": "<w/>", "xl/sharedStrings.xml": b"<s>" + space + b"</s>"})
    container = "<c><rootfile full-path='a.opf'/></c>"
    package = "<p><item id='1' href='a.html'/><itemref idref='1'/></p>"
    yield "a.epub", zipped({"META-INF/container.xml": container, "a.opf": package, "a.html": space})
    yield "a.pptx", zipped({"ppt/presentation.xml": b"<p>" + space + b"</p>"})


_ENTITIES = "".join(f"<!ENTITY a{level} '{f'&a{level - 1};' * 10}'>" for level in range(1, 10))
LAUGHS = f"<!DOCTYPE d [<!ENTITY a0 'ha'>{_ENTITIES}]><d><p>&a9;</p></d>"
OUTSIDE = "<!DOCTYPE d [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><d><p><t>&x;</t></p></d>"
