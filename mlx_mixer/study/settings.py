"""What can be chosen in each study, with the values of a full and of a quick run; imports nothing heavy."""

from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, Self

from mlx_mixer.errors import UsageError

MIXER, LLAMA = "mixer", "llama"
NAMES = (MIXER, LLAMA)

EqualBy = Literal["time", "flops", "tokens"]


def setting(full: Any, quick: Any, about: str) -> Any:  # a field's default has the type of the field
    """A field with a default, the value of a quick run, and a line of help."""
    return field(default=full, metadata={"quick": quick, "help": about})


@dataclass(frozen=True, kw_only=True)
class StudySettings:
    """What all studies share.

    Attributes:
        hidden_size: Width of both models, D.
        num_layers: Blocks of both models.
        num_heads: Heads of the Llama; a masked mixer needs none.
        vocab_size: Pieces of the tokenizer, which is learned from the training texts.
        characters: At most so much text is used.
        tokens_per_batch: Positions of a training batch.
        seconds: Training time that a contender may use, on this machine, for each model it trains.
        equal_by: What is made equal: "time" (measured step times), "flops" (of matrix products) or "tokens".
        sweep_share: Length of a trial of one learning rate, as a share of the training itself.
        seed: Decides every random choice.
    """

    hidden_size: int = setting(128, 48, "Width of both models.")
    num_layers: int = setting(4, 2, "Blocks of both models.")
    num_heads: int = setting(4, 2, "Heads of the Llama.")
    vocab_size: int = setting(2048, 512, "Pieces of the tokenizer, learned from the training texts.")
    characters: int = setting(6_000_000, 300_000, "Use so many characters of text at most.")
    tokens_per_batch: int = setting(2048, 1024, "Positions of a training batch.")
    seconds: float = setting(80.0, 1.0, "Training time of each model, in seconds on this machine.")
    equal_by: EqualBy = setting("time", "time", "What both models get the same amount of: time, flops or tokens.")
    sweep_share: float = setting(0.2, 0.2, "Length of a trial of one learning rate, as a share of a training.")
    seed: int = setting(0, 0, "Decides every random choice.")

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, int | float) and item.name != "seed" and not value > 0:
                raise UsageError(f"{item.name} is {value}; it must be above 0")
        if self.hidden_size % (2 * self.num_heads):
            raise UsageError(
                f"hidden_size is {self.hidden_size}; it must be a multiple of twice num_heads ({self.num_heads}), "
                "which rotary positions need"
            )
        if self.sweep_share > 1:
            raise UsageError(f"sweep_share is {self.sweep_share}; a trial is at most as long as the training, 1")

    @classmethod
    def quick(cls) -> Self:
        """Values that finish in about a minute and show that everything works, not more."""
        return replace(cls(), **{item.name: item.metadata["quick"] for item in fields(cls)})


def resized(name: str, full: Any, quick: Any) -> Any:  # as `setting`
    """A setting of all studies with other values in one of them."""
    return setting(full, quick, StudySettings.__dataclass_fields__[name].metadata["help"])


@dataclass(frozen=True, kw_only=True)
class RecoverySettings(StudySettings):
    """What can be chosen in the study of input recovery.

    Attributes:
        context_length: Tokens of an input.
        inputs: Inputs to recover.
        trial_inputs: Inputs on which step sizes are tried.
        iterations: Steps of gradient descent; the paper takes 500.
    """

    seconds: float = resized("seconds", 60.0, 1.0)
    context_length: int = setting(32, 16, "Tokens of an input.")
    inputs: int = setting(12, 4, "Inputs to recover.")
    trial_inputs: int = setting(3, 2, "Inputs on which step sizes are tried.")
    iterations: int = setting(500, 30, "Steps of gradient descent on an input.")


@dataclass(frozen=True, kw_only=True)
class LearningSettings(StudySettings):
    """What can be chosen in the study of next-token learning.

    Attributes:
        context_lengths: Windows to train on, one pair of models for each.
    """

    context_lengths: tuple[int, ...] = setting((32, 128, 512), (32, 128), "Windows to train on, in tokens.")


@dataclass(frozen=True, kw_only=True)
class RetrievalSettings(StudySettings):
    """What can be chosen in the study of retrieval; its models are small, for InfoNCE learns nothing in few steps.

    Attributes:
        context_length: Tokens of a passage, longer ones are cut.
        query_length: Tokens of a query, longer ones are cut.
        candidates: Passages a query chooses from.
        direct_slots: Candidates that the retrieval mixer over frozen embeddings is trained for, one model for each.
        queries: Queries per figure, at least.
        sets_per_batch: Queries with their candidates in a batch of the direct retrieval mixer.
        pairs_per_batch: Pairs of an InfoNCE batch.
        temperature: Of InfoNCE; the paper takes 0.02.
    """

    hidden_size: int = resized("hidden_size", 64, 48)
    num_layers: int = resized("num_layers", 2, 2)
    vocab_size: int = resized("vocab_size", 1024, 512)
    tokens_per_batch: int = resized("tokens_per_batch", 1024, 1024)
    seconds: float = resized("seconds", 100.0, 1.0)
    context_length: int = setting(64, 32, "Tokens of a passage; longer ones are cut.")
    query_length: int = setting(16, 16, "Tokens of a query; longer ones are cut.")
    candidates: tuple[int, ...] = setting(
        (32, 64, 128, 256, 512, 1024, 2048, 4096, 8192), (8, 32), "Passages to choose from, as far as the data goes."
    )
    direct_slots: tuple[int, ...] = setting((32, 128), (8,), "Candidates the direct retrieval mixers are trained for.")
    queries: int = setting(1000, 200, "Queries per figure, at least.")
    sets_per_batch: int = setting(32, 8, "Queries with their candidates in a batch of the direct retrieval mixer.")
    pairs_per_batch: int = setting(64, 16, "Pairs of an InfoNCE batch.")
    temperature: float = setting(0.02, 0.02, "Temperature of InfoNCE.")


@dataclass(frozen=True, kw_only=True)
class AutoencoderSettings(StudySettings):
    """What can be chosen in the study of autoencoders.

    Attributes:
        context_lengths: Windows to put into one vector, one pair of models for each.
    """

    seconds: float = resized("seconds", 120.0, 1.0)
    context_lengths: tuple[int, ...] = setting((32, 128), (16,), "Windows to put into one vector, in tokens.")
