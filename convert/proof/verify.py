"""Proof that a converted model computes what its source does.

The source's tensors, as they are stored upstream, go through an independent forward pass
(`convert.proof.reference`), and the model folder through the product's own. Compared are

- the scores on fixed ids: logits, of a re-ranker the scores of its candidates, of an encoder alone its states;
- where those ids do not fill the window, every token mixing on a whole window of fixed noise, because its weights for
  later positions have not been used by then;
- every token's vector, through its dot product with one fixed vector.

What may differ is stated in `convert.proof.rules`. The source is read one tensor at a time.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from convert.plan import Plan
from convert.proof.converted_model import ConvertedModel, converted_model
from convert.proof.inputs import direction, fixed_inputs, window_noise
from convert.proof.reference.arithmetic import affine
from convert.proof.reference.networks import Form, Network, network
from convert.proof.reference.source import Source
from convert.proof.rules import Allowance, Allowances, allowances, perplexity
from convert.sources.containers import Checkpoint
from mlx_mixer.config import LanguageMixerConfig
from mlx_mixer.errors import ConversionError
from mlx_mixer.model_configs.autoencoding import AutoencodingMixerConfig
from mlx_mixer.model_configs.kinds import ModelConfig

Perplexities = tuple[float | None, float | None]


@dataclass(frozen=True, kw_only=True)
class VerifyReport:
    """What a verification found.

    Attributes:
        max_error: Largest difference of anything compared, relative to its scale; see `convert.proof.rules`.
        tolerance: What it may be.
        positions: Length of the compared ids, or number of rows of a re-ranker.
        perplexity_source: Of the source on the compared ids, which are those of a text where there is a tokenizer;
            `None` for models that predict no tokens.
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
    allowed: Allowance


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
    allowed = allowances(folder, quantized=quantized)
    reference = network(Source(checkpoint.tensors, checkpoint.read), _form(plan))
    inputs = fixed_inputs(folder, plan.config)
    max_error = 0.0
    perplexities: Perplexities = (None, None)
    with converted_model(folder) as converted:
        for comparison in _comparisons(reference, converted, inputs, plan.config, allowed):
            max_error = max(max_error, _checked_error(comparison))
            if comparison.what == "logits":
                perplexities = _checked_perplexities(comparison, inputs, plan.config)
    return VerifyReport(
        max_error=max_error,
        tolerance=allowed.scores.error,
        positions=inputs.shape[1],
        perplexity_source=perplexities[0],
        perplexity_converted=perplexities[1],
    )


def _form(plan: Plan) -> Form:
    form = Form(plan.family.name, plan.family.mixer)
    match plan.config:
        case LanguageMixerConfig(decay_constant=constant, use_projections=uses_projections):
            return replace(form, decay_constant=constant, use_projections=uses_projections)
        case AutoencodingMixerConfig(decoder_input=decoder_input, embedding_position=position):
            return replace(form, decoder_input=decoder_input, embedding_position=position)
    return form


def _comparisons(
    reference: Network, converted: ConvertedModel, inputs: npt.NDArray[Any], config: ModelConfig, allowed: Allowances
) -> Iterator[Comparison]:
    scores = reference.stages(inputs)[reference.scores]
    yield Comparison(reference.scores, scores, converted.scores(inputs), allowed.scores)
    if inputs.shape[1] < config.context_length or not allowed.are_scores_enough:
        noise = window_noise(config)
        for (name, of_source), of_ours in zip(reference.mixings(), converted.mixings(), strict=True):
            yield Comparison(f"results of {name}", of_source(noise.astype(np.float64)), of_ours(noise), allowed.mixings)
    if reference.table is not None:
        vector = direction(config)
        products = affine(vector.astype(np.float64), reference.table())
        yield Comparison("token vectors", products, converted.projected_table(vector), allowed.scores)


def _checked_error(comparison: Comparison) -> float:
    what, source, converted, allowed = comparison
    if source.shape != converted.shape:
        raise ConversionError(f"the converted model's {what} have shape {converted.shape}; the source's {source.shape}")
    if not (np.isfinite(converted).all() and np.isfinite(source).all()):
        raise ConversionError("the converted model computes NaN or infinite values; its weights are too large")
    error = allowed.error_of(source, converted)
    if error > allowed.error:
        raise ConversionError(
            f"the converted model is not its source: {what} differ by {error:.1e} of their scale, where rounding "
            f"explains {allowed.error:.0e} at most"
        )
    return error


def _checked_perplexities(comparison: Comparison, ids: npt.NDArray[Any], config: ModelConfig) -> Perplexities:
    # An autoencoder writes the token at its own position, the others write the next one.
    shift = 0 if isinstance(config, AutoencodingMixerConfig) else 1
    length = ids.shape[1] - shift
    if length == 0:
        return None, None
    # The last row is that of a text, if there is one.
    source, converted = (
        perplexity(logits[-1:, :length], ids[-1:, shift:]) for logits in (comparison.source, comparison.converted)
    )
    if not comparison.allowed.allows(source, converted):
        raise ConversionError(
            f"the converted model's perplexity is {converted:.4g}, its source's {source:.4g}; a factor of "
            f"{comparison.allowed.perplexity_factor} is the most that quantising explains"
        )
    return source, converted
