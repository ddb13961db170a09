"""Token lists in fixed-shape windows for the next-token loss.

A masked mixer's mixing weights belong to absolute positions and do not depend on data, so it can neither look away from
an unrelated text that came before nor tell where one began. Texts are therefore not chained into one stream unless that
is asked for: every window holds one text, or one piece of a long one, starting at position 0, as a prompt does when the
model writes. Windows of similar length form a batch, cut to the longest of them (a causal mixer on fewer positions is
the top left corner of its matrices), so little is spent on padding.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlx_mixer.models.language import IGNORED_LABEL

# Batches come in lengths that are multiples of this, so that few shapes are compiled.
LENGTH_STEP = 16


@dataclass(frozen=True)
class Windows:
    """Windows of tokens, and what follows from one to the next.

    Attributes:
        ids: One int32 array per window, each 2 to `context_length` tokens long.
        context_length: Longest window, in tokens.
        eos_token_id: Fills the end of shorter rows; a filled position is no target.
    """

    ids: tuple[npt.NDArray[np.int32], ...]
    context_length: int
    eos_token_id: int

    @property
    def num_tokens(self) -> int:
        """Tokens in all windows."""
        return sum(len(window) for window in self.ids)


def cut_windows(
    texts: Sequence[Sequence[int]], context_length: int, eos_token_id: int, *, pack: bool = False
) -> Windows:
    """Cut tokenised texts into windows; each text ends with the end-of-text token.

    Consecutive pieces of a long text share one token, so that every token but a text's first is a target exactly once.

    Args:
        texts: Token ids.
        context_length: Longest window.
        eos_token_id: Ends a text.
        pack: Put pieces that follow each other in one window as long as they fit, which saves filling up where texts
            are short. A packed text's first token is then a target too, and the mixer is shown neighbours that it
            cannot look away from.
    """
    pieces: list[npt.NDArray[np.int32]] = []
    for text in texts:
        ids = np.asarray([*text, eos_token_id], dtype=np.int32)
        pieces += [ids[start : start + context_length] for start in range(0, len(ids) - 1, context_length - 1)]
    return Windows(tuple(_packed(pieces, context_length) if pack else pieces), context_length, eos_token_id)


def _packed(pieces: Sequence[npt.NDArray[np.int32]], context_length: int) -> Iterator[npt.NDArray[np.int32]]:
    together: list[npt.NDArray[np.int32]] = []
    for piece in pieces:
        if together and sum(map(len, together)) + len(piece) > context_length:
            yield np.concatenate(together)
            together = []
        together.append(piece)
    if together:
        yield np.concatenate(together)


def batch_order(windows: Windows, tokens_per_batch: int, seed: int) -> list[npt.NDArray[np.int64]]:
    """Divide all windows into batches for one epoch: similar lengths together, batches in random order.

    Args:
        windows: The windows.
        tokens_per_batch: Rows times length of a batch, at most, unless one window alone is longer.
        seed: Decides which windows meet and the order of the batches.

    Returns:
        Window numbers of every batch; every window occurs once.
    """
    rng = np.random.default_rng(seed)
    lengths = np.array([len(window) for window in windows.ids])
    steps = -(-lengths // LENGTH_STEP)
    order = rng.permutation(len(lengths))
    order = order[np.argsort(steps[order], kind="stable")]
    batches = []
    start = 0
    while start < len(order):
        # The longest row decides the shape, and rows get longer: count back from a full batch until it fits.
        stop = min(len(order), start + max(1, tokens_per_batch // int(steps[order[start]] * LENGTH_STEP)))
        while stop - start > 1 and (stop - start) * steps[order[stop - 1]] * LENGTH_STEP > tokens_per_batch:
            stop -= 1
        batches.append(order[start:stop])
        start = stop
    return [batches[index] for index in rng.permutation(len(batches))]


def gather(windows: Windows, rows: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Put windows in one array.

    Returns:
        ids and labels, both ``(B, L)`` int32 with L a multiple of 16 or the context length; labels are -100 where a
        row is filled up.
    """
    chosen = [windows.ids[row] for row in rows]
    longest = -(-max(len(window) for window in chosen) // LENGTH_STEP) * LENGTH_STEP
    shape = (len(chosen), min(longest, windows.context_length))
    ids = np.full(shape, windows.eos_token_id, dtype=np.int32)
    labels = np.full(shape, IGNORED_LABEL, dtype=np.int32)
    for row, window in enumerate(chosen):
        ids[row, : len(window)] = labels[row, : len(window)] = window
    return ids, labels
