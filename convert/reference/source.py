"""Tensors under upstream names, read one at a time."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np

from convert.reference.arithmetic import Weights
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

    def read(self, *names: str) -> Weights:
        """The first of these tensors that there is: revisions named some differently.

        Raises:
            ConversionError: If there is none.
        """
        for name in names:
            if name in self.names:
                return self.load(name)
        raise ConversionError(f"the checkpoint lacks {names[0]}, which its own forward pass reads")

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
