"""JSON as it is, or set in lines where it has none; keys as headings."""

import json
import re

from mlx_mixer.documents.encodings import clean, decode
from mlx_mixer.documents.formats.builder import Builder, heading_words
from mlx_mixer.documents.formats.limits import note_rest, whole_lines
from mlx_mixer.documents.structure import ReadDocument, Section

_LONG_LINE = 300
_KEY = re.compile(r'^([ \t]*)"((?:[^"\\\n]|\\.){1,120})"[ \t]*:[ \t]*[\[{]', re.MULTILINE)
_LEVELS = 3


def read(data: bytes, out: Builder) -> None:
    """Put JSON text into `out`; it need not be valid."""
    text, out.encoding = decode(data)
    text = clean(text)
    limit = out.limits.data_characters
    if _LONG_LINE * (text.count("\n") + 1) < len(text) <= limit:
        text = _set_in_lines(text)
    kept = whole_lines(text, limit)
    out.append(ReadDocument(kept, "", _sections(kept)))
    note_rest(kept, text)


def _set_in_lines(text: str) -> str:
    try:
        return json.dumps(json.loads(text), ensure_ascii=False, indent=1)
    except (ValueError, RecursionError):
        return text


def _sections(text: str) -> tuple[Section, ...]:
    """A section for every object or list that a key of the first levels names."""
    path: list[tuple[int, str]] = []
    sections: dict[int, tuple[str, ...]] = {0: ()}
    for match in _KEY.finditer(text):
        indentation = len(match[1])
        path = [*(entry for entry in path if entry[0] < indentation), (indentation, heading_words(match[2]))]
        if len(path) <= _LEVELS:
            sections[match.start()] = tuple(key for _, key in path)
    return tuple(Section(start, heading) for start, heading in sections.items())
