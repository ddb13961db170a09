"""Pairs to learn from, to choose by and to test with; no file, and no near-copy of one, is in two of these parts."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

from mlx_mixer.documents.known_items import KINDS
from mlx_mixer.personal.duplicates import Overlap
from mlx_mixer.personal.mining import Document, MinedPair

TEST_SHARE, VALID_SHARE = 0.2, 0.15
MOST_TESTED, MOST_VALID = 500, 250
_COPIED = 0.3


@dataclass(frozen=True)
class Split:
    """Pairs by part.

    Attributes:
        train: Pairs of every kind.
        valid: Pairs of the tested kinds.
        test: Pairs of the tested kinds.
    """

    train: Sequence[MinedPair]
    valid: Sequence[MinedPair]
    test: Sequence[MinedPair]


def split_pairs(documents: Sequence[Document], pairs: Sequence[MinedPair], seed: int = 0) -> Split:
    """Split by file, with near-copies of a file in the same part.

    Args:
        documents: Where the pairs are from.
        pairs: All of them.
        seed: Decides which files are in which part.
    """
    overlap = Overlap(["\n".join(chunk.body for chunk in document.chunks) for document in documents])
    groups = overlap.groups()
    group_of = {document.content: group for document, group in zip(documents, groups, strict=True)}
    asked: dict[int, list[MinedPair]] = {}
    for pair in pairs:
        if pair.item.kind in KINDS:
            asked.setdefault(group_of[pair.item.content], []).append(pair)
    total = sum(map(len, asked.values()))
    wanted = {"test": min(MOST_TESTED, TEST_SHARE * total), "valid": min(MOST_VALID, VALID_SHARE * total)}
    # By path: a file stays in its part when others come and go.
    place = {
        group: _place(document.path, seed) for document, group in reversed(list(zip(documents, groups, strict=True)))
    }
    order = sorted(asked, key=place.__getitem__)
    parts: dict[str, list[MinedPair]] = {"test": [], "valid": []}
    taken: set[int] = set()
    for group in order:
        # A group larger than a whole part would leave nothing of it to choose files by.
        part = next((name for name in parts if len(parts[name]) + len(asked[group]) <= wanted[name]), None)
        if part is not None:
            parts[part] += asked[group]
            taken.add(group)
    learned = {index for index, group in enumerate(groups) if group not in taken}
    held_out = {
        name: [pair for pair in part if overlap.share_in(pair.passage, learned) < _COPIED]
        for name, part in parts.items()
    }
    train = [pair for pair in pairs if group_of[pair.item.content] not in taken]
    return Split(train, held_out["valid"], held_out["test"])


def _place(path: str, seed: int) -> bytes:
    return blake2b(path.encode("utf-8", "surrogatepass"), digest_size=8, salt=seed.to_bytes(8, "little")).digest()
