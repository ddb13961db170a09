"""What the keys of a checkpoint leave open, and which hints would tell it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from convert.families.family import Evidence
from convert.families.structured import mixing_length, possible_kinds, token_mixing_block
from convert.families.structured_config import decay_constant
from convert.sources.weight_file import TensorInfo

_PROJECTION = "projection.weight"


@dataclass(frozen=True, kw_only=True)
class Question:
    """One thing that only the user can tell.

    Attributes:
        hint: Name of the hint that tells it.
        allowed: Its values, or in words what they may be.
        assumed: What is taken where nothing is said; None where nothing can be.
        is_required: Whether the conversion needs it.
        why: What depends on it.
        told: What the user said.
    """

    hint: str
    allowed: tuple[str, ...]
    why: str
    assumed: str | float | bool | None = None
    is_required: bool = False
    told: Any = None  # a value of whatever type the hint has

    @property
    def is_open(self) -> bool:
        """Whether the conversion cannot go on without an answer."""
        return self.is_required and self.told is None

    @property
    def option(self) -> str:
        """How it is told on the command line."""
        return f"--{self.hint.replace('_', '-')}"

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "hint": self.hint,
            "option": self.option,
            "allowed": list(self.allowed),
            "assumed": self.assumed,
            "told": self.told,
            "required": self.is_required,
            "why": self.why,
        }


def structural_questions(evidence: Evidence) -> tuple[Question, ...]:
    """What the network is, as far as the file does not say."""
    if {"input_layer.weight", "output_layer.weight"} & evidence.tensors.keys():
        return _of_structured(evidence)
    if any(name.startswith("encoderblocks.") for name in evidence.tensors):
        return _of_autoencoder(evidence)
    return ()


def usage_questions(evidence: Evidence, *, has_words: bool, has_tokenizer: bool, embeds: bool) -> tuple[Question, ...]:
    """What the network was trained on, which no file says.

    Args:
        evidence: The tensors and what was told.
        has_words: Whether it reads tokens.
        has_tokenizer: Whether a tokenizer was found.
        embeds: Whether where texts were padded matters, because it may embed them.
    """
    hints, questions = evidence.hints, []
    if has_words and (hints.tokenizer is not None or not has_tokenizer):
        why = "with which words the model is used"
        questions.append(
            Question(
                hint="tokenizer",
                allowed=("a path",),
                why=why,
                told=None if not hints.tokenizer else str(hints.tokenizer),
            )
        )
    if has_words and embeds:
        questions += [
            Question(
                hint="padding_side", allowed=("left", "right"), why="how a text is embedded", told=hints.padding_side
            ),
            Question(
                hint="pad_token_id",
                allowed=("a token id",),
                why="with which id texts were padded",
                told=hints.pad_token_id,
            ),
            Question(
                hint="embedding_position",
                allowed=("a position, such as -2",),
                why="which hidden state is the embedding of a text",
                told=hints.embedding_position,
            ),
        ]
    return tuple(questions)


def _of_structured(evidence: Evidence) -> tuple[Question, ...]:
    block, hints = token_mixing_block(evidence.tensors), evidence.hints
    kinds = possible_kinds(block)
    questions = []
    if len(kinds) > 1:
        questions.append(
            Question(
                hint="mixer",
                allowed=kinds,
                why="how tokens are mixed: these kinds have the same keys",
                is_required=True,
                told=hints.mixer,
            )
        )
    if kinds and _has(block, "decay_value"):
        kind = next((kind for kind in kinds if kind == hints.mixer), kinds[0])
        questions.append(
            Question(
                hint="decay_constant",
                allowed=("a number above 0",),
                why="how fast earlier tokens fade",
                assumed=decay_constant(kind, mixing_length(block), None),
                told=hints.decay_constant,
            )
        )
    if kinds == ("parallel_heads",) and "in_proj.weight" in block:
        questions.append(
            Question(
                hint="use_projections",
                allowed=("true", "false"),
                why="whether the stored projections of the heads were used",
                assumed=True,
                told=hints.use_projections,
            )
        )
    return tuple(questions)


def _of_autoencoder(evidence: Evidence) -> tuple[Question, ...]:
    if _PROJECTION not in evidence.tensors and not evidence.is_wrapped:
        return ()
    # Only the encoder of a wrapped one took part in training; who does not ask for more gets that.
    return (
        Question(
            hint="decoder_input",
            allowed=("unroll", "repeat") if _PROJECTION in evidence.tensors else ("repeat",),
            why="what the decoder reads" if not evidence.is_wrapped else "what the decoder reads, if it is wanted",
            is_required=not evidence.is_wrapped,
            told=evidence.hints.decoder_input,
        ),
    )


def _has(block: Mapping[str, TensorInfo], ending: str) -> bool:
    return any(name.endswith(ending) for name in block)
