"""What a reader of a page sees is what is indexed."""

import pytest

from tests.mlx_mixer.documents.formats.reading import headings, read
from tests.mlx_mixer.documents.formats.written import book, zipped

PAGE = b"""<!doctype html><html><head><title>Otters &amp; seals</title><style>p {}</style></head><body>
<nav><a href=/>Menu</a></nav><script>var x = "script"</script>
<h1>The <i>Otter</i></h1><p>It   sleeps
in the <b>sea</b>.<br>Often.</p>
<h2>Food</h2><ul><li>fish<li>more <em>fish</em><ul><li>crabs</ul></ul>
<pre>if a:
    b  =  1</pre>
<table><tr><th>Year<th>Count<tr><td>2024<td><p>17</p></table>
<h2>Life</h2><div>one<div>two</div>three</div></body></html>"""

TEXT = """The Otter

It sleeps in the sea.
Often.

Food

- fish
- more fish
- crabs

if a:
    b  =  1

Year | Count
2024 | 17

Life

one

two

three

"""


def test_a_page_keeps_its_text_and_headings() -> None:
    document = read("a.html", PAGE)
    assert document.text == TEXT
    assert document.title == "Otters & seals"
    assert headings(document) == [("The Otter",), ("The Otter", "Food"), ("The Otter", "Life")]


def test_a_table_that_arranges_the_page_is_not_taken_for_data() -> None:
    page = b"<table><tr><td><h1>Left</h1><p>text<td><table><tr><td>a<td>b</table></table>after"
    assert read("a.html", page).text == "Left\n\ntext\n\na | b\n\nafter\n\n"


@pytest.mark.parametrize(
    "data",
    [
        "<meta charset=koi8-r><p>выдра".encode("koi8-r"),
        '<meta http-equiv="Content-Type" content="text/html; charset=windows-1251"><p>выдра'.encode("cp1251"),
        '<?xml version="1.0" encoding="iso-8859-5"?><p>выдра</p>'.encode("iso-8859-5"),
        "<p>выдра".encode(),
        "<meta charset=koi8-r><p>выдра".encode(),
        "<p>выдра".encode("utf-16"),
        "<p>выдра & <b>more</b> words to see a pattern in".encode("utf-16-le"),
    ],
)
def test_the_encoding_is_what_the_bytes_or_the_page_say(data: bytes) -> None:
    assert "выдра" in read("a.html", data).text


@pytest.mark.parametrize("charset", ["hex", "rot13", "idna", "zlib", "no-such", "undefined", "\x00"])
def test_a_charset_that_is_none_is_not_believed(charset: str) -> None:
    assert "caf" in read("a.html", f"<meta charset='{charset}'><p>caf".encode() + b"\xe9").text


def test_chapters_of_a_book_come_in_reading_order() -> None:
    document = read(
        "a.epub", book({"z.xhtml": "<h1>One</h1><p>First&#160;chapter&nbsp;here", "a b.xhtml": "<h1>Two</h1>x"})
    )
    assert document.title == "The Otter Book"
    assert document.text == "One\n\nFirst\xa0chapter\xa0here\n\nTwo\n\nx\n\n"
    assert headings(document) == [("One",), ("Two",)]


def test_a_copy_protected_book_says_so() -> None:
    locked = "<encryption xmlns:e='e'><e:CipherReference URI='OEBPS/text/a.xhtml'/></encryption>"
    with pytest.raises(Exception, match="copy-protected"):
        read("a.epub", book({"a.xhtml": "x"}, extra={"META-INF/encryption.xml": locked}))


def test_a_zip_file_that_is_no_book_is_damaged() -> None:
    with pytest.raises(Exception, match="damaged EPUB book"):
        read("a.epub", zipped({"a.txt": "x"}))
