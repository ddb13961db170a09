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
from typing import TYPE_CHECKING, Literal, Protocol

from mlx_mixer.errors import MixerError
from mlx_mixer.job_thread import JobThread
from mlx_mixer.sampling import SamplingSettings
from tui.chat_events import AnswerFinished, AnswerWritten, ChatRequest, PromptRefused
from tui.chat_prompts import prepare_prompt
from tui.events import (
    EmbedderFailed,
    EmbedderReady,
    EngineEvent,
    ModelFailed,
    ModelLoading,
    ModelReady,
    TextWritten,
    WritingFinished,
)
from tui.progress import WritingProgress

if TYPE_CHECKING:
    from mlx_mixer.attribution import TokenShare
    from mlx_mixer.chat.prompt import Prompt
    from mlx_mixer.chat.writers import Writer
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

    def load_embedder(self, name: str) -> None:
        """Load what search by meaning needs: a model by its name, "default" for the bundled one."""

    def write(self, run: int, prompt: str, settings: SamplingSettings) -> None:
        """Continue `prompt` as run number `run`."""

    def prepare(self, request: ChatRequest) -> None:
        """Put a question's prompt together; answered by `PromptPrepared` or `PromptRefused`."""

    def answer(self, serial: int, settings: SamplingSettings) -> None:
        """Answer question `serial`, whose prompt was the last that was prepared."""

    def cancel(self) -> None:
        """End the current run after the token at hand."""

    @property
    def embedder(self) -> "TextEmbedder | None":
        """Usable from any thread but the engine's own; None until `EmbedderReady`."""

    def stop(self, timeout_seconds: float) -> bool:
        """End the thread; return whether it ended in time."""


@dataclass
class _Run:
    """One stretch of writing: a continuation on the Write screen, or an answer in the chat."""

    number: int
    chunks: "Callable[[_Run], Iterator[GenerationChunk]]"
    written: type[TextWritten] | type[AnswerWritten] = TextWritten
    finished: type[WritingFinished] | type[AnswerFinished] = WritingFinished
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

    def attribute(self, text: str, query: "Floats") -> "list[TokenShare]":
        """Split the cosine of a text and a query over the text's tokens.

        Raises:
            EngineBusyError: If it had to wait for longer than someone who types would.
        """
        job = self._jobs.submit(lambda: self._embedder.attribute(text, query), urgency=QUERY)
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
        self._writer: Writer | None = None
        self._prompts: dict[int, Prompt] = {}  # that of the newest question alone
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

    def load_embedder(self, name: str) -> None:
        self._jobs.submit(lambda: self._load_embedder(name), urgency=DOCUMENTS)

    def write(self, run: int, prompt: str, settings: SamplingSettings) -> None:
        self._begin(_Run(run, lambda this: self._loaded().stream(prompt, settings, self._is_over(this))))

    def prepare(self, request: ChatRequest) -> None:
        # Between two words of a text that is being written; but never before the model that it is for.
        self._jobs.submit(lambda: self._prepare(request), urgency=WRITE if self._writer is None else QUERY)

    def answer(self, serial: int, settings: SamplingSettings) -> None:
        self._begin(_Run(serial, lambda this: self._answer(this, settings), AnswerWritten, AnswerFinished))

    def _begin(self, run: _Run) -> None:
        self.cancel()
        self._run = run
        self._jobs.submit(lambda: self._write(run), urgency=WRITE)

    def cancel(self) -> None:
        if self._run is not None:
            self._run.cancelled.set()

    def stop(self, timeout_seconds: float) -> bool:
        self.cancel()
        return self._jobs.stop(timeout_seconds)

    def _load(self, path: Path | None) -> None:
        from mlx_mixer.chat.writers import load_writer  # imports MLX and mlx-lm: only ever on this thread

        self._emit(ModelLoading(path))
        try:
            writer = load_writer(path)
            writer.warm_up()
        except Exception as error:  # a model folder may be anything; the application goes on without it
            self._emit(ModelFailed(path, _one_line(error)))
            return
        self._writer = writer
        self._prompts.clear()  # they were in another model's tokens
        self._emit(ModelReady(path, writer.context_length))

    def _load_embedder(self, name: str) -> None:
        from mlx_mixer.embedding import load_embedder  # imports MLX

        try:
            self._embedder = EngineEmbedder(self._jobs, load_embedder(name))
        except Exception as error:  # search by words does not need it
            self._emit(EmbedderFailed(_one_line(error)))
            return
        self._emit(EmbedderReady())

    def _loaded(self) -> "Writer":
        if self._writer is None:
            raise MixerError("no model is loaded")
        return self._writer

    def _is_over(self, run: _Run) -> Callable[[], bool]:
        return lambda: run.cancelled.is_set() or self._jobs.is_stopping

    def _prepare(self, request: ChatRequest) -> None:
        try:
            prepared, prompt = prepare_prompt(self._loaded(), request)
        except Exception as error:  # for example a question that is too long
            self._emit(PromptRefused(request.serial, _one_line(error)))
            return
        self._prompts = {request.serial: prompt}
        self._emit(prepared)

    def _answer(self, run: _Run, settings: SamplingSettings) -> "Iterator[GenerationChunk]":
        from mlx_mixer.chat.answers import answer

        prompt = self._prompts.get(run.number)
        if prompt is None:
            raise MixerError("the model has changed since; ask again")
        return answer(self._loaded(), prompt, settings, self._is_over(run))

    def _write(self, run: _Run) -> None:
        try:
            self._pass_on(run, run.chunks(run))
        except Exception as error:  # for example out of memory; the text written so far stays with the user
            self._emit(run.finished(run.number, "failed", WritingProgress(), _one_line(error)))

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
                self._emit(run.written(run.number, "".join(waiting), progress))
                waiting.clear()
                next_slice = now + COALESCE_SECONDS
            if chunk.finish_reason is not None:
                self._emit(run.finished(run.number, chunk.finish_reason, progress))
                return
            self._jobs.run_waiting(max_urgency=QUERY)
        self._emit(run.finished(run.number, "cancelled", progress))


def _progress(chunk: "GenerationChunk") -> WritingProgress:
    return WritingProgress(
        prompt_tokens=chunk.prompt_tokens,
        tokens=chunk.generation_tokens,
        tokens_per_second=chunk.tokens_per_second,
        window_used=chunk.window_used,
        context_length=chunk.context_length,
        slides=chunk.window_slides,
    )


def _one_line(error: Exception) -> str:
    if isinstance(error, MixerError):
        return str(error)
    # Foreign exceptions may quote the text they choked on; the log gets their kind and place only.
    log.error("engine: %s", type(error).__name__)
    return f"{type(error).__name__}: {error}".splitlines()[0]
