"""Weights that were written in the other byte order, told by numbers that make sense only the other way round.

Safetensors and torch files are little-endian by definition, so nothing in them says that a tool got it wrong. Read as
they stand, such weights are a mix of 1e-40 and 1e38, and often finite.
"""

import numpy as np

from convert.sources.containers import Checkpoint
from convert.sources.weight_file import Float32Array
from mlx_mixer.errors import ConversionError

# Trained weights and those of a fresh network lie well within; those of a half are bounded by its exponent.
_ORDINARY = {"F32": (1e-12, 1e6), "BF16": (1e-12, 1e6), "F16": (6e-5, 64.0)}
# A few norms and biases tell.
_MAX_SIZE = 1 << 16
_MAX_TENSORS = 8
_MANY, _FEW = 0.2, 0.05


def refuse_swapped(checkpoint: Checkpoint) -> None:
    """Refuse a checkpoint whose numbers are absurd as they stand and ordinary in the other byte order.

    Raises:
        ConversionError: If it is one.
    """
    small = [
        name for name, info in checkpoint.tensors.items() if info.dtype in _ORDINARY and 0 < info.size <= _MAX_SIZE
    ]
    read = swapped = 0.0
    names = sorted(small, key=lambda name: (checkpoint.tensors[name].size, name))[-_MAX_TENSORS:]
    for name in names:
        array, dtype = checkpoint.read(name), checkpoint.tensors[name].dtype
        read += _absurd_share(array, dtype)
        swapped += _absurd_share(other_order(array, dtype), dtype)
    if names and read > _MANY * len(names) and swapped < _FEW * len(names):
        raise ConversionError(
            f"the numbers in {checkpoint.files[0].path.name} are absurd as they stand and ordinary in the other byte "
            "order; save the checkpoint again in little-endian order, which these formats ask for"
        )


def other_order(array: Float32Array, dtype: str) -> Float32Array:
    """What numbers of a stored type would be, had their bytes been reversed."""
    match dtype:
        case "F32":
            return array.byteswap()
        case "F16":
            return array.astype("<f2").byteswap().astype(np.float32)
    halves = (array.view(np.uint32) >> 16).astype(np.uint16).byteswap()
    return (halves.astype(np.uint32) << 16).view(np.float32)


def _absurd_share(array: Float32Array, dtype: str) -> float:
    least, greatest = _ORDINARY[dtype]
    with np.errstate(invalid="ignore"):
        size = np.abs(array[array != 0])
        return float((~((size >= least) & (size <= greatest))).mean()) if size.size else 0.0
