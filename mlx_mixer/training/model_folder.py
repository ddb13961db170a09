"""A finished run becomes a model folder."""

import shutil
from pathlib import Path

import mlx.core as mx

from mlx_mixer.checkpoint import CONFIG_NAME, save_model
from mlx_mixer.model_configs.kinds import ModelConfig
from mlx_mixer.models.kinds import Model
from mlx_mixer.training.run_folder import RunFolder

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "tokenizer.model")


def write_model(
    folder: RunFolder,
    model: Model,
    tokenizer: Path | None,
    *,
    config: ModelConfig | None = None,
    half: bool = False,
) -> None:
    """Write a trained model beside its log and drop what only resuming needed.

    Args:
        folder: Where the run was.
        model: The trained model.
        tokenizer: Folder whose tokenizer files are copied; None for a model that sees no words.
        config: Written instead of the model's own.
        half: Write the weights in float16 instead of float32, which halves the file.
    """
    if not folder.ranks.is_first:
        return
    if half:
        model.set_dtype(mx.float16)
    with folder.writing():
        if tokenizer is not None:
            for name in TOKENIZER_FILES:
                if (tokenizer / name).is_file():
                    shutil.copyfile(tokenizer / name, folder.path / name)
        try:
            # config.json is written last of all, and without it a folder is no model.
            save_model(folder.path, model, config=config)
        except BaseException:
            (folder.path / CONFIG_NAME).unlink(missing_ok=True)
            raise
        folder.finish()
