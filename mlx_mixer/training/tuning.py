"""Which weights a run trains: all, the last blocks, or low-rank adapters."""

from dataclasses import dataclass
from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten

from mlx_mixer.errors import UsageError
from mlx_mixer.models.language import LanguageMixer
from mlx_mixer.training.lora import add_adapters


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """What is trained of a model that has learned already.

    Attributes:
        lora: Rank of adapters beside the linear maps of the blocks; 0 trains the weights themselves.
        last_layers: Blocks, counted from the end, that are trained; 0 is all, token vectors and head included.
    """

    lora: int = 0
    last_layers: int = 0

    def __post_init__(self) -> None:
        for name in ("lora", "last_layers"):
            if getattr(self, name) < 0:
                raise UsageError(f"{name} is {getattr(self, name)}; it must not be negative")

    @property
    def is_partial(self) -> bool:
        """Whether something stays as it is."""
        return bool(self.lora or self.last_layers)

    def apply(self, model: LanguageMixer) -> None:
        """Freeze what is not trained; with adapters, put them in place.

        Raises:
            UsageError: If the model has fewer blocks, or no linear maps where adapters are asked for.
        """
        if not self.is_partial:
            return
        count = len(model.layers)
        if self.last_layers > count:
            raise UsageError(f"last_layers is {self.last_layers}; the model has {count} blocks")
        model.freeze()
        chosen = model.layers[count - (self.last_layers or count) :]
        if not self.lora:
            for layer in chosen:
                layer.unfreeze()
        elif not sum([add_adapters(layer, self.lora) for layer in chosen]):
            raise UsageError("the model's blocks have no linear maps, which adapters stand beside; leave out lora")


def trained_share(model: LanguageMixer) -> tuple[int, int]:
    """How many numbers are trained, and how many there are."""
    return _size(model.trainable_parameters()), _size(model.parameters())


def _size(tree: Any) -> int:  # a tree of arrays has no useful type
    arrays: dict[str, mx.array] = dict(tree_flatten(tree))
    return sum(array.size for array in arrays.values())
