"""The cuts of one section worked out unit by unit: slow, obvious, and what the quick chunker is compared with."""

from mlx_mixer.documents.chunk import BYTES_PER_TOKEN, ChunkSizes
from mlx_mixer.documents.structure import ReadDocument
from mlx_mixer.documents.units import pieces


def cut_slowly(document: ReadDocument, sizes: ChunkSizes) -> list[tuple[int, int]]:
    """Return ``(start, end)`` of the runs that a document of one section is cut into."""
    units = units_of(document, int(sizes.target * BYTES_PER_TOKEN / 2))
    cuts = []
    while sum(tokens(text) for _, text, _ in units) > sizes.maximum + 1e-9:
        best, best_value = 1, -1.0
        for index in range(1, len(units)):
            size = sum(tokens(text) for _, text, _ in units[:index])
            if sizes.target / 2 <= size + 1e-9 and size <= sizes.maximum + 1e-9:
                distance = (sizes.target - size) / sizes.target
                value = units[index][2] * (1 - 0.7 * distance * distance) - abs(distance) * 1e-3
                if value > best_value + 1e-12:
                    best, best_value = index, value
        cuts.append((units[0][0], units[best][0]))
        units = units[best:]
    return [*cuts, (units[0][0], len(document.text))]


def tokens(text: str) -> float:
    return len(text.strip().encode("utf-8", "replace")) / BYTES_PER_TOKEN


def units_of(document: ReadDocument, largest: int) -> list[tuple[int, str, float]]:
    """Lines and pieces of long lines: offset, text, and how good it is to cut before each."""
    units = []
    start, above = 0, ""
    for line in document.text.splitlines(keepends=True):
        is_short = len(line) <= largest and len(line.strip().encode("utf-8", "replace")) <= largest
        for number, piece in enumerate([line] if is_short else pieces(line, largest)):
            if any(block_start < start < block_end for block_start, block_end in document.blocks):
                strength = 0.0
            elif number:
                strength = 2.0
            elif not piece.strip():
                strength = 0.1
            else:
                indentation = len(line) - len(line.lstrip())
                strength = (5.0 if above.strip() else 24.0) - min(indentation, 16) / 4
            units.append((start, piece, strength))
            start += len(piece)
            above = piece
    return units
