"""The lines around a conversation: what is being done, what is sent, how much there is room for."""

from typing import Literal

from textual.content import Content

from tui.chat_events import PromptPrepared
from tui.progress import WritingProgress
from tui.session import Session
from tui.widgets.meter import meter
from tui.widgets.plain import plain, plain_line

ChatState = Literal["idle", "looking", "ready", "sent", "answering", "stop", "length", "cancelled", "failed"]

_SIGNS = {
    "idle": ("○", "ready"),
    "looking": ("◌", "looking passages up"),
    "ready": ("●", "Enter sends this"),
    "sent": ("◌", "reading"),
    "answering": ("●", "answering"),
    "stop": ("✓", "answered"),
    "length": ("✓", "stopped at the limit"),
    "cancelled": ("■", "stopped"),
    "failed": ("✗", "failed"),
}


def chat_line(session: Session, state: ChatState, progress: WritingProgress, *, is_asking: bool = True) -> Content:
    """What is being done: a sign, a word, and the numbers that belong to it.

    Args:
        session: What the application knows.
        state: What becomes of the question.
        progress: Of the answer.
        is_asking: Whether the question has the focus; Enter means something else elsewhere.
    """
    if session.model_state == "failed" and state in ("idle", "failed"):
        return plain("✗ no model", "$text-error")
    if session.model_state == "loading" and state == "idle":
        return plain("◌ loading the model", "$text-muted")
    sign, word = _SIGNS[state]
    if state == "ready" and not is_asking:
        word = "Esc, then Enter sends this"
    line = plain(f"{sign} {word}", "$accent" if state in ("ready", "answering") else "")
    if progress.tokens and state not in ("idle", "looking", "ready"):
        line += plain(f"  {progress.tokens} tokens", "$text-muted")
        if progress.tokens_per_second:
            line += plain(f"  {progress.tokens_per_second:.0f} tok/s", "$text-muted")
    return line


def prompt_line(prepared: PromptPrepared | None, *, uses_documents: bool) -> Content:
    """How much of what the model sees a prompt and its answer take; without one, where answers come from."""
    if prepared is None:
        return plain("from your documents" if uses_documents else "without documents", "$text-muted")
    used = prepared.tokens + prepared.answer_tokens
    numbers = f" {prepared.tokens} + {prepared.answer_tokens} / {prepared.context_length}"
    bar = meter(used, prepared.context_length, cells=12)
    return plain("window ", "$text-muted") + bar + plain(numbers, "$text-muted")


def sources_title(prepared: PromptPrepared | None, state: ChatState) -> Content:
    """How many passages are sent, and how many tokens they take of how many."""
    if prepared is None:
        return Content("")
    if not prepared.sources:
        return plain("No passages", "bold")
    sent = sum(not source.left_out for source in prepared.sources)
    word = "Will be sent" if state == "ready" else "Sent"
    noun = "passage" if len(prepared.sources) == 1 else "passages"
    line = plain_line(f"{word}: {sent} of {len(prepared.sources)} {noun}", "bold")
    return line + plain_line(f"  {prepared.passage_tokens} of {prepared.passage_budget} tokens", "$text-muted")
