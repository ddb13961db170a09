"""A conversation on a terminal or in a pipe: ask, show what is sent, write the answer, check what it quotes."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from mlx_mixer.cli.output import narrate, print_foreign
from mlx_mixer.cli.sources import quote_lines, source_lines
from mlx_mixer.errors import MixerError
from mlx_mixer.paths import default_paths
from mlx_mixer.safe_text import safe_line
from mlx_mixer.sampling import SamplingSettings

if TYPE_CHECKING:
    from mlx_mixer.chat.prompt import Prompt, Turn
    from mlx_mixer.chat.writers import Writer
    from mlx_mixer.documents.library import Library
    from mlx_mixer.grounding.candidates import Candidates
    from mlx_mixer.text import GenerationChunk

HELP = """\
/docs     answer from your documents, or stop doing so
/sources  what was sent for the last question
/prompt   the last prompt, character for character
/new      forget what was said
/help     this
/quit     leave (so does Ctrl+D)
Ctrl+C stops an answer and keeps what was written. A question that begins with a slash needs a space before it."""
_HISTORY_LINES = 1000


class Conversation:
    """Turns, and what is needed to go on with them.

    Args:
        writer: The model.
        open_library: Opens the library, when it is first needed.
        uses_documents: Whether answers are made from documents.
        root: Only documents at or below this path.
        settings: How answers are written.
        budget: Most tokens of passages.
        anyway: Answer even where nothing matches.
    """

    def __init__(
        self,
        writer: "Writer",
        open_library: "Callable[[], Library]",
        *,
        uses_documents: bool,
        root: str | None,
        settings: SamplingSettings,
        budget: int | None,
        anyway: bool,
    ) -> None:
        self._writer = writer
        self._root = root
        self._settings = settings
        self._budget = budget
        self._anyway = anyway
        self._open_library = open_library
        self._library: Library | None = None
        self.uses_documents = uses_documents
        self.turns: list[Turn] = []

    @property
    def _documents(self) -> "Library":
        if self._library is None:
            self._library = self._open_library()
        return self._library

    def prompt(self, question: str) -> "Prompt":
        """Look passages up where documents are used, and put together what is sent."""
        from mlx_mixer.chat.prompt import prepare

        return prepare(
            self._writer,
            question,
            turns=self.turns,
            candidates=self._candidates(question),
            max_tokens=self._settings.max_tokens,
            budget=self._budget,
        )

    def answer(self, prompt: "Prompt") -> dict[str, Any]:
        """Answer without showing anything, as values for JSON."""
        chunks: list[GenerationChunk] = []
        if not self._is_refused(prompt):
            with suppress(KeyboardInterrupt):
                chunks.extend(self._chunks(prompt))
        text = "".join(chunk.text for chunk in chunks)
        last = chunks[-1] if chunks else None
        reason = last.finish_reason if last else "no_match" if self._is_refused(prompt) else None
        return {
            "answer": text,
            "finish_reason": reason or "cancelled",
            "generation_tokens": last.generation_tokens if last else 0,
            "tokens_per_second": round(last.tokens_per_second, 1) if last else 0.0,
            "quotes": [asdict(quote) for quote in self._quotes(text, prompt)],
            "model": str(self._writer.folder),
            "settings": asdict(self._settings),
        }

    def show_answer(self, question: str, prompt: "Prompt") -> None:
        """Narrate the sources, write the answer as it comes, and say which of its quotations are true.

        Raises:
            KeyboardInterrupt: If it was interrupted, after what was written has been kept.
        """
        if prompt.grounding is not None:
            for line in source_lines(prompt.grounding, len(prompt.ids), prompt.context_length):
                narrate(line)
        if self._is_refused(prompt):
            assert prompt.grounding is not None
            narrate(f"{prompt.grounding.doubt}, so nothing was generated; --anyway asks the model all the same")
            return
        written: list[str] = []
        interrupted = False
        try:
            for chunk in self._chunks(prompt):
                written.append(chunk.text)
                print_foreign(chunk.text, newline=False)
                sys.stdout.flush()
        except KeyboardInterrupt:
            interrupted = True
        click.echo()
        text = "".join(written)
        for line in quote_lines(self._quotes(text, prompt)):
            narrate(line)
        self._remember(question, text)
        if interrupted:
            raise KeyboardInterrupt

    def _chunks(self, prompt: "Prompt") -> "Iterator[GenerationChunk]":
        from mlx_mixer.chat.answers import answer

        return answer(self._writer, prompt, self._settings)

    def _candidates(self, question: str) -> "Candidates | None":
        if not self.uses_documents:
            return None
        from mlx_mixer.grounding.candidates import gather

        return gather(self._documents, question, root=self._root)

    def _is_refused(self, prompt: "Prompt") -> bool:
        return prompt.grounding is not None and bool(prompt.grounding.doubt) and not self._anyway

    def _quotes(self, text: str, prompt: "Prompt") -> Any:
        if prompt.grounding is None:
            return ()
        from mlx_mixer.grounding.verify import check_quotes

        return check_quotes(text, prompt.grounding.sources, self._documents)

    def _remember(self, question: str, text: str) -> None:
        from mlx_mixer.chat.prompt import Turn

        self.turns += [Turn("user", question), Turn("assistant", text.strip())]


def converse(conversation: Conversation, *, show_prompt: bool = False) -> None:
    """Talk until the user leaves."""
    narrate("Ask away. /help shows what else there is; Ctrl+D leaves.")
    talk = _Talk(conversation, show_prompt=show_prompt)
    with _history():
        is_over = False
        while not is_over:
            try:
                is_over = talk.step()
            except MixerError as error:
                narrate(f"✗ {error}")
            except (KeyboardInterrupt, click.Abort):
                narrate("[stopped]")


class _Talk:
    """One line after the other, and the prompt that was sent last."""

    def __init__(self, conversation: Conversation, *, show_prompt: bool) -> None:
        self._conversation = conversation
        self._show_prompt = show_prompt
        self._last: Prompt | None = None

    def step(self) -> bool:
        """Read a line and do what it says; return whether the user leaves."""
        line = _ask()
        if line is None or line == "/quit":
            return True
        if line.startswith("/"):
            _obey(line, self._conversation, self._last)
        elif question := line.strip():
            self._last = self._conversation.prompt(question)
            if not self._show_prompt or may_send(self._last):
                self._conversation.show_answer(question, self._last)
        return False


def may_send(prompt: "Prompt") -> bool:
    """Show a prompt; ask on a terminal, and send nothing anywhere else."""
    print_foreign(prompt.text)
    narrate(f"[{len(prompt.ids)} tokens; {prompt.answer_tokens} kept for the answer]")
    return is_conversation_possible() and click.confirm("Send this?", default=True, err=True)


def is_conversation_possible() -> bool:
    """Whether somebody can be asked something."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()


def _obey(line: str, conversation: Conversation, last: "Prompt | None") -> None:
    match line.split()[0]:
        case "/help":
            narrate(HELP)
        case "/new":
            conversation.turns.clear()
            narrate("forgotten")
        case "/docs":
            conversation.uses_documents = not conversation.uses_documents
            source = "your documents" if conversation.uses_documents else "the model alone"
            narrate(f"answers come from {source} now")
        case "/sources" | "/prompt" if last is None:
            narrate("nothing was asked yet")
        case "/prompt":
            assert last is not None
            print_foreign(last.text)
        case "/sources":
            assert last is not None
            lines = source_lines(last.grounding, len(last.ids), last.context_length) if last.grounding else []
            narrate("\n".join(lines) or "it was asked without documents")
        case other:
            narrate(f"there is no {safe_line(other)}; /help lists what there is")


def _ask() -> str | None:
    """One line from the user, "" after Ctrl+C, which drops a line as in a shell; None when they leave."""
    try:
        return input("› ")
    except EOFError:
        click.echo(err=True)
        return None
    except KeyboardInterrupt:
        click.echo(err=True)
        return ""


@contextmanager
def _history() -> Iterator[None]:
    """Keep the questions for the arrow keys, in a file only the user can read."""
    try:
        import readline
    except ImportError:  # a Python built without it: lines can be typed, and not called back
        yield
        return
    file = default_paths().chat_history
    with suppress(OSError):
        readline.read_history_file(file)
    readline.set_history_length(_HISTORY_LINES)
    try:
        yield
    finally:
        with suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch(mode=0o600)
            readline.write_history_file(file)
