"""Texts to the ids that are embedded, with the places they come from."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from tokenizers import Tokenizer

from mlx_mixer.folding import Folded, fold, fold_with_origins


class PlacedIds(NamedTuple):
    """A token or a word of a text: its first character, the one after its last, and its ids."""

    start: int
    end: int
    ids: tuple[int, ...]


class TextTokenizer(Protocol):
    """What an embedder needs."""

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text, in order."""
        ...

    def encode_placed(self, text: str) -> list[PlacedIds]:
        """The same ids of one text with their places, in order and without overlap."""
        ...


class PieceTokenizer:
    """The pieces of a model that embeds what it writes with.

    Args:
        tokenizer: Of the model.
        fold_case: Whether texts are folded first; see `mlx_mixer.folding`.
    """

    def __init__(self, tokenizer: Tokenizer, *, fold_case: bool) -> None:
        self._tokenizer = tokenizer
        self._fold_case = fold_case

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """See `TextTokenizer`."""
        clean = [_tokenizable(text) for text in texts]
        if self._fold_case:
            clean = [fold(text) for text in clean]
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(clean, add_special_tokens=False)]

    def encode_placed(self, text: str) -> list[PlacedIds]:
        """See `TextTokenizer`; white space at the ends of a piece is left out of its place."""
        clean = _tokenizable(text)
        folded = fold_with_origins(clean) if self._fold_case else None
        encoding = self._tokenizer.encode(clean if folded is None else folded.text, add_special_tokens=False)
        return [
            PlacedIds(*_span(clean, folded, *offsets), (number,))
            for number, offsets in zip(encoding.ids, encoding.offsets, strict=True)
        ]


def _tokenizable(text: str) -> str:
    # Lone surrogates (from file names) are no text for the tokenizer; each becomes one question mark.
    return text.encode("utf-8", "replace").decode("utf-8")


def _span(text: str, folded: Folded | None, start: int, end: int) -> tuple[int, int]:
    """The characters that a token stands for, without white space at their ends."""
    if folded is not None:
        start, end = folded.span(start, end)
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    return start, end
