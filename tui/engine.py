"""The one thread that owns MLX: it loads models, writes and embeds. Commands go in, events come out.

MLX and mlx-lm are imported on this thread, because that takes over a second, and MLX streams belong to the thread that
made them. Queries are embedded between the tokens of a continuation, so that search answers while the model writes;
indexing waits until it has finished.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from mlx_mixer.errors import MixerError
from mlx_mixer.sampling import SamplingSettings
from tui.events import (
    EmbedderFailed,
    EmbedderReady,
    EngineEvent,
    ModelFailed,
    ModelLoading,
    ModelReady,
    TextWritten,
    WritingFinished,
    WritingProgress,
)
from tui.jobs import JobThread

if TYPE_CHECKING:
    from mlx_mixer.documents.vectors import Floats, TextEmbedder
    from mlx_mixer.embedding import Embedder
    from mlx_mixer.text import GenerationChunk

log = logging.getLogger(__name__)

COALESCE_SECONDS = 0.05
"""Text is passed on in slices of this length: drawing is what costs, not the hand-over."""

QUERY, WRITE, DOCUMENTS = 0, 1, 2
"""Urgencies, most urgent first."""

QUERY_SECONDS = 0.25
"""How long a search waits for its query to be embedded before it makes do with words."""

SLICE_TEXTS = 16
"""Documents embedded in one go."""

Emit = Callable[[EngineEvent], None]


class EngineBusyError(MixerError):
    """A query was not embedded in time, because the engine is at something that cannot be interrupted."""


class Engine(Protocol):
    """What the application asks of an engine. No call waits for the work it starts."""

    def start(self, emit: Emit) -> None:
        """Begin to work; `emit` is called from the engine's thread."""

    def load(self, path: Path | None) -> None:
        """Load the model in a folder, or the bundled one, and use it from then on."""

    def load_embedder(self) -> None:
        """Load what search by meaning needs."""

    def write(self, run: int, prompt: str, settings: SamplingSettings) -> None:
        """Continue `prompt` as run number `run`."""

    def cancel(self) -> None:
        """End the current run after the token at hand."""

    @property
    def embedder(self) -> "TextEmbedder | None":
        """Usable from any thread but the engine's own; None until `EmbedderReady`."""

    def stop(self, timeout_seconds: float) -> bool:
        """End the thread; return whether it ended in time."""


@dataclass
class _Run:
    number: int
    prompt: str
    settings: SamplingSettings
    cancelled: threading.Event = field(default_factory=threading.Event)


class EngineEmbedder:
    """An embedder whose work is done on the engine's thread, whoever calls."""

    def __init__(self, jobs: JobThread, embedder: "Embedder") -> None:
        self._jobs = jobs
        self._embedder = embedder
        self.dims = embedder.dims
        self.fingerprint = embedder.fingerprint

    def embed(self, texts: Sequence[str], kind: Literal["document", "query"] = "document") -> "Floats":
        """Return L2-normalised embeddings, (N, D) float32.

        Raises:
            EngineBusyError: If a query had to wait for longer than someone who types would.
        """
        if kind == "query":
            return self._embed_query(texts)
        import numpy as np  # on the library's thread: the first paint does without it

        # In slices, so that a continuation need not wait for a whole batch.
        slices = [texts[start : start + SLICE_TEXTS] for start in range(0, max(1, len(texts)), SLICE_TEXTS)]
        jobs = [self._submit(part, kind, DOCUMENTS) for part in slices]
        return np.concatenate([job.result() for job in jobs])

    def _embed_query(self, texts: Sequence[str]) -> "Floats":
        job = self._submit(texts, "query", QUERY)
        try:
            return job.result(QUERY_SECONDS)
        except TimeoutError:
            job.cancel()
            raise EngineBusyError("the engine is busy") from None

    def _submit(self, texts: Sequence[str], kind: Literal["document", "query"], urgency: int) -> "Future[Floats]":
        return self._jobs.submit(lambda: self._embedder.embed(texts, kind), urgency=urgency)


class MlxEngine:
    """The real engine."""

    def __init__(self) -> None:
        self._jobs = JobThread("mlx")
        self._emit: Emit = lambda _: None
        self._model: Any = None  # an mlx.nn.Module; naming its type here would import MLX into the user interface
        self._tokenizer: Any = None
        self._run: _Run | None = None
        self._embedder: EngineEmbedder | None = None

    @property
    def embedder(self) -> "TextEmbedder | None":
        return self._embedder

    def start(self, emit: Emit) -> None:
        self._emit = emit
        self._jobs.start()

    def load(self, path: Path | None) -> None:
        self.cancel()
        self._jobs.submit(lambda: self._load(path), urgency=WRITE)

    def load_embedder(self) -> None:
        self._jobs.submit(self._load_embedder, urgency=DOCUMENTS)

    def write(self, run: int, prompt: str, settings: SamplingSettings) -> None:
        self.cancel()
        this = self._run = _Run(run, prompt, settings)
        self._jobs.submit(lambda: self._write(this), urgency=WRITE)

    def cancel(self) -> None:
        if self._run is not None:
            self._run.cancelled.set()

    def stop(self, timeout_seconds: float) -> bool:
        self.cancel()
        return self._jobs.stop(timeout_seconds)

    def _load(self, path: Path | None) -> None:
        from mlx_mixer.checkpoint import load, resolve_model  # imports MLX and mlx-lm: only ever on this thread
        from mlx_mixer.text import warm_up

        self._emit(ModelLoading(path))
        try:
            model, tokenizer = load(resolve_model(path))
            warm_up(model, tokenizer)
        except Exception as error:  # a model folder may be anything; the application goes on without it
            self._emit(ModelFailed(path, _one_line(error)))
            return
        self._model, self._tokenizer = model, tokenizer
        self._emit(ModelReady(path, _context_length(model)))

    def _load_embedder(self) -> None:
        from mlx_mixer.embedding import load_embedder  # imports MLX

        try:
            self._embedder = EngineEmbedder(self._jobs, load_embedder())
        except Exception as error:  # search by words does not need it
            self._emit(EmbedderFailed(_one_line(error)))
            return
        self._emit(EmbedderReady())

    def _write(self, run: _Run) -> None:
        if self._model is None:
            self._emit(WritingFinished(run.number, "failed", WritingProgress(), "no model is loaded"))
            return
        try:
            self._pass_on(run, self._chunks(run))
        except Exception as error:  # for example out of memory; the text written so far stays with the user
            self._emit(WritingFinished(run.number, "failed", WritingProgress(), _one_line(error)))

    def _chunks(self, run: _Run) -> "Iterator[GenerationChunk]":
        from mlx_mixer.text import stream_generate  # imports MLX and mlx-lm

        return stream_generate(
            self._model,
            self._tokenizer,
            run.prompt,
            settings=run.settings,
            is_cancelled=lambda: run.cancelled.is_set() or self._jobs.is_stopping,
        )

    def _pass_on(self, run: _Run, chunks: "Iterator[GenerationChunk]") -> None:
        """Emit the text of `chunks` in slices of about `COALESCE_SECONDS`."""
        waiting: list[str] = []
        progress = WritingProgress()
        next_slice = 0.0
        for chunk in chunks:
            waiting.append(chunk.text)
            progress = _progress(chunk)
            now = time.monotonic()
            if now >= next_slice or chunk.finish_reason is not None:
                self._emit(TextWritten(run.number, "".join(waiting), progress))
                waiting.clear()
                next_slice = now + COALESCE_SECONDS
            if chunk.finish_reason is not None:
                self._emit(WritingFinished(run.number, chunk.finish_reason, progress))
                return
            self._jobs.run_waiting(max_urgency=QUERY)
        self._emit(WritingFinished(run.number, "cancelled", progress))


def _progress(chunk: "GenerationChunk") -> WritingProgress:
    return WritingProgress(
        prompt_tokens=chunk.prompt_tokens,
        tokens=chunk.generation_tokens,
        tokens_per_second=chunk.tokens_per_second,
        window_used=chunk.window_used,
        context_length=chunk.context_length,
        slides=chunk.window_slides,
    )


def _context_length(model: Any) -> int:  # any mlx.nn.Module that our loader accepts
    return int(model.config.context_length)


def _one_line(error: Exception) -> str:
    if isinstance(error, MixerError):
        return str(error)
    # Foreign exceptions may quote the text they choked on; the log gets their kind and place only.
    log.error("engine: %s", type(error).__name__)
    return f"{type(error).__name__}: {error}".splitlines()[0]
