"""Between the library's values and the screen's: what a prompt holds, and what became of quotations.

Runs on the threads of the engine and the library, which may import what takes a while.
"""

from typing import TYPE_CHECKING

from tui.chat_events import ChatQuote, ChatRequest, ChatSource, PromptPrepared

if TYPE_CHECKING:
    from mlx_mixer.chat.prompt import Prompt
    from mlx_mixer.chat.writers import Writer
    from mlx_mixer.grounding.verify import CheckedQuote


def prepare_prompt(writer: "Writer", request: ChatRequest) -> "tuple[PromptPrepared, Prompt]":
    """Put a prompt together, for the screen and for the model.

    Raises:
        MixerError: If the question does not fit.
    """
    from mlx_mixer.chat.prompt import Turn, prepare

    prompt = prepare(
        writer,
        request.question,
        turns=[Turn(turn.role, turn.text) for turn in request.turns],
        candidates=request.candidates,
        max_tokens=request.max_tokens,
        without=request.without,
    )
    grounding = prompt.grounding
    sources = () if grounding is None else grounding.sources
    shown = tuple(
        ChatSource(
            each.number, each.path, each.line, each.page, each.heading, each.tokens, each.left_out, each.page_kind
        )
        for each in sources
    )
    prepared = PromptPrepared(
        serial=request.serial,
        text=prompt.text,
        tokens=len(prompt.ids),
        answer_tokens=prompt.answer_tokens,
        context_length=prompt.context_length,
        sources=shown,
        passage_tokens=grounding.tokens if grounding else 0,
        passage_budget=grounding.budget if grounding else 0,
        doubt=grounding.doubt if grounding else "",
        grounding=grounding,
    )
    return prepared, prompt


def shown_quote(quote: "CheckedQuote") -> ChatQuote:
    """A checked quotation for the screen."""
    if not quote.verified:
        return ChatQuote(quote.start, quote.end, verified=False)
    remarks = {
        f"in [{quote.source}], not in [{quote.cited[0] if quote.cited else 0}]": quote.cites_another,
        "outside the passage that was sent": not quote.in_passage,
        "the file has changed since": quote.file == "changed",
        "the file is gone": quote.file == "gone",
    }
    remark = "; ".join(text for text, is_so in remarks.items() if is_so)
    return ChatQuote(
        quote.start, quote.end, True, quote.source, quote.path, quote.line, quote.page, remark, quote.page_kind
    )
