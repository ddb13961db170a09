"""Log-softmax of a row of logits without paying for every exponential on a CPU."""

import mlx.core as mx

from mlx_mixer.kernels.gelu import exp_of_negative


def log_softmax(logits: mx.array) -> mx.array:
    r"""Log-probabilities :math:`z_i - \log \sum_j e^{z_j}` over the last axis.

    On a CPU the exponentials come from multiplications (see `mlx_mixer.kernels.gelu`). Their relative error of 2e-4
    moves every log-probability of a row by the same amount, at most 2e-4, and so changes nothing that is sampled.

    Args:
        logits: ``(..., V)``, float32.

    Returns:
        An array like `logits`.
    """
    if logits.dtype != mx.float32 or mx.default_device() != mx.cpu:
        return logits - mx.logsumexp(logits, axis=-1, keepdims=True)
    return _log_softmax(logits)


@mx.compile
def _log_softmax(logits: mx.array) -> mx.array:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - mx.log(exp_of_negative(shifted).sum(axis=-1, keepdims=True))
