"""What goes between the app and the child process that reads documents: lengths, JSON and the file's bytes.

A hostile document may take the child over, so what comes back is checked like any other foreign data: it is JSON of a
known form (never a pickle), of limited size, and every offset lies where it must.
"""

import json
import struct
from typing import Any

from mlx_mixer.documents.encodings import clean
from mlx_mixer.documents.structure import PageKind, ReadDocument, Section

# Bytes that follow: of the JSON and of the file in a request, of the JSON alone in a reply. A reply also says whether
# it is the child's last.
REQUEST_HEADER = struct.Struct("<II")
REPLY_HEADER = struct.Struct("<I?")
# Ten million characters, six bytes each when escaped.
MAX_REPLY_BYTES = 80_000_000
_PAGE_KINDS: tuple[PageKind, ...] = ("", "page", "slide", "sheet", "message", "cell")
_MAX_WORDS = 200
_MAX_HEADINGS = 40


class WireError(Exception):
    """A reply that is not one."""


def pack_request(reader: str, data: bytes) -> bytes:
    """A request to read `data` with the reader of that name."""
    head = json.dumps({"reader": reader}).encode()
    return REQUEST_HEADER.pack(len(head), len(data)) + head + data


def take_request(received: bytearray) -> tuple[str, bytes] | None:
    """Take the first request out of what was received: the name of a reader, and the bytes for it.

    Returns:
        None while a part of it is missing.
    """
    if len(received) < REQUEST_HEADER.size:
        return None
    name_length, data_length = REQUEST_HEADER.unpack_from(received)
    start = REQUEST_HEADER.size + name_length
    end = start + data_length
    if len(received) < end:
        return None
    name = str(json.loads(received[REQUEST_HEADER.size : start])["reader"])
    data = bytes(memoryview(received)[start:end])
    del received[:end]
    return name, data


def pack_document(document: ReadDocument, encoding: str) -> bytes:
    """The body of the reply with what was read."""
    return _packed(
        {
            "text": document.text,
            "title": document.title,
            "sections": [[section.start, *section.heading] for section in document.sections],
            "blocks": document.blocks,
            "pages": document.pages,
            "page_kind": document.page_kind,
            "note": document.note,
            "encoding": encoding,
        }
    )


def pack_reason(reason: str) -> bytes:
    """The body of the reply that there is nothing to read, and why."""
    return _packed({"reason": reason})


def pack_reply(body: bytes, *, is_last: bool) -> bytes:
    """Put the header in front of a reply."""
    return REPLY_HEADER.pack(len(body), is_last) + body


def unpack_reply(body: bytes) -> tuple[ReadDocument, str] | str:
    """Return the document and its encoding, or the reason why there is none.

    Raises:
        WireError: If the reply does not have the form of one.
    """
    try:
        reply = json.loads(body)
        if "reason" in reply:
            return _words(reply["reason"])
        text = clean(reply["text"])
        _check(len(text) == len(reply["text"]) > 0)
        return _document(reply, text), _words(reply["encoding"])
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise WireError(str(error)) from error


def _packed(reply: dict[str, Any]) -> bytes:
    return json.dumps(reply, separators=(",", ":")).encode()


def _document(reply: dict[str, Any], text: str) -> ReadDocument:
    sections = tuple(Section(_int(start), _heading(heading)) for start, *heading in reply["sections"])
    starts = [section.start for section in sections]
    _check(starts[:1] == [0] and starts == sorted(set(starts)) and starts[-1] < len(text))
    blocks = tuple((_int(start), _int(end)) for start, end in reply["blocks"])
    edges = [edge for block in blocks for edge in block]
    _check(not edges or (edges == sorted(edges) and edges[0] >= 0 and edges[-1] <= len(text)))
    pages = tuple(map(_int, reply["pages"]))
    _check(not pages or (pages[0] == 0 and list(pages) == sorted(pages) and pages[-1] <= len(text)))
    kind = next((kind for kind in _PAGE_KINDS if kind == reply["page_kind"]), None)
    _check(kind is not None)
    assert kind is not None
    return ReadDocument(text, _words(reply["title"]), sections, blocks, pages, kind, _words(reply["note"]))


def _check(is_right: bool) -> None:
    if not is_right:
        raise ValueError("an offset out of place")


def _int(value: object) -> int:
    if type(value) is not int:
        raise TypeError("a number was expected")
    return value


def _words(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("text was expected")
    return clean(value)[:_MAX_WORDS]


def _heading(words: list[object]) -> tuple[str, ...]:
    return tuple(_words(word) for word in words[:_MAX_HEADINGS])
