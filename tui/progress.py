"""How far the writing of a text has come."""

from dataclasses import dataclass
from typing import Literal

FinishReason = Literal["stop", "length", "cancelled", "failed"]


@dataclass(frozen=True)
class WritingProgress:
    """How far one continuation has come.

    Attributes:
        prompt_tokens: Tokens of the text the model was given.
        tokens: Tokens written so far.
        tokens_per_second: Speed of writing, 0.0 until it is known.
        window_used: Positions of the context window in use.
        context_length: Positions there are.
        slides: How often the window has slid, that is, forgotten its oldest part.
    """

    prompt_tokens: int = 0
    tokens: int = 0
    tokens_per_second: float = 0.0
    window_used: int = 0
    context_length: int = 0
    slides: int = 0
