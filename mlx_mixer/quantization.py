r"""Models whose large matrices are held in fewer bits.

The maps over features and the token tables are quantised as MLX does it: each group of neighbouring values of a row
shares a scale s and an offset o, and a value is :math:`s q + o` with a whole number q of 4 or 8 bits. Mixing matrices,
norms and biases keep their values: decoding reads only a few rows of the mixing matrices, so nothing would be won.

On a CPU, MLX's quantised and half-precision products run at a tenth of the speed of float32 ones or less, so
`mlx_mixer.load_model` unpacks there.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace

import mlx.core as mx
from mlx import nn
from mlx.utils import tree_flatten

from mlx_mixer.config_fields import Quantization
from mlx_mixer.errors import UsageError
from mlx_mixer.model_configs.kinds import ModelConfig
from mlx_mixer.models.kinds import Model

# What a user may ask for; models of other widths, made by other tools, are read too.
BITS = (4, 8)
GROUP_SIZES = (128, 64, 32)
# A matrix of a few rows saves nothing.
FEWEST_ROWS = 8
# Powers of a factor near one are soon off when it is rounded, and there are only a few of them.
NEVER_ROUNDED = ".decay"


def choose_quantization(config: ModelConfig, bits: int) -> Quantization:
    """How a model is quantised: with the largest groups that its width divides into.

    Raises:
        UsageError: If `bits` is none of `BITS`, or the width divides into no groups.
    """
    if bits not in BITS:
        raise UsageError(f"{bits} bits were asked for; models are quantised to {' or '.join(map(str, BITS))}")
    if config.quantization is not None:
        raise UsageError(f"the model is quantised already, to {config.quantization.bits} bits")
    for size in GROUP_SIZES:
        if config.hidden_size % size == 0:
            return Quantization(bits=bits, group_size=size)
    raise UsageError(
        f"hidden_size is {config.hidden_size}, which does not divide into groups of {GROUP_SIZES[-1]}, so the model "
        "cannot be quantised; store it in half precision instead: --dtype float16"
    )


def quantized_matrices(model: nn.Module, quantization: Quantization) -> frozenset[str]:
    """Names of the modules whose weights are quantised: linear maps and token tables whose rows divide into groups."""
    return frozenset(
        path
        for path, module in model.named_modules()
        if isinstance(module, nn.Linear | nn.Embedding)
        and module.weight.shape[1] % quantization.group_size == 0
        and module.weight.shape[0] >= FEWEST_ROWS
    )


def quantize_modules(model: nn.Module, quantization: Quantization, paths: Collection[str]) -> None:
    """Put MLX's quantised modules in the place of the named ones."""
    nn.quantize(
        model,
        quantization.group_size,
        quantization.bits,
        mode=quantization.mode,
        class_predicate=lambda path, _: path in paths,
    )


def quantize_model(model: Model, bits: int) -> None:
    """Quantise a model in place; scales and offsets take the dtype of the weights.

    Raises:
        UsageError: See `choose_quantization`.
    """
    quantization = choose_quantization(model.config, bits)
    quantize_modules(model, quantization, quantized_matrices(model, quantization))
    # Each kind of config stays of its kind.
    model.config = replace(model.config, quantization=quantization)


def cast_model(model: Model, dtype: mx.Dtype) -> None:
    """Hold a model's weights in another dtype, in place, save for those that must not be rounded.

    Raises:
        UsageError: If the model is quantised.
    """
    if model.config.quantization is not None:
        raise UsageError("a quantised model cannot be cast; cast it first and quantise it then")
    weights: list[tuple[str, mx.array]] = tree_flatten(model.parameters())  # type: ignore[assignment]  # no destination
    model.load_weights([(name, array if is_never_rounded(name) else array.astype(dtype)) for name, array in weights])


def is_never_rounded(name: str) -> bool:
    """Whether a parameter is kept in float32 whatever the dtype of the others."""
    return name.endswith(NEVER_ROUNDED)


def dequantize(packed: mx.array, scales: mx.array, biases: mx.array, quantization: Quantization) -> mx.array:
    """Rows of a quantised matrix as float32, without rounding them to the dtype of the scales.

    Args:
        packed: ``(rows, columns * bits / 32)`` of uint32.
        scales: ``(rows, columns / group_size)``.
        biases: The offsets, like `scales`.
        quantization: How they were made.

    Returns:
        ``(rows, columns)`` float32.
    """
    return mx.dequantize(
        packed,
        scales.astype(mx.float32),
        biases.astype(mx.float32),
        group_size=quantization.group_size,
        bits=quantization.bits,
        mode=quantization.mode,
    )


def dequantize_weights(weights: Mapping[str, mx.array], quantization: Quantization) -> dict[str, mx.array]:
    """Named weights with every quantised matrix unpacked to float32, and the others as they are."""
    unpacked = dict(weights)
    for path in stored_quantized(weights):
        packed, scales, biases = (unpacked.pop(f"{path}.{part}") for part in ("weight", "scales", "biases"))
        unpacked[f"{path}.weight"] = dequantize(packed, scales, biases, quantization)
    return unpacked


def stored_quantized(names: Collection[str]) -> frozenset[str]:
    """Names of the modules whose weights are stored quantised, told by their scales, as mlx-lm tells them."""
    paths = (name.removesuffix(".scales") for name in names if name.endswith(".scales"))
    return frozenset(path for path in paths if all(f"{path}.{part}" in names for part in ("weight", "biases")))


def is_unpacked_on(device: mx.Device) -> bool:
    """Whether `mlx_mixer.load_model` holds weights in float32 on a device, however they are stored."""
    return bool(device == mx.cpu)


def holding(device: mx.Device) -> str:
    """One line for people: how models are held on a device."""
    if is_unpacked_on(device):
        return "held in float32, however they are stored: half precision and quantised products are slow on a CPU"
    return "held as they are stored"
