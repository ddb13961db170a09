"""What a user must tell the converter because a checkpoint does not hold it."""

import difflib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from mlx_mixer.errors import UsageError

MIXERS = (
    "flat",
    "expanded",
    "headed",
    "headed_legacy",
    "row",
    "col",
    "combined",
    "kernel_col",
    "toeplitz",
    "diag_row",
    "diag_col",
    "col_heads",
    "mixed_heads",
    "combined_heads",
    "parallel_heads",
    "diag_heads",
)


@dataclass(frozen=True, kw_only=True)
class Hints:
    """Facts about a checkpoint that its file does not hold; None where nothing was said.

    Attributes:
        mixer: Structure of the token mixing, where several share their keys; one of `MIXERS`.
        decoder_input: "repeat" or "unroll", for autoencoders.
        decay_constant: For structured recurrent mixers with decay.
        use_projections: Whether stored head projections are used, for parallel heads.
        padding_side: Where short training texts were padded, "left" or "right".
        embedding_position: Index of the hidden state that is the embedding of a text, such as -2.
        temperature: Of the contrastive loss an embedder was trained with; kept for information.
        pad_token_id: Id that training texts were padded with.
        tokenizer: File or folder of the tokenizer, where it does not lie beside the weights.
    """

    mixer: str | None = None
    decoder_input: Literal["repeat", "unroll"] | None = None
    decay_constant: float | None = None
    use_projections: bool | None = None
    padding_side: Literal["left", "right"] | None = None
    embedding_position: int | None = None
    temperature: float | None = None
    pad_token_id: int | None = None
    tokenizer: str | Path | None = None

    def __post_init__(self) -> None:
        if self.mixer is not None and "softmax" not in str(self.mixer):
            _check_choice("mixer", self.mixer, MIXERS)
        _check_choice("decoder_input", self.decoder_input, ("repeat", "unroll"))
        _check_choice("padding_side", self.padding_side, ("left", "right"))
        _check_choice("use_projections", self.use_projections, (True, False))
        for name in ("embedding_position", "pad_token_id"):
            value = getattr(self, name)
            if value is not None and type(value) is not int:
                raise UsageError(f"hint {name} is {value!r}; it must be a whole number")
        for name in ("decay_constant", "temperature"):
            value = getattr(self, name)
            if value is not None and not (type(value) in (int, float) and math.isfinite(value) and value > 0):
                raise UsageError(f"hint {name} is {value!r}; it must be a number above 0")
        if self.tokenizer is not None and not isinstance(self.tokenizer, str | Path):
            raise UsageError(f"hint tokenizer is {self.tokenizer!r}; it must be a path")

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> "Hints":
        """Check the names of hints.

        Raises:
            UsageError: For an unknown name (the nearest known one is named) or a bad value.
        """
        known = [field.name for field in fields(cls)]
        for name in values:
            if name not in known:
                nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
                advice = f"did you mean {nearest[0]!r}?" if nearest else f"known: {', '.join(known)}"
                raise UsageError(f"unknown hint {name!r}; {advice}")
        return cls(**values)

    def given(self) -> dict[str, Any]:
        """The hints that were given, as JSON values."""
        return {
            name: str(value) if isinstance(value, Path) else value
            for name, value in asdict(self).items()
            if value is not None
        }


def how_to_tell(name: str, value: str | None = None) -> str:
    """How a user gives a hint, in Python and on the command line, as the end of a message."""
    python, option = (f"={value!r}", f" {value}") if value else ("", "")
    return f"give the hint {name}{python} (--{name.replace('_', '-')}{option})"


def _check_choice(name: str, value: object, allowed: tuple[object, ...]) -> None:
    if value is not None and value not in allowed:
        raise UsageError(f"hint {name} is {value!r}; it must be one of {', '.join(map(str, allowed))}")
