"""Token ids in, token ids out: prefill, decode, and what happens when the window is full."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import mlx.core as mx

from mlx_mixer.kernels.log_softmax import log_softmax
from mlx_mixer.models.language import LanguageMixer

Sampler = Callable[[mx.array], mx.array]
LogitsProcessor = Callable[[mx.array, mx.array], mx.array]


@dataclass(frozen=True)
class TokenStep:
    """One new token.

    Attributes:
        token_id: The token chosen.
        window_used: Positions in use, this token included.
        window_slides: How often the window has slid so far.
    """

    token_id: int
    window_used: int
    window_slides: int


def generate_tokens(
    model: LanguageMixer,
    prompt_ids: Sequence[int],
    *,
    sampler: Sampler,
    logits_processors: Sequence[LogitsProcessor] = (),
) -> Iterator[TokenStep]:
    """Continue a prompt, one token at a time, until the caller stops asking.

    The mixing matrices cover `context_length` positions and no more. When they are used up the window slides: the most
    recent three quarters are prefilled again at its start and decoding goes on. Everything before the slide is what an
    endless window had given. While the caller looks at a token, the next one is computed already.

    Args:
        model: A causal model.
        prompt_ids: At least one token id. Of a prompt that leaves no free position only the recent part is read, which
            counts as a slide.
        sampler: Takes ``(1, V)`` log-probabilities to a ``(1,)`` token id, as those of mlx-lm do.
        logits_processors: Functions of all ids so far ``(n,)`` and the ``(1, V)`` logits, as those of mlx-lm are.

    Yields:
        A `TokenStep` for every new token.
    """
    limit = model.config.context_length
    kept = kept_after_slide(limit)
    window, slides = (list(prompt_ids), 0) if len(prompt_ids) < limit else (list(prompt_ids[-kept:]), 1)
    history = mx.array(list(prompt_ids))

    def choose(hidden: mx.array) -> mx.array:
        nonlocal history
        logits = model.logits(hidden).astype(mx.float32)
        for processor in logits_processors:
            logits = processor(history, logits)
        token = sampler(log_softmax(logits))
        if logits_processors:
            history = mx.concatenate([history, token])
        mx.async_eval(token)
        return token

    cache = model.make_cache()
    token = choose(model.hidden_states(mx.array([window]), cache)[:, -1])
    while True:
        is_full = len(window) + 1 >= limit
        following = None if is_full else choose(model.hidden_states(token[None], cache)[:, -1])
        window.append(_token_id(token))
        yield TokenStep(window[-1], len(window), slides)
        if following is None:
            window, slides, cache = window[-kept:], slides + 1, model.make_cache()
            following = choose(model.hidden_states(mx.array([window]), cache)[:, -1])
        token = following


def kept_after_slide(context_length: int) -> int:
    """How many of the most recent tokens a full window keeps."""
    return max(1, context_length - context_length // 4)


def _token_id(token: mx.array) -> int:
    return int(token.item())  # type: ignore[arg-type]  # declared as any number; a token id is whole
