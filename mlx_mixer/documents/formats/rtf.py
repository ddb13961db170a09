"""Rich text (RTF 1.9): its characters and paragraphs; fonts, pictures and everything else left out."""

import re
from codecs import lookup

from mlx_mixer.documents.formats.builder import Builder
from mlx_mixer.documents.unreadable import UnreadableError

_TOKEN = re.compile(
    rb"\\([a-zA-Z]{1,32})(-?\d{1,10})? ?|\\'([0-9a-fA-F]{2})|\\([^a-zA-Z])|([{}])|[\r\n]+|([^\\{}\r\n]+)"
)
_LEFT_OUT = frozenset(
    b"fonttbl colortbl stylesheet info pict object themedata colorschememapping latentstyles datastore listtable"
    b" listoverridetable rsidtbl generator xmlnstbl header footer headerl headerr footerl footerr fldinst bkmkstart"
    b" bkmkend".split()
)
_CHARACTERS = {
    b"tab": "\t", b"line": "\n", b"emdash": "—", b"endash": "–", b"bullet": "•", b"lquote": "‘", b"rquote": "’",
    b"ldblquote": "“", b"rdblquote": "”", b"cell": " | ",
}  # fmt: skip
_ENDS = frozenset((b"par", b"sect", b"page", b"row"))
_TOKENS_BETWEEN_LOOKS = 10_000


def read(data: bytes, out: Builder) -> None:
    """Put rich text into `out`, paragraph by paragraph.

    Raises:
        UnreadableError: If it is not rich text.
    """
    if not data.lstrip().startswith(b"{\\rtf"):
        raise UnreadableError("damaged: not rich text")
    reader = _Text(out)
    for count, token in enumerate(_TOKEN.finditer(data)):
        if count % _TOKENS_BETWEEN_LOOKS == 0:
            out.check_time()
        reader.take(token)
    reader.end_paragraph()


class _Text:
    def __init__(self, out: Builder) -> None:
        self._out = out
        self._parts: list[str] = []
        self._depth = 0
        self._left_out_from = 0  # depth of the group that is left out, or 0
        self._codec = "cp1252"
        self._fallback = 1  # characters after \u that stand for it in programs without Unicode
        self._to_skip = 0

    def take(self, token: "re.Match[bytes]") -> None:
        word, number, byte, symbol, brace, plain = token.groups()
        if brace:
            self._brace(brace)
        elif self._left_out_from:
            pass
        elif symbol == b"*" or word in _LEFT_OUT:
            self._left_out_from = max(self._depth, 1)
        elif word:
            self._control(word, number)
        elif symbol:
            self._text(
                {b"~": " ", b"_": "-", b"\n": "\n"}.get(symbol, symbol.decode("latin-1") if symbol in b"\\{}" else "")
            )
        elif byte:
            self._bytes(bytes.fromhex(byte.decode()))
        elif plain:
            self._bytes(plain)

    def end_paragraph(self) -> None:
        # Characters beyond the first plane come as two halves.
        halves = "".join(self._parts).encode("utf-16-le", "surrogatepass")
        self._out.paragraph(halves.decode("utf-16-le", "replace"))
        self._parts.clear()

    def _brace(self, brace: bytes) -> None:
        self._depth += 1 if brace == b"{" else -1
        if self._depth < self._left_out_from:
            self._left_out_from = 0

    def _control(self, word: bytes, number: bytes | None) -> None:
        if word in _ENDS:
            self.end_paragraph()
        elif word in _CHARACTERS:
            self._text(_CHARACTERS[word])
        elif word == b"u" and number:
            code = int(number) % 0x10000
            self._parts.append(chr(code))
            self._to_skip = self._fallback
        elif word == b"uc" and number:
            self._fallback = min(abs(int(number)), 10)
        elif word == b"ansicpg" and number:
            self._set_codec(number)

    def _set_codec(self, number: bytes) -> None:
        try:
            self._codec = lookup(f"cp{int(number)}").name
        except LookupError:
            self._codec = "cp1252"

    def _bytes(self, data: bytes) -> None:
        self._text(data.decode(self._codec, "replace"))

    def _text(self, text: str) -> None:
        skipped = min(self._to_skip, len(text))
        self._to_skip -= skipped
        self._parts.append(text[skipped:])
