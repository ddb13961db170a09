"""HTML by Lexbor: paragraphs, headings, lists, tables and code; what surrounds an article is left out."""

import re
from codecs import lookup

from selectolax.lexbor import LexborHTMLParser, LexborNode

from mlx_mixer.documents.encodings import decode
from mlx_mixer.documents.formats.builder import Builder
from mlx_mixer.documents.formats.flow import Flow

_SURROUNDINGS = "head script style noscript template nav svg iframe object canvas video audio button select dialog"
_LEFT_OUT = frozenset(_SURROUNDINGS.split())
_BLOCK_ELEMENTS = """
    p div section article main header footer aside ul ol dl dt dd li blockquote figure figcaption address hr form
    fieldset legend details summary center caption h1 h2 h3 h4 h5 h6 pre textarea
"""
_BLOCKS = frozenset(_BLOCK_ELEMENTS.split())
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_SPACE = re.compile(r"[ \t\r\n\f]+")
_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w-]{2,40})", re.IGNORECASE)
_XML_ENCODING = re.compile(rb"<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([\w-]{2,40})")
_SPACES = re.compile(r" {2,}")
_HEAD_BYTES = 4096
_NOT_IN_CELLS = "h1, h2, h3, h4, h5, h6, ul, ol, pre"
_NODES_BETWEEN_LOOKS = 10_000


def read(data: bytes, out: Builder) -> None:
    """Put a page into `out`."""
    text, out.encoding = decode_html(data)
    put_html(text, out)


def put_html(text: str, out: Builder) -> None:
    """Put a page's text into `out`, its ``<title>`` as the title if there is none yet."""
    tree = LexborHTMLParser(text)
    title = tree.css_first("head > title")
    if title is not None and not out.title:
        out.title = title.text(deep=False)[:1000].strip()
    if tree.body is not None:
        _Walk(out).walk(tree.body)


def decode_html(data: bytes) -> tuple[str, str]:
    """Return the text and its encoding: what the bytes are beyond doubt, then what the page says, then a guess."""
    text, encoding = decode(data)
    if encoding not in ("cp1252", "latin-1"):
        return text, encoding
    head = data[:_HEAD_BYTES]
    claim = _CHARSET.search(head) or _XML_ENCODING.search(head)
    try:
        name = lookup(claim[1].decode("ascii")).name if claim else ""
        # Codecs that are not encodings of text refuse.
        return (data.decode(name, "replace"), name) if name and name != "utf-8" else (text, encoding)
    except (LookupError, ValueError):
        return text, encoding


class _Walk:
    """Goes through the tree without recursion: pages nest thousands of elements."""

    def __init__(self, out: Builder) -> None:
        self._out = out
        self._flow = Flow(out)
        self._parts: list[str] = []
        self._preformatted = 0
        self._is_item = False
        self._data_tables = 0

    def walk(self, root: LexborNode) -> None:
        node: LexborNode | None = root
        depth, count = 0, 0
        while node is not None:
            count += 1
            if count % _NODES_BETWEEN_LOOKS == 0:
                self._out.check_time()
            child = self._enter(node)
            if child is not None:
                node, depth = child, depth + 1
                continue
            self._leave(node)
            while node is not None and depth and node.next is None:
                node, depth = node.parent, depth - 1
                if node is not None:
                    self._leave(node)
            node = node.next if node is not None and depth else None
        self._break()

    def _enter(self, node: LexborNode) -> LexborNode | None:
        """Take in a node; return its first child if that is to be looked at."""
        tag = node.tag
        if tag == "-text":
            text = node.text_content or ""
            self._parts.append(text if self._preformatted else _SPACE.sub(" ", text))
            return None
        if tag in _LEFT_OUT or tag is None or tag.startswith("-"):
            return None
        if tag == "br":
            self._parts.append("\n")
        elif tag == "table":
            self._break()
            self._enter_table(node)
        elif tag == "tr" and self._data_tables:
            self._flow.start_row()
        elif tag in ("td", "th"):
            self._break()
            if self._data_tables:
                self._flow.start_cell()
        elif tag in _BLOCKS:
            self._break()
            self._preformatted += tag == "pre"
            self._is_item = self._is_item or tag == "li"
        return node.child

    def _leave(self, node: LexborNode) -> None:
        tag = node.tag
        if tag in _HEADINGS:
            self._break(level=_HEADINGS[tag])
        elif tag == "pre":
            self._break(is_code=True)
            self._preformatted -= 1
        elif tag in ("td", "th"):
            self._break()
            self._flow.end_cell()
        elif tag == "table":
            self._break()
            if self._data_tables:
                self._data_tables -= 1
                self._flow.end_table()
        elif tag in _BLOCKS:
            self._break()
            self._is_item = self._is_item and tag != "li"

    def _enter_table(self, table: LexborNode) -> None:
        """Tell tables of data from those that only arrange a page; what is inside the first is taken for cells."""
        if self._data_tables or (len(table.css("table")) == 1 and table.css_first(_NOT_IN_CELLS) is None):
            self._data_tables += 1
            self._flow.start_table()

    def _break(self, *, level: int = 0, is_code: bool = False) -> None:
        """End the present paragraph."""
        text = "".join(self._parts)
        if text and not text.isspace():
            text = text if is_code else _SPACES.sub(" ", text).strip()
            self._flow.put(text, level=level, is_item=self._is_item and not level, is_code=is_code)
            self._is_item = False  # a second paragraph of an item has no dash
        self._parts.clear()
