"""Study 2: which model learns to predict the next token faster?

The paper's claim: masked mixers learn causal language modelling more efficiently than transformers where windows are
short (fewer than 512 tokens), and less efficiently where they are long.
"""

from typing import Any

from mlx_mixer.study.cells import Cells, Work
from mlx_mixer.study.language import bits_per_byte, language_race
from mlx_mixer.study.race import Race
from mlx_mixer.study.settings import NAMES, LearningSettings
from mlx_mixer.study.texts import TokenTexts


def learning_plan(settings: LearningSettings) -> list[Work]:
    """What there is to compute."""
    return [work for length in settings.context_lengths for work in Race.plan(_title(length), NAMES, settings)]


def study_learning(texts: TokenTexts, settings: LearningSettings, cells: Cells) -> dict[str, Any]:
    """Train both models on windows of several lengths.

    Returns:
        "rows": for each window and model what `Race.run` says, and bits per byte.
    """
    races = {
        length: language_race(_title(length), texts, length, settings, cells) for length in settings.context_lengths
    }
    # All steps are timed together, so that one quiet minute is enough for them.
    for race in races.values():
        race.measure()
    rows = [
        {"context_length": length, "model": name, **result, "bits_per_byte": bits_per_byte(result["loss"], texts)}
        for length, race in races.items()
        for name, result in race.run().items()
    ]
    return {"rows": rows}


def _title(length: int) -> str:
    return f"n_ctx {length}"
