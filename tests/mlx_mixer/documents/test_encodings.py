"""Bytes become the text their author wrote, or a reason."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_mixer.documents.encodings import decode
from mlx_mixer.documents.unreadable import UnreadableError

TEXT = "Café, naïve – „Größe“ €5\nsecond line\n"


@pytest.mark.parametrize(
    ("data", "text", "encoding"),
    [
        (b"plain ascii\n", "plain ascii\n", "utf-8"),
        (TEXT.encode(), TEXT, "utf-8"),
        (b"\xef\xbb\xbf" + TEXT.encode(), TEXT, "utf-8"),
        (b"\xff\xfe" + TEXT.encode("utf-16-le"), TEXT, "utf-16-le"),
        (b"\xfe\xff" + TEXT.encode("utf-16-be"), TEXT, "utf-16-be"),
        (TEXT.encode("utf-16-le"), TEXT, "utf-16-le"),
        (TEXT.encode("utf-16-be"), TEXT, "utf-16-be"),
        (b"\xff\xfe\x00\x00" + TEXT.encode("utf-32-le"), TEXT, "utf-32-le"),
        (b"\x00\x00\xfe\xff" + TEXT.encode("utf-32-be"), TEXT, "utf-32-be"),
        (TEXT.encode("cp1252"), TEXT, "cp1252"),
        (b"a byte cp1252 lacks: \x81", "a byte cp1252 lacks: \x81", "latin-1"),
        ("日本語の文書".encode(), "日本語の文書", "utf-8"),
        (b"\x1b[1mcolours\x1b[0m are text\n", "\x1b[1mcolours\x1b[0m are text\n", "utf-8"),
    ],
)
def test_each_encoding_is_recognised(data: bytes, text: str, encoding: str) -> None:
    assert decode(data) == (text, encoding)


@pytest.mark.parametrize(
    "data",
    [
        bytes(range(256)) * 20,
        b"\x7fELF\x02\x01\x01" + bytes(100),
        b"\x89PNG\r\n\x1a\n" + bytes(range(30)) * 9,
        b"text and then " + b"\x00\x01\x02" * 10,
        b"\xff\xfe\x00\xd8",  # half of a surrogate pair
    ],
)
def test_binary_and_damaged_files_are_refused_with_a_reason(data: bytes) -> None:
    with pytest.raises(UnreadableError, match="text"):
        decode(data)


@given(st.binary(max_size=400))
@settings(max_examples=150)
def test_any_bytes_give_text_or_a_reason(data: bytes) -> None:
    try:
        text, encoding = decode(data)
    except UnreadableError:
        return
    assert data.endswith(text.encode(encoding))


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1))
@settings(max_examples=100)
def test_valid_utf8_is_read_as_utf8(text: str) -> None:
    assert decode(text.encode())[0].removeprefix("\ufeff") == text.removeprefix("\ufeff")
