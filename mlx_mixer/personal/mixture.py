r"""Models between an old one and the one that was trained from it.

.. math:: \theta_a = (1 - a) \, \theta_{old} + a \, \theta_{new}

A mixture often finds more than either end, on the new documents and on others: training forgets less than it learns.
Source: https://arxiv.org/abs/2109.01903 (WiSE-FT).
"""

import shutil
from pathlib import Path

import mlx.core as mx
from mlx.utils import tree_flatten, tree_unflatten

from mlx_mixer.checkpoint import load_language_model, save_model
from mlx_mixer.training.model_folder import TOKENIZER_FILES

SHARES = (0.25, 0.5, 0.75, 1.0)
"""Shares `a` of the new model that are tried."""


def write_mixture(old: Path, new: Path, share: float, out: Path) -> None:
    """Write the mixture of two model folders of the same shape into an empty folder, weights in float16.

    Args:
        old: The model that training started from.
        new: What it ended with; its config is written.
        share: Of the new one.
        out: The folder.
    """
    before = dict(tree_flatten(load_language_model(old, as_stored=False).parameters()))
    model = load_language_model(new, as_stored=False)
    after: dict[str, mx.array] = dict(tree_flatten(model.parameters()))
    model.update(tree_unflatten([(name, (1 - share) * before[name] + share * after[name]) for name in after]))
    model.set_dtype(mx.float16)
    for name in TOKENIZER_FILES:
        if (old / name).is_file():
            shutil.copyfile(old / name, out / name)
    save_model(out, model)
