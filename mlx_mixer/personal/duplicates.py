"""Documents that say the same belong in one part of a split: what is tested must not have been learned.

Two documents are near-duplicates if they share many runs of eight words. Of all runs a fixed eighth is looked at, the
same in every document, so that shared runs are shared there too.
"""

import zlib
from collections import Counter, defaultdict
from collections.abc import Container, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mlx_mixer.word_cutting import words_of

Runs = npt.NDArray[np.uint64]

_RUN = 8
_LOOKED_AT = 8
_SHARED = 0.2
# Runs in more documents than this are licences and other boilerplate; they join nothing.
_MOST_DOCUMENTS = 20
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def runs_of(text: str) -> Runs:
    """Hashes of the runs of eight words that are looked at, each once."""
    words = np.array([zlib.crc32(word.encode("utf-8", "replace")) for word in words_of(text.lower())], np.uint64)
    if len(words) < _RUN:
        return np.zeros(0, np.uint64)
    hashes: Any = np.zeros(len(words) - _RUN + 1, np.uint64)
    for offset in range(_RUN):
        hashes = (hashes ^ words[offset : offset + len(hashes)]) * _MULTIPLIER  # overflows as it should
        hashes ^= hashes >> np.uint64(29)
    return np.unique(hashes[hashes % np.uint64(_LOOKED_AT) == 0])


class Overlap:
    """What texts have in common, boilerplate aside.

    Args:
        texts: One for each document.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        holders: dict[int, list[int]] = defaultdict(list)
        for index, text in enumerate(texts):
            for run in runs_of(text).tolist():
                holders[run].append(index)
        self._holders = {run: where for run, where in holders.items() if len(where) <= _MOST_DOCUMENTS}
        self._count = len(texts)

    def groups(self) -> list[int]:
        """Number the groups that near-duplicates join: for each text the smallest index in its group."""
        sizes = Counter(index for where in self._holders.values() for index in where)
        shared: Counter[tuple[int, int]] = Counter()
        for where in self._holders.values():
            shared.update((first, second) for i, first in enumerate(where) for second in where[i + 1 :])
        leader = list(range(self._count))

        def find(index: int) -> int:
            while leader[index] != index:
                leader[index] = leader[leader[index]]
                index = leader[index]
            return index

        for (first, second), count in shared.items():
            if count >= max(2, _SHARED * min(sizes[first], sizes[second])):
                low, high = sorted((find(first), find(second)))
                leader[high] = low
        return [find(index) for index in range(self._count)]

    def share_in(self, text: str, documents: Container[int]) -> float:
        """Share of a passage's runs that stand in some of the documents; 0 where it is too short to tell."""
        own = [run for run in runs_of(text).tolist() if run in self._holders]
        held = sum(any(index in documents for index in self._holders[run]) for run in own)
        return held / len(own) if own else 0.0
