"""A finished run becomes a model folder."""

import json
import shutil
from pathlib import Path

import mlx.core as mx
from mlx.utils import tree_flatten

from mlx_mixer.checkpoint import CONFIG_NAME, save_model
from mlx_mixer.model_configs.kinds import ModelConfig
from mlx_mixer.models.kinds import Model
from mlx_mixer.training.card import card_markdown
from mlx_mixer.training.run_folder import RunFolder
from mlx_mixer.training.run_report import Figures, report_html
from mlx_mixer.word_tokenizer import WORDS_NAME, WordTokenizer, save_words

REPORT_NAME, SUMMARY_NAME, CARD_NAME = "training_report.html", "training_report.json", "README.md"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "tokenizer.model", WORDS_NAME)


def write_model(
    folder: RunFolder,
    model: Model,
    tokenizer: Path | None,
    *,
    config: ModelConfig | None = None,
    half: bool = False,
    figures: Figures = (),
    words: WordTokenizer | None = None,
) -> None:
    """Write a trained model beside its log and drop what only resuming needed.

    Args:
        folder: Where the run was.
        model: The trained model.
        tokenizer: Folder whose tokenizer files are copied; None for a model that sees no words.
        config: Written instead of the model's own.
        half: Write the weights in float16 instead of float32, which halves the file.
        figures: What was measured at the end, name to text, for the report and the card.
        words: Of a model that has vectors of words.
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
        if words is not None:
            save_words(folder.path, words)
        _write_reports(folder, model, config or model.config, figures)
        try:
            # config.json is written last of all, and without it a folder is no model.
            save_model(folder.path, model, config=config)
        except BaseException:
            (folder.path / CONFIG_NAME).unlink(missing_ok=True)
            raise
        folder.finish()


def _write_reports(folder: RunFolder, model: Model, config: ModelConfig, figures: Figures) -> None:
    """Write the page for people, the same for programs, and the model card."""
    record = folder.record()
    title = folder.path.resolve().name
    weights: dict[str, mx.array] = dict(tree_flatten(model.parameters()))
    described = {
        "parameters": sum(array.size for array in weights.values()),
        "bytes of weights": sum(array.nbytes for array in weights.values()),
        **{name: value for name, value in config.to_dict().items() if value is not None},
    }
    adapted = bool(record.settings.get("init"))
    card = card_markdown(title, record, config.model_type, described, figures, adapted=adapted)
    summary = {**record.summary(), "figures": dict(figures), "settings": record.settings}
    for name, text in (
        (REPORT_NAME, report_html(title, record, described, figures)),
        (SUMMARY_NAME, json.dumps(summary, indent=1) + "\n"),
        (CARD_NAME, card),
    ):
        (folder.path / name).write_text(text, encoding="utf-8")
