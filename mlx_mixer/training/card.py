"""The model card of a trained model: README.md, as the Hub shows it and `--upload` sends it.

It says how much text a model saw and not which: names of files and folders stay on the machine.
"""

from collections.abc import Mapping
from typing import Any

from mlx_mixer.model_configs.tasks import TASKS, card_head
from mlx_mixer.safe_text import safe_line
from mlx_mixer.training.record import RunRecord
from mlx_mixer.training.run_report import Figures, headline

_OBJECTIVES = {
    "language": "to predict the next token",
    "retrieval": "to find the passage that a query means, contrastively",
    "autoencoder": "to write a text again from one vector",
    "reranker": "to choose the right passage among candidates by their embeddings",
}
# What of the settings says nothing about anybody's files.
_SETTINGS = (
    *("texts", "characters", "pairs", "steps", "learning_rate", "warmup_steps", "schedule", "tokens_per_batch"),
    *(
        "batch_size",
        "parts",
        "temperature",
        "weight_decay",
        "clip_norm",
        "embedding_rate",
        "precision",
        "seed",
        "tuning",
    ),
)
# It may hold the path of a source, which is nobody's business.
_NOT_IN_CARD = ("provenance",)
_CARD = """\
{head}
# {title}

A masked mixer ([arXiv 2409.01482](https://arxiv.org/abs/2409.01482)) that {does}

## Training

{training}
## Figures

{figures}
## Model

{model}
## Limits

It knows what its training text knows, and repeats what is wrong there. The figures are of the held-out texts that the
run was given; elsewhere they will differ.

## Licence

No licence is named here, so only the owner's word allows use. To name one, add `license:` to the head of this card.
What the licences of the training texts ask for holds as well.
"""


def card_markdown(
    title: str, record: RunRecord, model_type: str, model: Mapping[str, Any], figures: Figures = (), *, adapted: bool
) -> str:
    """Write the card.

    Args:
        title: Name of the model.
        record: The run.
        model_type: As in its configuration.
        model: Its configuration and sizes, name to value.
        figures: What was measured at the end, name to text.
        adapted: Whether the run began from another model.
    """
    task, does = TASKS.get(model_type, ("feature-extraction", "computes"))
    objective = _OBJECTIVES.get(record.kind, "")
    origin = "It began from a model that had learned already." if adapted else "It began from nothing."
    settings = {name: record.settings[name] for name in _SETTINGS if record.settings.get(name) is not None}
    model = {name: value for name, value in model.items() if name not in _NOT_IN_CARD}
    return _CARD.format(
        head=card_head(task),
        title=_cell(title),
        does=f"{does}, trained {objective} by `mlx-mixer train {record.kind}`. {origin}",
        training=_table({**headline(record), **settings}),
        figures=_table(dict(figures)) if figures else _figures(record),
        model=_table(model),
    )


def _figures(record: RunRecord) -> str:
    if record.best is None:
        return (
            "None were measured: the run had no held-out texts. To measure: `mlx-mixer train evaluate MODEL PAIRS`.\n"
        )
    step, score = record.best
    return f"Best validation: {record.measure.text(score)}, at step {step:,}; these weights were kept.\n"


def _table(values: Mapping[str, Any]) -> str:
    rows = "".join(f"| {_cell(name)} | {_cell(value)} |\n" for name, value in values.items())
    return f"| | |\n|---|---|\n{rows}"


def _cell(value: object) -> str:
    if isinstance(value, Mapping):
        value = ", ".join(f"{name} {inner}" for name, inner in value.items())
    text = safe_line(f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value))
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
