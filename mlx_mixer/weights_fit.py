"""A first look at stored weights, before the model that a config asks for is made."""

from collections.abc import Mapping

import mlx.core as mx

from mlx_mixer.model_configs.kinds import ModelConfig

# A count that is off by less is told better by the names and shapes that do not fit.
_TELLING_FACTOR = 2


def check_weights(config: ModelConfig, weights: Mapping[str, mx.array]) -> None:
    """Refuse weights that cannot be those of a config, without looking at names or reading values.

    Making a model of a thousand layers takes a second, and one of terabytes more memory than there is, so a small file
    must not ask for it.

    Raises:
        ValueError: If the config asks for many more values than are stored, or they are no real numbers.
    """
    packed_bits = 32 if config.quantization is None else config.quantization.bits
    stored = sum(array.size * (32 // packed_bits if array.dtype == mx.uint32 else 1) for array in weights.values())
    if config.num_parameters > _TELLING_FACTOR * stored:
        raise ValueError(f"it asks for {config.num_parameters:,} values, and they are {stored:,}")
    for name, array in weights.items():
        is_packed = config.quantization is not None and array.dtype == mx.uint32
        if not (is_packed or mx.issubdtype(array.dtype, mx.floating)):
            raise ValueError(f"{name} is of type {array.dtype}")
