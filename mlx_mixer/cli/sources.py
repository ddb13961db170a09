"""Sources and quotations of an answer as lines for people and as JSON."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from mlx_mixer.documents.structure import page_label
from mlx_mixer.safe_text import safe_line

if TYPE_CHECKING:
    from mlx_mixer.chat.prompt import Prompt
    from mlx_mixer.grounding.pack import Grounding, Source
    from mlx_mixer.grounding.verify import CheckedQuote

_QUOTE_CHARACTERS = 60


def source_lines(grounding: "Grounding", prompt_tokens: int, context_length: int) -> list[str]:
    """What is sent and what is not, with tokens, and the sum."""
    lines = [_source_line(source) for source in grounding.sources]
    lines.append(
        f"{grounding.tokens} tokens of passages, of {grounding.budget} there is room for; "
        f"{prompt_tokens} in all, and the model sees {context_length}"
    )
    return lines


def _source_line(source: "Source") -> str:
    heading = f"  {safe_line(source.heading)}" if source.heading else ""
    size = f"{source.tokens} tokens" if source.is_sent else f"not sent: {source.left_out}"
    where = place(source.path, source.line, page_label(source.page_kind, source.page))
    return f"[{source.number}] {where}{heading}  ({size})"


def place(path: str, line: int, page: str) -> str:
    """Where something stands, for people; `page` is as people call it."""
    return f"{safe_line(path)}:{line}" + (f" ({page})" if page else "")


def quote_lines(quotes: "tuple[CheckedQuote, ...]") -> list[str]:
    """What became of every quotation."""
    return [_quote_line(quote) for quote in quotes]


def _quote_line(quote: "CheckedQuote") -> str:
    text = " ".join(quote.text.split())
    shown = safe_line(text if len(text) <= _QUOTE_CHARACTERS else f"{text[: _QUOTE_CHARACTERS - 1]}…")
    if not quote.verified:
        return f"✗ “{shown}”  not in the documents"
    remarks = []
    if quote.cites_another:
        remarks.append(f"in [{quote.source}], not in [{quote.cited[0]}]")
    if not quote.in_passage:
        remarks.append("outside the passage that was sent")
    if quote.file != "same":
        remarks.append("the file has changed since it was read" if quote.file == "changed" else "the file is gone")
    remark = f"  ({'; '.join(remarks)})" if remarks else ""
    return f"✓ “{shown}”  {place(quote.path, quote.line, page_label(quote.page_kind, quote.page))}{remark}"


def prompt_json(prompt: "Prompt") -> dict[str, Any]:
    """A prompt and its sources for `--json`."""
    grounding = prompt.grounding
    return {
        "prompt": prompt.text,
        "prompt_tokens": len(prompt.ids),
        "answer_tokens": prompt.answer_tokens,
        "context_length": prompt.context_length,
        "sources": [] if grounding is None else [asdict(source) for source in grounding.sources],
        "passage_tokens": 0 if grounding is None else grounding.tokens,
        "passage_budget": 0 if grounding is None else grounding.budget,
        "doubt": "" if grounding is None else grounding.doubt,
    }
