"""How far a converted model may be from its source before the conversion is refused.

Rounding alone moves scores by amounts that depend on what the weights are rounded to. Measured over all families, up to
32 blocks deep and 2048 positions long, as a part of the scale of the scores:

========= ================= =========
stored as largest           allowed
========= ================= =========
float32   7e-6              5e-5
float16   1e-3              5e-3
bfloat16  1e-2              4e-2
8 bits    0.014 (r.m.s.)    0.05
4 bits    0.25 (r.m.s.)     0.5
========= ================= =========

A wrong sign, axis, mask or order of layers moves them by 0.05 to 2. In full and half precision the largest difference
counts, so that one wrong row is enough; the scale is the largest absolute score. After quantising, the largest
difference says more about luck than about the weights, so root mean squares are compared, and perplexity decides too:
it may change by a tenth with 8 bits, and by a factor of 3 with 4. Trained models stay far below that; models of random
weights, of which the tests are made, come near. Mixing matrices are not quantised, so token mixings without projections
are held to the rule of their dtype even then.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mlx_mixer.checkpoint import load_config
from mlx_mixer.safetensors_header import check_safetensors

# By the coarsest dtype of the folder.
DTYPE_TOLERANCES = {"F32": 5e-5, "F16": 5e-3, "BF16": 4e-2}
# By whether there are more bits than 4: of scores, and of perplexity as a factor.
FINE_BITS, COARSE_BITS = (0.05, 1.1), (0.5, 3.0)


@dataclass(frozen=True)
class Allowance:
    """What is allowed.

    Attributes:
        error: Difference of scores, relative to their scale.
        perplexity_factor: By which perplexity may rise or fall; `None` where scores tell enough.
    """

    error: float
    perplexity_factor: float | None = None

    def error_of(self, source: npt.NDArray[np.float64], converted: npt.NDArray[Any]) -> float:
        """The difference of two results, relative to the scale of the first."""
        size = _largest if self.perplexity_factor is None else _root_mean_square
        return size(converted - source) / max(size(source), float(np.finfo(np.float32).tiny))

    def allows(self, perplexity_source: float, perplexity_converted: float) -> bool:
        """Whether a change of perplexity is allowed."""
        if self.perplexity_factor is None:
            return True
        return (
            perplexity_source / self.perplexity_factor
            <= perplexity_converted
            <= (perplexity_source * self.perplexity_factor)
        )


@dataclass(frozen=True)
class Allowances:
    """What is allowed for one model folder.

    Attributes:
        scores: For what a whole network answers, and for the vectors of tokens.
        mixings: For one token mixing.
        are_scores_enough: Whether token mixings need no look of their own where the compared ids fill the window.
    """

    scores: Allowance
    mixings: Allowance
    are_scores_enough: bool


def allowances(folder: Path, *, quantized: bool) -> Allowances:
    """What is allowed for a model folder, by how it stores its weights."""
    stored = {
        name: entry.dtype
        for file in folder.glob("*.safetensors")
        for name, entry in check_safetensors(file).entries.items()
    }
    coarsest = max(set(stored.values()) & DTYPE_TOLERANCES.keys(), key=DTYPE_TOLERANCES.__getitem__, default="F32")
    rounded = Allowance(DTYPE_TOLERANCES[coarsest])
    if not quantized:
        return Allowances(rounded, rounded, are_scores_enough=True)
    quantization = load_config(folder).quantization
    loose = Allowance(*(COARSE_BITS if quantization is None or quantization.bits <= 4 else FINE_BITS))
    has_quantised_mixings = any("token_mixing" in name and name.endswith(".scales") for name in stored)
    return Allowances(loose, loose if has_quantised_mixings else rounded, are_scores_enough=False)


def perplexity(logits: npt.NDArray[Any], targets: npt.NDArray[np.integer[Any]]) -> float:
    """Exponential of the mean cross-entropy of ``(B, n, V)`` logits against ``(B, n)`` ids."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    chosen = np.take_along_axis(shifted, targets[..., None].astype(np.int64), axis=-1)[..., 0]
    nats = float((np.log(np.exp(shifted).sum(axis=-1)) - chosen).mean())
    return math.exp(min(nats, 700.0))  # a float ends soon after


def _largest(array: npt.NDArray[Any]) -> float:
    return float(np.abs(array).max(initial=0.0))


def _root_mean_square(array: npt.NDArray[Any]) -> float:
    return math.sqrt(float((array.astype(np.float64) ** 2).mean())) if array.size else 0.0
