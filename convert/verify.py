"""Proof that a converted model computes what its source does.

The source's tensors, as they are stored upstream, go through an independent forward pass (`convert.reference`), and the
model folder through the product's own. Compared are

- the scores on fixed ids: logits, of a re-ranker the scores of its candidates, of an encoder alone its states;
- where those ids do not fill the window, every token mixing on a whole window of fixed noise;
- every token's vector, through its dot product with one fixed vector.

A difference is measured against the scale of what is compared, the largest absolute value in the source's result.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from convert.containers import Checkpoint
from convert.converted_model import ConvertedModel, converted_model
from convert.plan import Plan
from convert.reference.arithmetic import affine
from convert.reference.networks import Form, Network, network
from convert.reference.source import Source
from mlx_mixer.config import LanguageMixerConfig
from mlx_mixer.errors import ConversionError
from mlx_mixer.model_configs.autoencoding import AutoencodingMixerConfig
from mlx_mixer.model_configs.kinds import ModelConfig
from mlx_mixer.model_configs.retrieval import RetrievalMixerConfig
from mlx_mixer.safetensors_header import check_safetensors

# Positions of the compared text; whatever lies beyond them in the window is compared layer by layer.
POSITIONS = 32
# Largest difference that rounding explains, by the coarsest dtype of the folder, relative to the scale.
TOLERANCES = {"F32": 1e-4, "F16": 1e-2, "BF16": 5e-2}
QUANTIZED_TOLERANCE = 0.5
# Largest difference of perplexity that is not absurd, as a factor.
PERPLEXITY_FACTOR = {"rounded": 1.05, "quantized": 1.5}


@dataclass(frozen=True, kw_only=True)
class VerifyReport:
    """What a verification found.

    Attributes:
        max_error: Largest difference from the source, relative to the scale of what is compared.
        tolerance: What it may be.
        positions: Length of the compared ids.
        perplexity_source: Of the source on those ids; `None` for models that predict no tokens.
        perplexity_converted: Of the converted model on the same ids.
    """

    max_error: float
    tolerance: float
    positions: int
    perplexity_source: float | None
    perplexity_converted: float | None


class Comparison(NamedTuple):
    """One result of the source and of the converted model."""

    what: str
    source: npt.NDArray[np.float64]
    converted: npt.NDArray[np.float32]


def verify_conversion(folder: Path, checkpoint: Checkpoint, plan: Plan, *, quantized: bool) -> VerifyReport:
    """Compare a model folder with the checkpoint it was made of.

    Args:
        folder: The finished folder.
        checkpoint: Open for reading.
        plan: What the conversion did.
        quantized: Whether the folder's weights are quantised.

    Raises:
        ConversionError: If the two differ by more than rounding explains.
    """
    tolerance = QUANTIZED_TOLERANCE if quantized else TOLERANCES[_coarsest_dtype(folder)]
    reference = network(Source(checkpoint.tensors, checkpoint.read), _form(plan))
    inputs = fixed_inputs(plan.config)
    max_error = 0.0
    perplexities: tuple[float | None, float | None] = (None, None)
    with converted_model(folder) as converted:
        for comparison in _comparisons(reference, converted, inputs, plan.config):
            max_error = max(max_error, _checked_error(comparison, tolerance))
            if comparison.what == "logits":
                perplexities = _perplexities(comparison, inputs, plan.config)
    _check_perplexities(*perplexities, PERPLEXITY_FACTOR["quantized" if quantized else "rounded"])
    return VerifyReport(
        max_error=max_error,
        tolerance=tolerance,
        positions=inputs.shape[1],
        perplexity_source=perplexities[0],
        perplexity_converted=perplexities[1],
    )


def fixed_inputs(config: ModelConfig) -> npt.NDArray[np.int32] | npt.NDArray[np.float32]:
    """The ids ``(1, n)`` that a model is verified on, the same every time; of a re-ranker rows ``(1, m, d)``."""
    if isinstance(config, RetrievalMixerConfig):
        return _noise(config.context_length, config.hidden_size)
    length = min(config.context_length, POSITIONS)
    return np.random.default_rng(0).integers(0, config.vocab_size, (1, length), dtype=np.int32)


def _comparisons(
    reference: Network, converted: ConvertedModel, inputs: npt.NDArray[np.generic], config: ModelConfig
) -> Iterator[Comparison]:
    yield Comparison(reference.scores, reference.stages(inputs)[reference.scores], converted.scores(inputs))
    if inputs.shape[1] < config.context_length:
        noise = _noise(config.context_length, config.hidden_size)
        for (name, source), ours in zip(reference.mixings(), converted.mixings(), strict=True):
            yield Comparison(f"the token mixing of {name}", source(noise.astype(np.float64)), ours(noise))
    if reference.table is not None:
        direction = _noise(1, config.hidden_size)[0, 0]
        yield Comparison(
            "token vectors",
            affine(direction.astype(np.float64), reference.table()),
            converted.projected_table(direction),
        )


def _noise(length: int, dims: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal((1, length, dims), dtype=np.float32)


def _form(plan: Plan) -> Form:
    form = Form(plan.family.name, plan.family.mixer)
    match plan.config:
        case LanguageMixerConfig(decay_constant=constant, use_projections=uses_projections):
            return replace(form, decay_constant=constant, use_projections=uses_projections)
        case AutoencodingMixerConfig(decoder_input=decoder_input, embedding_position=position):
            return replace(form, decoder_input=decoder_input, embedding_position=position)
    return form


def _coarsest_dtype(folder: Path) -> str:
    found = {entry.dtype for file in folder.glob("*.safetensors") for entry in check_safetensors(file).entries.values()}
    return max(found & TOLERANCES.keys(), key=TOLERANCES.__getitem__, default="F32")


def _checked_error(comparison: Comparison, tolerance: float) -> float:
    what, source, converted = comparison
    if source.shape != converted.shape:
        raise ConversionError(f"the converted model's {what} have shape {converted.shape}; the source's {source.shape}")
    if not np.isfinite(converted).all() or not np.isfinite(source).all():
        raise ConversionError("the converted model computes NaN or infinite values; its weights are too large")
    scale = float(np.abs(source).max(initial=0.0))
    error = float(np.abs(converted - source).max(initial=0.0)) / max(scale, float(np.finfo(np.float32).tiny))
    if error > tolerance:
        raise ConversionError(
            f"the converted model is not the source: {what} differ by {error:.1e} of their scale, and rounding "
            f"explains at most {tolerance:.0e}; nothing was written"
        )
    return error


def _perplexities(
    comparison: Comparison, ids: npt.NDArray[np.generic], config: ModelConfig
) -> tuple[float | None, float | None]:
    # An autoencoder writes the token at its own position, the others the next one.
    shift = 0 if isinstance(config, AutoencodingMixerConfig) else 1
    if ids.shape[1] <= shift:
        return None, None
    of_source, of_converted = (
        perplexity(logits[:, : ids.shape[1] - shift].astype(np.float64), ids[:, shift:])
        for logits in (comparison.source, comparison.converted)
    )
    return of_source, of_converted


def perplexity(logits: npt.NDArray[np.float64], targets: npt.NDArray[np.generic]) -> float:
    """Exponential of the mean cross-entropy of ``(B, n, V)`` logits against ``(B, n)`` ids."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    chosen = np.take_along_axis(shifted, targets[..., None].astype(np.int64), axis=-1)[..., 0]
    return math.exp(min(700.0, float((np.log(np.exp(shifted).sum(axis=-1)) - chosen).mean())))


def _check_perplexities(source: float | None, converted: float | None, factor: float) -> None:
    if source is None or converted is None:
        return
    if not source / factor <= converted <= source * factor:
        raise ConversionError(
            f"the converted model's perplexity is {converted:.4g} where the source's is {source:.4g}; at most a factor "
            f"of {factor} is allowed; nothing was written"
        )
