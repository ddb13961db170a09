"""Tensors under upstream names, read one at a time."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np

from convert.proof.reference.arithmetic import Weights
from mlx_mixer.errors import ConversionError


@dataclass(frozen=True)
class Source:
    """The tensors of a checkpoint.

    Attributes:
        names: Of all of them, without wrapper prefixes.
        load: Reads one.
    """

    names: Collection[str]
    load: Callable[[str], Weights]

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def read(self, name: str) -> Weights:
        """One tensor.

        Raises:
            ConversionError: If there is none of this name.
        """
        if name not in self.names:
            raise ConversionError(f"the checkpoint lacks {name}, which its own forward pass reads")
        return self.load(name)

    def count(self, pattern: str) -> int:
        """How many of the names that a pattern with one hole gives for 0, 1, 2, ... there are."""
        count = 0
        while pattern.format(count) in self.names:
            count += 1
        return count

    def blocks(self, stack: str) -> int:
        """Number of blocks of a stack, such as "mixerblocks"."""
        return len({name.split(".")[1] for name in self.names if name.startswith(f"{stack}.")})

    def rows(self, name: str, ids: np.ndarray) -> np.ndarray:
        """Rows of a table, in float64."""
        return self.read(name)[ids].astype(np.float64)
