"""Study 4: which model puts a window of text into one vector and back?

The paper's claim: an autoencoder of masked mixers learns to copy its input through one vector, one of transformers
hardly does.
"""

from functools import partial
from typing import Any

import mlx.core as mx

from mlx_mixer.study.autoencoders import autoencoders, copy_loss, share_copied
from mlx_mixer.study.cells import Cell, Cells, Work
from mlx_mixer.study.language import HELD_OUT_TOKENS, mean_loss
from mlx_mixer.study.race import Race, Task
from mlx_mixer.study.settings import NAMES, AutoencoderSettings
from mlx_mixer.study.texts import TokenTexts, even_windows, window_batches


def autoencoder_plan(settings: AutoencoderSettings) -> list[Work]:
    """What there is to compute."""
    copies = [Work(_copies(length, name), 1.0) for length in settings.context_lengths for name in NAMES]
    return [w for length in settings.context_lengths for w in Race.plan(_title(length), NAMES, settings)] + copies


def study_autoencoder(texts: TokenTexts, settings: AutoencoderSettings, cells: Cells) -> dict[str, Any]:
    """Train both autoencoders on windows of several lengths.

    Returns:
        "rows": for each window and model what `Race.run` says, and "copied", the share of held-out tokens that come
        out right.
    """
    races = {length: _race(texts, length, settings, cells) for length in settings.context_lengths}
    for race in races.values():
        race.measure()
    rows = []
    for length, race in races.items():
        windows = mx.array(even_windows(texts.report, length, HELD_OUT_TOKENS // 4))
        for name, result in race.run().items():
            copied = cells.get(_copies(length, name), partial(_count_copied, race, name, windows))
            rows.append({"context_length": length, "model": name, **result, **copied})
    return {"rows": rows}


def _count_copied(race: Race, name: str, windows: mx.array) -> Cell:
    return {"copied": share_copied(race.load(name), windows)}


def _race(texts: TokenTexts, length: int, settings: AutoencoderSettings, cells: Cells) -> Race:
    rows = max(1, settings.tokens_per_batch // length)
    choose, report = (even_windows(part, length, HELD_OUT_TOKENS) for part in (texts.choose, texts.report))
    task = Task(
        name=_title(length),
        loss=copy_loss,
        batch_at=window_batches(texts.train, length, settings),
        choose=lambda model: mean_loss(copy_loss, model, choose, rows),
        report=lambda model: mean_loss(copy_loss, model, report, rows),
        flops=lambda model: rows * model.flops(length),
        comes_apart=True,
    )
    return Race(task, autoencoders(settings, length), settings, cells)


def _title(length: int) -> str:
    return f"n_ctx {length}"


def _copies(length: int, name: str) -> str:
    return f"n_ctx {length} {name} copies"
