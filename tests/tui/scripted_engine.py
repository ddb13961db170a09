"""An engine that says what it is told to say, one slice at a time, on the caller's thread."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mlx_mixer.documents.vectors import TextEmbedder
from mlx_mixer.sampling import SamplingSettings
from tui.chat_events import AnswerFinished, AnswerWritten, ChatRequest, PromptPrepared, PromptRefused
from tui.chat_prompts import prepare_prompt
from tui.engine import Emit
from tui.events import ModelFailed, ModelReady, TextWritten, WritingFinished
from tui.progress import FinishReason, WritingProgress


class WordTokenizer:
    """Counts words; knows no token of its own and no template."""

    has_chat_template = False
    all_special_tokens: tuple[str, ...] = ()

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        return list(range(len(text.split())))

    def get_added_vocab(self) -> dict[str, int]:
        return {}


class WordWriter:
    """What `prepare_prompt` needs of a model: its tokenizer and the length of its context."""

    def __init__(self, context_length: int) -> None:
        self.folder = Path("words")
        self.context_length = context_length
        self.tokenizer: Any = WordTokenizer()

    def encode(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False))

    def stream(self, prompt: object, settings: object, is_cancelled: object = None) -> Iterator[Any]:
        raise NotImplementedError

    def warm_up(self) -> None:
        raise NotImplementedError


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
        self.questions: list[ChatRequest] = []
        self.answers: list[int] = []
        self.cancellations = 0
        self.embedders_asked: list[str] = []
        self.is_stopped = False
        self.embedder: TextEmbedder | None = None

    def start(self, emit: Emit) -> None:
        self._emit = emit

    def load(self, path: Path | None) -> None:
        self.loaded.append(path)
        if self._is_ready:
            self._emit(ModelReady(path, self._context_length))

    def load_embedder(self, name: str) -> None:
        self.embedders_asked.append(name)

    def write(self, run: int, prompt: str, settings: SamplingSettings) -> None:
        self.requests.append((run, prompt, settings))

    def prepare(self, request: ChatRequest) -> None:
        self.questions.append(request)

    def answer(self, serial: int, settings: SamplingSettings) -> None:
        self.answers.append(serial)

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

    def prepare_prompt(self) -> PromptPrepared:
        """Prepare the latest question as the real engine does, for a model that counts words."""
        prepared, _ = prepare_prompt(WordWriter(self._context_length), self.questions[-1])
        self._emit(prepared)
        return prepared

    def reply(self, *slices: str, reason: FinishReason = "stop") -> None:
        """Answer the latest question that was sent, and end."""
        for number, text in enumerate(slices, 1):
            self._emit(AnswerWritten(self.answers[-1], text, self.progress(number * 4)))
        self._emit(AnswerFinished(self.answers[-1], reason, self.progress(4 * len(slices))))

    def _emit_answer(self, text: str) -> None:
        self._emit(AnswerWritten(self.answers[-1], text, self.progress(4)))

    def refuse(self, reason: str) -> None:
        """Say that the latest question cannot be asked."""
        self._emit(PromptRefused(self.questions[-1].serial, reason))

    def fail_answer(self, detail: str) -> None:
        """End the latest answer with a failure."""
        self._emit(AnswerFinished(self.answers[-1], "failed", self.progress(0), detail))

    def say_for(self, run: int, texts: Sequence[str]) -> None:
        """Write in an earlier run, as an engine that has not noticed a cancellation yet would."""
        for text in texts:
            self._emit(TextWritten(run, text, self.progress(4)))

    def progress(self, tokens: int, *, slides: int = 0) -> WritingProgress:
        used = self._context_length if slides else min(self._context_length, 24 + tokens)
        return WritingProgress(24, tokens, 41.0, used, self._context_length, slides)
