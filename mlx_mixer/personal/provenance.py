"""Where a personal model comes from: a file in its folder that says so, and a card for people."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mlx_mixer.checkpoint import resolve_model
from mlx_mixer.documents.measures import Interval
from mlx_mixer.personal.contest import Figures, Outcome

NAME = "personal.json"
CARD_NAME = "MODEL_CARD.md"


def origin_of(name: str) -> str:
    """Name of the model that training is to start from: for a personal model, what that started from itself.

    Training a personal model further would test it on files that it may have learned.

    Raises:
        ModelNotFoundError: If there is no such model.
    """
    return str(read_provenance(resolve_model(name)).get("origin", name))


def read_provenance(folder: Path) -> dict[str, Any]:
    """What was noted about a personal model; empty for any other, or where that cannot be read."""
    try:
        noted = json.loads((folder / NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return noted if isinstance(noted, dict) else {}


def write_provenance(folder: Path, facts: Mapping[str, Any], outcome: Outcome) -> None:
    """Write both files into a model folder.

    Args:
        folder: Where to.
        facts: What is known of the training, "origin" and "made" (the date) among it.
        outcome: Of the test.
    """
    noted = {**facts, "outcome": asdict(outcome)}
    (folder / NAME).write_text(json.dumps(noted, indent=1) + "\n", encoding="utf-8")
    (folder / CARD_NAME).write_text(_card(facts, outcome), encoding="utf-8")


def _card(facts: Mapping[str, Any], outcome: Outcome) -> str:
    learned = ", ".join(f"{count:,} of kind {kind}" for kind, count in facts["learned"].items())
    rows = "\n".join(
        f"| {label} | {interval(figures.mrr, sign)} | {interval(figures.top1, sign)} |"
        for rows, sign in ((systems(outcome), ""), (gains(outcome), "+"))
        for label, figures in rows
    )
    return f"""# A personal embedder

Made on {facts["made"]} on this machine from the model `{facts["origin"]}` and the documents of one library. It knows
their words: treat it as private as they are.

- Learned from: {learned} ({facts["steps"]} steps). {facts["share"]:.0%} of the way from the old weights to the new is
  gone.
- Tested with: {outcome.questions} questions from files it did not learn from, among {outcome.chunks:,} passages.
- It finds passages. Its vectors were moved without regard to writing: do not write with it.

Means with their 95 % intervals:

| | MRR@10 | top-1 |
|---|---|---|
{rows}
"""


def systems(outcome: Outcome) -> list[tuple[str, Figures]]:
    """What was compared, with names for people."""
    return [
        ("words", outcome.words),
        ("present, alone", outcome.old_alone),
        ("new, alone", outcome.new_alone),
        ("present, search", outcome.old_fused),
        ("new, search", outcome.new_fused),
    ]


def gains(outcome: Outcome) -> list[tuple[str, Figures]]:
    """What the new model gains, with names for people."""
    return [
        ("new - present, alone", outcome.gain_alone),
        ("new - present, search", outcome.gain_fused),
        ("new search - words", outcome.gain_over_words),
    ]


def interval(each: Interval, sign: str = "") -> str:
    """A mean and its interval for people."""
    return f"{each.mean:{sign}.3f} [{each.low:{sign}.3f}, {each.high:{sign}.3f}]"
