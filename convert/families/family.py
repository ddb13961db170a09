"""What a family is and is told by: its key table, and how a configuration follows from what the table found."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from convert.families.key_table import Match, Rule
from convert.hints import Hints
from convert.sources.weight_file import TensorInfo
from mlx_mixer.model_configs.kinds import ModelConfig

# Hints that say something about every model of tokens.
TOKEN_HINTS = ("mixer", "padding_side", "embedding_position", "temperature", "pad_token_id", "tokenizer")


@dataclass(frozen=True)
class Evidence:
    """What a family is told by.

    Attributes:
        tensors: Element type and shape by canonical name.
        hints: What the user told.
        is_wrapped: Whether the whole model was one attribute of another module.
    """

    tensors: Mapping[str, TensorInfo]
    hints: Hints
    is_wrapped: bool = False


@dataclass(frozen=True)
class Facts:
    """What is known of a checkpoint of a recognised family.

    Attributes:
        match: What the key table found.
        is_tied: Whether embedding and output head are one matrix.
        hints: What the user told.
    """

    match: Match
    is_tied: bool
    hints: Hints


@dataclass(frozen=True)
class Family:
    """A family that can be converted.

    Attributes:
        name: How reports call it.
        mixer: Its value of the `mixer` hint.
        rules: Key table of the whole network.
        make_config: From the facts to a configuration; raises `ConversionError` where sizes do not fit together.
        dropped: Stored tensors that its forward pass never uses.
        hints: Names of the hints that say something about it.
        notes: What the user should know about every conversion of it.
        embedding: Stored name of the embedding.
        head: Stored name of the output head.
    """

    name: str
    mixer: str
    rules: tuple[Rule, ...]
    make_config: Callable[[Facts], ModelConfig]
    dropped: tuple[str, ...] = ("wte_second.weight", "wte_second.bias")
    hints: tuple[str, ...] = TOKEN_HINTS
    notes: tuple[str, ...] = ()
    embedding: str = "wte.weight"
    head: str = "lm_head.weight"


@dataclass(frozen=True)
class Unsupported:
    """A family that is recognised and refused.

    Attributes:
        name: How it is called.
        what: What it is, as the end of "this is ...".
        advice: What to do instead.
    """

    name: str
    what: str
    advice: str


Verdict = Family | Unsupported
