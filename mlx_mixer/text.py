"""Words around the generator: encode, sample, decode as it streams, count, and say why it ended."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import mlx.core as mx
import mlx_lm.models.cache
from mlx_lm.sample_utils import make_logits_processors, make_sampler

from mlx_mixer.cache import register_with_mlx_lm
from mlx_mixer.errors import UsageError
from mlx_mixer.generation import generate_tokens
from mlx_mixer.models.language import LanguageMixer
from mlx_mixer.sampling import SamplingSettings

if TYPE_CHECKING:
    from mlx_lm.tokenizer_utils import TokenizerWrapper

FinishReason = Literal["stop", "length", "cancelled"]

# Enough of the prompt to hold a whole word and a whole character.
PROMPT_TAIL = 16

register_with_mlx_lm(mlx_lm.models.cache)


@dataclass(frozen=True)
class GenerationChunk:
    """What became known with one more token.

    Attributes:
        text: New text since the last chunk; may be empty while a character is incomplete.
        token_id: The token behind it; `None` in a last chunk without one.
        prompt_tokens: Tokens of the prompt.
        generation_tokens: New tokens so far.
        tokens_per_second: New tokens by the time since the prompt was read.
        window_used: Positions in use.
        context_length: Positions there are.
        window_slides: How often the window slid: earlier text is then no longer seen by the model.
        finish_reason: Set on the last chunk: "stop" (the model ended the text), "length" (`max_tokens`), or
            "cancelled".
    """

    text: str
    token_id: int | None
    prompt_tokens: int
    generation_tokens: int
    tokens_per_second: float
    window_used: int
    context_length: int
    window_slides: int
    finish_reason: FinishReason | None = None


def stream_generate(
    model: LanguageMixer,
    tokenizer: "TokenizerWrapper",
    prompt: str | Sequence[int],
    *,
    settings: SamplingSettings | None = None,
    is_cancelled: Callable[[], bool] | None = None,
) -> Iterator[GenerationChunk]:
    """Continue a text.

    Args:
        model: A model from `mlx_mixer.load`.
        tokenizer: Its tokenizer.
        prompt: Text, or token ids taken as they are.
        settings: How tokens are chosen; the defaults of `SamplingSettings` if omitted.
        is_cancelled: Asked before every token; generation ends with "cancelled" once it answers true.

    Yields:
        Chunks whose texts add up to the continuation; the last one, and only it, has a `finish_reason`.

    Raises:
        UsageError: If there is no token to start from, or an id is outside the vocabulary.
    """
    settings = settings or SamplingSettings()
    ids = encode_prompt(model, tokenizer, prompt)
    if settings.seed is not None:
        mx.random.seed(settings.seed)
    steps = generate_tokens(
        model,
        ids,
        sampler=sampler_for(settings),
        logits_processors=logits_processors(settings),
    )
    words = _Continuation(tokenizer, [] if prompt == "" else ids)
    chunk = GenerationChunk("", None, len(ids), 0, 0.0, len(ids), model.config.context_length, 0)
    started = time.perf_counter()
    while chunk.finish_reason is None:
        if is_cancelled is not None and is_cancelled():
            yield replace(chunk, text=words.finish(), token_id=None, finish_reason="cancelled")
            return
        step = next(steps)
        if chunk.generation_tokens == 0:
            started = time.perf_counter()
        count = chunk.generation_tokens + 1
        reason = _finish_reason(step.token_id, count, model, tokenizer, settings)
        text = "" if reason == "stop" else words.add(step.token_id)
        chunk = replace(
            chunk,
            text=text if reason is None else text + words.finish(),
            token_id=step.token_id,
            generation_tokens=count,
            tokens_per_second=(count - 1) / max(time.perf_counter() - started, 1e-9),
            window_used=step.window_used,
            window_slides=step.window_slides,
            finish_reason=reason,
        )
        yield chunk


def warm_up(model: LanguageMixer, tokenizer: "TokenizerWrapper") -> None:
    """Write two tokens and forget them.

    MLX compiles the parts of a step when it first runs one. On a CPU that takes about ten seconds, once until the
    machine's temporary folder is emptied; here it happens while nobody waits for a word.
    """
    for _ in stream_generate(model, tokenizer, "a", settings=SamplingSettings(max_tokens=2)):
        pass


def encode_prompt(model: LanguageMixer, tokenizer: "TokenizerWrapper", prompt: str | Sequence[int]) -> list[int]:
    """Token ids of a prompt, as the model was trained to see them.

    Special tokens are not added by the tokenizer (upstream models were trained without); a config's `bos_token_id` is
    put in front of a text, and an empty text starts from `bos_token_id` or `eos_token_id`.

    Raises:
        UsageError: If there is no token to start from, or an id is outside the vocabulary.
    """
    config = model.config
    if isinstance(prompt, str):
        start = [] if config.bos_token_id is None else [config.bos_token_id]
        ids = start + list(tokenizer.encode(prompt, add_special_tokens=False))
        if not ids and config.eos_token_id is not None:
            ids = [config.eos_token_id]
    else:
        ids = [int(token) for token in prompt]
    if not ids:
        raise UsageError("the prompt is empty and this model has no token to begin a text with; give at least one word")
    bad = next((token for token in ids if not 0 <= token < config.vocab_size), None)
    if bad is not None:
        raise UsageError(
            f"token id {bad} is outside the model's vocabulary of {config.vocab_size}; is this its tokenizer?"
        )
    return ids


class _Continuation:
    """Text of new tokens, as it reads after the prompt.

    A detokenizer drops a space at the start of what it sees. It therefore sees a letter and the end of the prompt
    first, and what it makes of those is left out.
    """

    def __init__(self, tokenizer: "TokenizerWrapper", prompt_ids: Sequence[int]) -> None:
        self._detokenizer = tokenizer.detokenizer
        self._detokenizer.reset()
        tail = [*tokenizer.encode("a", add_special_tokens=False), *prompt_ids[-PROMPT_TAIL:]] if prompt_ids else []
        for token in tail:
            self._detokenizer.add_token(token)
        # A last space or an incomplete character is still held back and will come with the first new token.
        held_back = len(tokenizer.decode(tail)) - len(self._detokenizer.last_segment) if tail else 0
        self._skipped = max(0, held_back)

    def add(self, token_id: int) -> str:
        self._detokenizer.add_token(token_id)
        return self._new_text()

    def finish(self) -> str:
        self._detokenizer.finalize()
        return self._new_text()

    def _new_text(self) -> str:
        text: str = self._detokenizer.last_segment
        new = text[self._skipped :]
        self._skipped -= min(self._skipped, len(text))
        return new


def _finish_reason(
    token_id: int, count: int, model: LanguageMixer, tokenizer: "TokenizerWrapper", settings: SamplingSettings
) -> FinishReason | None:
    if token_id == model.config.eos_token_id or token_id in tokenizer.eos_token_ids:
        return "stop"
    return "length" if count >= settings.max_tokens else None


def sampler_for(settings: SamplingSettings) -> Callable[[mx.array], mx.array]:
    """The sampler of mlx-lm that does what the settings say."""
    sampler: Callable[[mx.array], mx.array] = make_sampler(
        temp=settings.temperature, top_p=settings.top_p, min_p=settings.min_p, top_k=settings.top_k
    )
    return sampler


def logits_processors(settings: SamplingSettings) -> list[Callable[[mx.array, mx.array], mx.array]]:
    """The logits processors of mlx-lm that do what the settings say."""
    if settings.repetition_penalty == 1:
        return []
    return list(make_logits_processors(repetition_penalty=settings.repetition_penalty, repetition_context_size=64))
