"""In which order the numbers of a matrix lie in memory, for the matrix-vector products of decoding."""

import mlx.core as mx
from mlx import nn


def lay_out_for_decode(model: nn.Module) -> None:
    """Let the longer axis of every linear map's matrix be the contiguous one, on a CPU.

    A matrix-vector product then runs at the speed of memory. Measured with MKL on two cores: of 12.2 GB/s that one
    large product reads, a 2,048 x 512 matrix in rows of 512 reaches 8.2 and in columns of 2,048 it reaches 12.0; a
    512 x 2,048 matrix 12.7 in rows and 8.7 in columns. Products of many rows take the same time either way. Shapes
    and values stay as they are, and embeddings too, of which single rows are looked up. On a GPU nothing is done.
    """
    if mx.default_device() != mx.cpu:
        return
    for module in model.modules():
        if type(module) is nn.Linear:
            outputs, inputs = module.weight.shape
            if outputs > inputs:
                module.weight = mx.contiguous(module.weight.T).T
