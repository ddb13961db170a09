"""Comma- and tab-separated values as they are, every part under the header row."""

import csv

from mlx_mixer.documents.encodings import clean, decode
from mlx_mixer.documents.formats.builder import Builder, heading_words
from mlx_mixer.documents.formats.limits import note_rest, whole_lines
from mlx_mixer.documents.formats.sheet import is_header
from mlx_mixer.documents.structure import ReadDocument, Section

_DELIMITERS = ",;\t|"
_MAX_HEADER = 10_000


def read(data: bytes, out: Builder) -> None:
    """Put a table into `out`; its lines are those of the file."""
    text, out.encoding = decode(data)
    text = clean(text)
    kept = whole_lines(text, out.limits.data_characters)
    out.append(ReadDocument(kept, "", (Section(0, _header(kept)),)))
    note_rest(kept, text)


def _header(text: str) -> tuple[str, ...]:
    line = text[:_MAX_HEADER].split("\n", 1)[0]
    delimiter = max(_DELIMITERS, key=line.count)
    try:
        cells = next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return ()
    return (heading_words(", ".join(cells)),) if is_header(cells) else ()
