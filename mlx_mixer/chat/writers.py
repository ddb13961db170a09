"""What writes: a language mixer, or a model of another kind that mlx-lm runs, behind the same three calls."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import mlx.core as mx
import mlx_lm
from mlx_lm.models.cache import can_trim_prompt_cache, make_prompt_cache, trim_prompt_cache

from mlx_mixer.checkpoint import CONFIG_NAME, MAX_CONFIG_BYTES, load, load_config, resolve_model
from mlx_mixer.errors import CheckpointError, UnsupportedModelError
from mlx_mixer.foreign import open_regular
from mlx_mixer.generation import LogitsProcessor
from mlx_mixer.models.language import LanguageMixer
from mlx_mixer.sampling import SamplingSettings
from mlx_mixer.strict_json import parse_json
from mlx_mixer.text import GenerationChunk, encode_prompt, logits_processors, sampler_for, stream_generate, warm_up

if TYPE_CHECKING:
    from mlx_lm.tokenizer_utils import TokenizerWrapper

DEFAULT_CONTEXT = 4096
"""Taken for a model whose config does not say how much it sees."""


class Writer(Protocol):
    """Continues token ids.

    Attributes:
        folder: Where the model was loaded from.
        context_length: Longest text it sees, in tokens.
        tokenizer: As mlx-lm wraps it.
    """

    folder: Path
    context_length: int
    tokenizer: "TokenizerWrapper"

    def encode(self, text: str) -> list[int]:
        """Token ids of a whole prompt, as the model was trained to see them."""
        ...

    def stream(
        self, prompt: str | Sequence[int], settings: SamplingSettings, is_cancelled: Callable[[], bool] | None = None
    ) -> Iterator[GenerationChunk]:
        """Continue a prompt; see `mlx_mixer.text.stream_generate`."""
        ...

    def warm_up(self) -> None:
        """Compile what a first word would wait for."""
        ...


class MixerWriter:
    """A language mixer."""

    def __init__(self, folder: Path, model: LanguageMixer, tokenizer: "TokenizerWrapper") -> None:
        self.folder = folder
        self.context_length: int = model.config.context_length
        self.tokenizer = tokenizer
        self._model = model

    def encode(self, text: str) -> list[int]:
        return encode_prompt(self._model, self.tokenizer, text)

    def stream(
        self, prompt: str | Sequence[int], settings: SamplingSettings, is_cancelled: Callable[[], bool] | None = None
    ) -> Iterator[GenerationChunk]:
        return stream_generate(self._model, self.tokenizer, prompt, settings=settings, is_cancelled=is_cancelled)

    def warm_up(self) -> None:
        warm_up(self._model, self.tokenizer)


class LmWriter:
    """A model of mlx-lm's own; what two prompts begin with in common is read once.

    Args:
        folder: Where it was loaded from.
        model: The model; any, because mlx-lm has no common type for them.
        tokenizer: Its tokenizer.
        context_length: Longest text it sees, in tokens.
    """

    def __init__(self, folder: Path, model: Any, tokenizer: "TokenizerWrapper", context_length: int) -> None:
        self.folder = folder
        self.context_length = context_length
        self.tokenizer = tokenizer
        self._model = model
        self._cache: list[Any] = []
        self._cached: list[int] = []

    def encode(self, text: str) -> list[int]:
        # A template has written the token that begins a text already, if there is one.
        start = self.tokenizer.bos_token
        return list(self.tokenizer.encode(text, add_special_tokens=not (start and text.startswith(start))))

    def stream(
        self, prompt: str | Sequence[int], settings: SamplingSettings, is_cancelled: Callable[[], bool] | None = None
    ) -> Iterator[GenerationChunk]:
        ids = self.encode(prompt) if isinstance(prompt, str) else list(prompt)
        if settings.seed is not None:
            mx.random.seed(settings.seed)
        reused = self._take_up(ids)
        chunk = GenerationChunk("", None, len(ids), 0, 0.0, len(ids), self.context_length, 0)
        responses = mlx_lm.stream_generate(
            self._model,
            self.tokenizer,
            ids[reused:],
            max_tokens=settings.max_tokens,
            sampler=sampler_for(settings),
            logits_processors=[_knowing(ids[:reused], processor) for processor in logits_processors(settings)],
            prompt_cache=self._cache,
        )
        started = 0.0
        try:
            for response in responses:
                started = started or time.perf_counter()
                token = int(response.token)
                self._cached.append(token)
                count = int(response.generation_tokens)
                chunk = replace(
                    chunk,
                    text=response.text,
                    token_id=token,
                    generation_tokens=count,
                    tokens_per_second=(count - 1) / max(time.perf_counter() - started, 1e-9),
                    window_used=min(len(ids) + count, self.context_length),
                    finish_reason=response.finish_reason,
                )
                yield chunk
                if chunk.finish_reason is None and is_cancelled is not None and is_cancelled():
                    yield replace(chunk, text="", token_id=None, finish_reason="cancelled")
                    return
        finally:
            responses.close()

    def warm_up(self) -> None:
        for _ in self.stream("a", SamplingSettings(max_tokens=2)):
            pass

    def _take_up(self, ids: Sequence[int]) -> int:
        """Make the cache hold the longest beginning of `ids` that it can; return how many tokens that is."""
        common = _common_prefix(ids[:-1], self._cached)
        held = min((int(layer.offset) for layer in self._cache if hasattr(layer, "offset")), default=0)
        usable = bool(self._cache) and can_trim_prompt_cache(self._cache) and common <= held
        if usable and trim_prompt_cache(self._cache, held - common) == held - common:
            self._cached = list(ids)
            return common
        self._cache, self._cached = make_prompt_cache(self._model), list(ids)
        return 0


def load_writer(name: str | Path | None) -> MixerWriter | LmWriter:
    """Load a model that writes, of whatever kind, from a folder on this disk; nothing is ever downloaded.

    Args:
        name: See `mlx_mixer.checkpoint.resolve_model`.

    Raises:
        ModelNotFoundError: If there is no such model.
        UnsupportedModelError: If neither we nor mlx-lm run it, or it is of a kind that does not write.
        CheckpointError: If the folder is damaged.
    """
    folder = resolve_model(name)
    try:
        load_config(folder)
    except UnsupportedModelError:
        return _load_foreign(folder)
    return MixerWriter(folder, *load(folder))


def _load_foreign(folder: Path) -> LmWriter:
    file = folder / CONFIG_NAME
    with open_regular(file) as stream:
        config = parse_json(stream.read(MAX_CONFIG_BYTES), str(file))
    if not isinstance(config, dict):
        raise CheckpointError(f"{file} holds {type(config).__name__}, not a table of settings")
    # A folder may ask for code of its own to be run; it never is, and nobody is asked about it.
    nothing_foreign = {"trust_remote_code": False, "local_files_only": True}
    try:
        loaded = mlx_lm.load(str(folder), tokenizer_config=nothing_foreign)
    except Exception as error:  # a folder may be anything, and so may be what mlx-lm raises for it
        reason = " ".join(str(error).split())[:200]
        raise UnsupportedModelError(
            f"{folder} holds a model of type {config.get('model_type')!r}, which mlx-lm does not load: {reason}"
        ) from error
    return LmWriter(folder, loaded[0], loaded[1], _context_length(config))


def _context_length(config: dict[str, Any]) -> int:
    """Positions a config of any kind speaks of; those with pictures keep their text settings in a table of its own."""
    inner = config.get("text_config")
    for table in (config, inner if isinstance(inner, dict) else {}):
        for key in ("max_position_embeddings", "context_length", "max_seq_len", "n_positions", "seq_length"):
            value = table.get(key)
            if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                return value
    return DEFAULT_CONTEXT


def _knowing(before: Sequence[int], processor: LogitsProcessor) -> LogitsProcessor:
    """Let a logits processor see the tokens that were read earlier, which mlx-lm is not told about."""
    return lambda ids, logits: processor(mx.concatenate([mx.array(list(before), ids.dtype), ids]), logits)


def _common_prefix(first: Sequence[int], second: Sequence[int]) -> int:
    for index, (a, b) in enumerate(zip(first, second, strict=False)):
        if a != b:
            return index
    return min(len(first), len(second))
