"""Proof that a model folder that was written anew computes what the folder it was made of does."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from convert.proof.converted_model import converted_model
from convert.proof.inputs import fixed_inputs
from convert.proof.rules import allowances, perplexity
from convert.proof.verify import VerifyReport
from mlx_mixer.checkpoint import load_config
from mlx_mixer.config import LanguageMixerConfig
from mlx_mixer.errors import ConversionError
from mlx_mixer.model_configs.autoencoding import AutoencodingMixerConfig
from mlx_mixer.model_configs.bidirectional import BidirectionalMixerConfig
from mlx_mixer.model_configs.kinds import ModelConfig


def verify_rewrite(source: Path, folder: Path) -> VerifyReport:
    """Compare the scores of two model folders on fixed inputs.

    Args:
        source: The folder that was read.
        folder: The folder that was written.

    Raises:
        ConversionError: If they differ by more than rounding explains.
    """
    config = load_config(folder)
    inputs = fixed_inputs(source, config)
    with converted_model(source) as model:
        want = model.scores(inputs).astype(np.float64)
    with converted_model(folder) as model:
        got = model.scores(inputs)
    if not np.isfinite(got).all():
        raise ConversionError("the new model computes NaN or infinite values; give --dtype bfloat16 or float32")
    allowed = allowances(folder, quantized=config.quantization is not None).scores
    error = allowed.error_of(want, got)
    before, after = _perplexities(want, got, inputs, config)
    is_far = before is not None and after is not None and not allowed.allows(before, after)
    if error > allowed.error or is_far:
        what = (
            f"perplexity {before:.4g} became {after:.4g}" if is_far else f"scores differ by {error:.1e} of their scale"
        )
        raise ConversionError(
            f"the new model is not its source: {what}; that is more than rounding explains (--no-verify lets it pass)"
        )
    return VerifyReport(
        max_error=error,
        tolerance=allowed.error,
        positions=inputs.shape[1],
        perplexity_source=before,
        perplexity_converted=after,
    )


def _perplexities(
    want: npt.NDArray[Any], got: npt.NDArray[Any], ids: npt.NDArray[Any], config: ModelConfig
) -> tuple[float | None, float | None]:
    match config:
        case LanguageMixerConfig() | BidirectionalMixerConfig():
            shift = 1
        case AutoencodingMixerConfig() if config.num_decoder_layers:
            shift = 0  # it writes the token at its own position
        case _:
            return None, None
    length = ids.shape[1] - shift
    if length == 0:
        return None, None
    # The last row is that of a text, if there is one.
    before, after = (perplexity(logits[-1:, :length], ids[-1:, shift:]) for logits in (want, got))
    return before, after
