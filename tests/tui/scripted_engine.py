"""An engine that says what it is told to say, one slice at a time, on the caller's thread."""

from collections.abc import Sequence
from pathlib import Path

from mlx_mixer.documents.vectors import TextEmbedder
from mlx_mixer.sampling import SamplingSettings
from tui.engine import Emit
from tui.events import FinishReason, ModelFailed, ModelReady, TextWritten, WritingFinished, WritingProgress


class ScriptedEngine:
    """Records commands and emits events only when a test asks for them, so that every state can be looked at.

    Args:
        is_ready: Whether a model is "loaded" as soon as it is asked for.
        context_length: Of that model.
    """

    def __init__(self, *, is_ready: bool = True, context_length: int = 512) -> None:
        self._is_ready = is_ready
        self._context_length = context_length
        self._emit: Emit = lambda _: None
        self.loaded: list[Path | None] = []
        self.requests: list[tuple[int, str, SamplingSettings]] = []
        self.cancellations = 0
        self.embedder_requests = 0
        self.is_stopped = False
        self.embedder: TextEmbedder | None = None

    def start(self, emit: Emit) -> None:
        self._emit = emit

    def load(self, path: Path | None) -> None:
        self.loaded.append(path)
        if self._is_ready:
            self._emit(ModelReady(path, self._context_length))

    def load_embedder(self) -> None:
        self.embedder_requests += 1

    def write(self, run: int, prompt: str, settings: SamplingSettings) -> None:
        self.requests.append((run, prompt, settings))

    def cancel(self) -> None:
        self.cancellations += 1

    def stop(self, timeout_seconds: float) -> bool:
        self.is_stopped = True
        return True

    def become_ready(self) -> None:
        self._emit(ModelReady(self.loaded[-1], self._context_length))

    def fail_to_load(self, reason: str) -> None:
        self._emit(ModelFailed(self.loaded[-1], reason))

    def say(self, *slices: str, slides: int = 0) -> None:
        """Write slices of text in the latest run."""
        for number, text in enumerate(slices, 1):
            self._emit(TextWritten(self.requests[-1][0], text, self.progress(number * 4, slides=slides)))

    def finish(self, reason: FinishReason = "stop", *, tokens: int = 12, slides: int = 0, detail: str = "") -> None:
        """End the latest run."""
        self._emit(WritingFinished(self.requests[-1][0], reason, self.progress(tokens, slides=slides), detail))

    def say_for(self, run: int, texts: Sequence[str]) -> None:
        """Write in an earlier run, as an engine that has not noticed a cancellation yet would."""
        for text in texts:
            self._emit(TextWritten(run, text, self.progress(4)))

    def progress(self, tokens: int, *, slides: int = 0) -> WritingProgress:
        used = self._context_length if slides else min(self._context_length, 24 + tokens)
        return WritingProgress(24, tokens, 41.0, used, self._context_length, slides)
