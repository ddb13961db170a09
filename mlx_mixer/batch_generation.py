"""Several continuations at once: of different prompts, or several samples of one.

Reading the weights is what a step costs on its own, so sequences that take it together share nearly all of it. Prompts
of the same length share the token mixing too; others are mixed at their own positions and share the rest.
"""

from collections.abc import Iterator, Sequence
from typing import cast

import mlx.core as mx

from mlx_mixer.generation import Sampler, kept_after_slide
from mlx_mixer.kernels.log_softmax import log_softmax
from mlx_mixer.models.decode_step import DecodeGroup
from mlx_mixer.models.language import LanguageMixer


def generate_batch(model: LanguageMixer, prompts: Sequence[Sequence[int]], *, sampler: Sampler) -> Iterator[list[int]]:
    """Continue several prompts together, one token each at a time, until the caller stops asking.

    Equal prompts are prefilled once: give one prompt several times for several samples of it. Every continuation is
    what `generate_tokens` gives for its prompt alone, windows that slide included.

    Args:
        model: A causal model.
        prompts: At least one prompt of at least one token id each.
        sampler: Takes ``(B, V)`` log-probabilities to ``(B,)`` token ids.

    Yields:
        The new token of every prompt, in the order of `prompts`.
    """
    batch = _Batch(model, prompts)
    while True:
        logits = model.logits(batch.hidden).astype(mx.float32)
        tokens = sampler(log_softmax(logits))
        chosen = cast("list[int]", tokens.tolist())
        yield [chosen[row] for row in batch.rows]
        batch.extend(chosen, tokens)


class _Batch:
    """Sequences in groups of equal length, and where each prompt's row is."""

    def __init__(self, model: LanguageMixer, prompts: Sequence[Sequence[int]]) -> None:
        self._model = model
        self._limit = model.config.context_length
        self._kept = kept_after_slide(self._limit)
        self._arrange([self._fitted(list(prompt)) for prompt in prompts], list(range(len(prompts))))

    def extend(self, chosen: list[int], tokens: mx.array) -> None:
        """Take in one new token per row; groups whose window is full slide."""
        for window, token in zip(self._windows, chosen, strict=True):
            window.append(token)
        if any(len(window) >= self._limit for window in self._windows):
            # Rows keep their order, so that the caller's prompts keep theirs.
            self._arrange([self._fitted(self._windows[row]) for row in self.rows], list(range(len(self.rows))))
        else:
            self.hidden = self._model.decode_states(tokens[:, None], self._groups)[:, -1]

    def _fitted(self, window: list[int]) -> list[int]:
        return window if len(window) < self._limit else window[-self._kept :]

    def _arrange(self, windows: list[list[int]], prompts: list[int]) -> None:
        """Sort sequences into groups of equal length and prefill each."""
        order = sorted(prompts, key=lambda prompt: len(windows[prompt]))
        self._windows = [windows[prompt] for prompt in order]
        self.rows = [order.index(prompt) for prompt in prompts]
        self._groups: list[DecodeGroup] = []
        hidden = []
        start = 0
        while start < len(order):
            length = len(self._windows[start])
            members = [window for window in self._windows[start:] if len(window) == length]
            group, states = self._prefilled(members)
            self._groups.append(group)
            hidden.append(states)
            start += len(members)
        self.hidden = mx.concatenate(hidden)

    def _prefilled(self, members: list[list[int]]) -> tuple[DecodeGroup, mx.array]:
        cache = self._model.make_cache()
        distinct = [list(ids) for ids in dict.fromkeys(map(tuple, members))]
        states = self._model.hidden_states(mx.array(distinct), cache)[:, -1]
        if len(distinct) < len(members):
            picked = mx.array([distinct.index(member) for member in members])
            states = states[picked]
            for entry in cache:
                entry.select(picked)
        return DecodeGroup(len(members), cache), states
