"""The README of a checkpoint that was written for PyTorch."""

import json
from typing import Any

from convert.upstream.form import UpstreamForm
from mlx_mixer.model_configs.kinds import ModelConfig
from mlx_mixer.safe_text import safe_line

# Where the class of each family stands; see arXiv 2409.01482.
MM, ME, SRM = "blbadger/maskedmixers", "blbadger/memorymodels", "blbadger/mrm"
UPSTREAM = {
    "flat": (MM, "LanguageMixer in mixer_lm/mixer_trainer_fineweb.py"),
    "kernel": (ME, "LanguageMixer in memorymodels/mixer_clm.py, with kernel"),
    "expanded": (MM, "LanguageMixer in src/utilities/mixer_models.py, or with biases in mixer_lm/custom_trainer.py"),
    "headed": (ME, "LanguageMixer in memorymodels/mixer_clm_compiled.py, with n_heads"),
    "headed_legacy": (ME, "MultiHeadedMixer in memorymodels/mixer_multiconv.py, with two heads"),
    "near_linear": (MM, "NearLinearMixer in mixer_lm/linear_mixer.py"),
    "linear": (MM, "LinearMixer in mixer_lm/linear_mixer.py"),
    "autoencoder": (ME, "AutoencodingMixer in memorymodels/mixer_autoencoder.py"),
    "infonce_autoencoder": (MM, "RetrievalAutoencoder in mixer_lm/infonce_retrieval.py"),
    "retrieval_mixer": (MM, "RetrievalMixer in mixer_lm/fineweb_retrieval.py"),
    "double": (MM, "LanguageMixer in mixer_lm/bidirectional_mixer.py"),
    "srm": (SRM, "MLPMixer in mrm/repeat_main.py"),
}


def torch_card(name: str, config: ModelConfig, form: UpstreamForm) -> str:
    """What the checkpoint is, as Markdown.

    Args:
        name: Of the model folder it was made of.
        config: Of that model.
        form: The upstream network.
    """
    repository, module = UPSTREAM[form.family]
    provenance = config.provenance
    lines = [
        f"# {_plain(name)}, for PyTorch",
        "",
        f"A masked mixer (arXiv 2409.01482) of family `{form.family}`, written by mlx-mixer from its own model folder.",
        f"`model.safetensors` has the names and layouts of [{repository}](https://github.com/{repository}): {module}.",
        "",
        "```python",
        "from safetensors.torch import load_file",
        'model.load_state_dict(load_file("model.safetensors"))',
        "```",
        "",
        "- Every tensor has the bits that the model folder holds.",
        "- Above the diagonal of mixing matrices is zero: the network masks it before every use.",
        *_family_notes(form.family),
        *([] if provenance is None else [f"- The model folder was made from `{_plain(provenance.source)}`."]),
        *(
            []
            if provenance is None
            else [f"  sha256 of `{_plain(file)}`: `{_plain(digest)}`" for file, digest in provenance.sha256.items()]
        ),
        "",
        "To convert it again:",
        "",
        "```",
        f"mlx-mixer convert . --out MODEL{_options(form.hints)}",
        "```",
        "",
        "Sizes:",
        "",
        "```json",
        json.dumps({key: value for key, value in config.to_dict().items() if key != "provenance"}, indent=2),
        "```",
        "",
    ]
    return "\n".join(lines)


def _family_notes(family: str) -> list[str]:
    if family == "headed_legacy":
        return [
            "- Heads of this generation all compute the same, so they are written as two: the one convolution twice,",
            "  the sum of the output blocks and zeros. `proj_head` is never read, so it is not there: load with",
            "  `strict=False`.",
        ]
    if family == "infonce_autoencoder":
        return ["- Only the encoder is here; load it with `strict=False`."]
    return []


def _options(hints: dict[str, Any]) -> str:
    return "".join(f" --{name.replace('_', '-')} {value}" for name, value in hints.items())


def _plain(text: str) -> str:
    """Foreign text within a line of Markdown."""
    return safe_line(text).replace("`", "'")
