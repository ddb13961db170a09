"""Chunks of text as an answer: without the space it begins with, and ended where a base model would ask itself more."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from mlx_mixer.chat.prompt import Prompt
from mlx_mixer.chat.writers import Writer
from mlx_mixer.sampling import SamplingSettings
from mlx_mixer.text import GenerationChunk


def answer(
    writer: Writer,
    prompt: Prompt,
    settings: SamplingSettings | None = None,
    is_cancelled: Callable[[], bool] | None = None,
) -> Iterator[GenerationChunk]:
    """Answer a prompt.

    Args:
        writer: The model that the prompt was prepared for.
        prompt: What is sent.
        settings: How tokens are chosen; its `max_tokens` is lowered to what the prompt left room for.
        is_cancelled: Asked before every token.

    Yields:
        Chunks whose texts add up to the answer; the last one, and only it, has a `finish_reason`.
    """
    settings = settings or SamplingSettings()
    settings = replace(settings, max_tokens=min(settings.max_tokens, prompt.answer_tokens))
    return until_stop(writer.stream(prompt.ids, settings, is_cancelled), prompt.stops)


def until_stop(chunks: Iterator[GenerationChunk], stops: Sequence[str]) -> Iterator[GenerationChunk]:
    """Pass chunks on up to the first of some texts; what may be the beginning of one is held back until it is clear."""
    waiting = ""
    has_begun = False
    for chunk in chunks:
        text = waiting + chunk.text
        found = [at for stop in stops if (at := text.find(stop)) >= 0]
        held = 0 if chunk.finish_reason or not stops else _unclear(text, stops)
        shown = text[: min(found)].rstrip() if found else text[: len(text) - held]
        shown = shown if has_begun else shown.lstrip()
        has_begun = has_begun or bool(shown)
        if found:
            yield replace(chunk, text=shown, finish_reason="stop")
            return
        waiting = text[len(text) - held :]
        yield replace(chunk, text=shown)


def _unclear(text: str, stops: Sequence[str]) -> int:
    """How many characters at the end of a text could be the beginning of a stop, or the space before one."""
    overlap = max(_overlap(text, stop) for stop in stops)
    return len(text) - len(text[: len(text) - overlap].rstrip())


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of a text could be the beginning of `stop`."""
    return next((n for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n])), 0)
