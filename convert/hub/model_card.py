"""The card of an uploaded model: what it is, where it came from, its settings, its figures, and how to use it.

The text is a function of the folder's own files, so nothing in it can be out of step with the weights.
"""

import re
from collections.abc import Mapping
from typing import Any

from convert.hub.reference import looks_like_reference
from mlx_mixer.model_configs.tasks import TASKS, card_head
from mlx_mixer.safe_text import safe_line

_NOT_IN_TABLE = ("model_type", "provenance", "quantization")
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+/-]*")


def model_card(
    repo: str,
    config: Mapping[str, Any],
    *,
    parameters: int,
    weight_bytes: int,
    has_tokenizer: bool,
    evaluation: Mapping[str, Any] | None = None,
) -> str:
    """Write the README.md of a model repository.

    Args:
        repo: `owner/name` that it is for.
        config: The model's config.json.
        parameters: Number of trainable values.
        weight_bytes: Size of the weight files.
        has_tokenizer: Whether words can be given to it.
        evaluation: What `mlx-mixer train evaluate --json` printed, if it lies in the folder.

    Returns:
        Markdown with a YAML head, in UTF-8 text.
    """
    kind = str(config.get("model_type"))
    task, does = TASKS.get(kind, ("feature-extraction", "computes"))
    provenance = config.get("provenance")
    provenance = provenance if isinstance(provenance, dict) else {}
    parts = [
        _head(task, provenance),
        f"# {repo.partition('/')[2]}\n",
        _summary(does, config, parameters, weight_bytes),
        _origin(provenance),
        _settings(config),
        _figures(evaluation),
        _use(repo, kind, has_tokenizer=has_tokenizer, embeds=config.get("pooling") is not None or _embeds(config)),
        _licence(provenance),
    ]
    return "\n".join(part for part in parts if part)


def _head(task: str, provenance: Mapping[str, Any]) -> str:
    source = str(provenance.get("source", ""))
    return card_head(task, source if looks_like_reference(source) else None)


def _summary(does: str, config: Mapping[str, Any], parameters: int, weight_bytes: int) -> str:
    return (
        f"A masked mixer ([arXiv 2409.01482](https://arxiv.org/abs/2409.01482)) that {does}: {parameters:,} "
        f"parameters, {weight_bytes / 1e6:,.1f} MB of weights{_stored(config)}. It runs with mlx-mixer on Apple "
        "Silicon and on Linux.\n"
    )


def _stored(config: Mapping[str, Any]) -> str:
    quantization = config.get("quantization")
    if not isinstance(quantization, dict):
        return ""
    return f", quantised to {_cell(quantization.get('bits'))} bits in groups of {_cell(quantization.get('group_size'))}"


def _origin(provenance: Mapping[str, Any]) -> str:
    if not provenance:
        return "## Origin\n\nIt was trained with mlx-mixer; the folder names no other source.\n"
    rows = [("source", provenance.get("source")), ("family", provenance.get("family"))]
    if provenance.get("revision"):
        rows.append(("commit", provenance["revision"]))
    digests, hints = provenance.get("sha256"), provenance.get("hints")
    rows += [(f"sha256 of {name}", digest) for name, digest in (digests if isinstance(digests, dict) else {}).items()]
    rows += [(f"told: {name}", value) for name, value in (hints if isinstance(hints, dict) else {}).items()]
    return "## Origin\n\nConverted by `mlx-mixer convert`, which runs no code of a checkpoint.\n\n" + _table(
        "", "", rows
    )


def _settings(config: Mapping[str, Any]) -> str:
    rows = [(f"`{name}`", value) for name, value in config.items() if name not in _NOT_IN_TABLE]
    return "## Configuration\n\n" + _table("field", "value", rows)


def _figures(evaluation: Mapping[str, Any] | None) -> str:
    rows: list[tuple[str, object]] = []
    for name, figures in (evaluation or {}).items():
        if not isinstance(figures, dict):
            continue
        if _is_number(figures.get("perplexity")):
            rows.append((f"{name}: perplexity per token", f"{figures['perplexity']:.1f}"))
        if _is_number(figures.get("bits_per_byte")):
            rows.append((f"{name}: bits per byte", f"{figures['bits_per_byte']:.3f}"))
        for row in figures.get("top1", []) if isinstance(figures.get("top1"), list) else []:
            if isinstance(row, dict) and _is_number(row.get("mixer")) and _is_number(row.get("bm25")):
                what = f"{name}: right passage first among {_cell(row.get('candidates'))}"
                rows.append((what, f"{row['mixer']:.1f} % (BM25 {row['bm25']:.1f} %)"))
    if not rows:
        return "## Evaluation\n\nNo figures lie in the folder. To measure: `mlx-mixer train evaluate MODEL PAIRS`.\n"
    return "## Evaluation\n\nMeasured by `mlx-mixer train evaluate`.\n\n" + _table("figure", "value", rows)


def _use(repo: str, kind: str, *, has_tokenizer: bool, embeds: bool) -> str:
    name = repo.partition("/")[2]
    lines = ["```sh", f"mlx-mixer models download {repo}"]
    if kind == "language_mixer" and has_tokenizer:
        lines.append(f'mlx-mixer generate --model {name} --prompt "Once"')
        if embeds:
            lines.append(f'mlx-mixer embed --model {name} "a text"')
    else:
        lines.append(f"mlx-mixer models info {name}")
    without = "" if has_tokenizer else "\nThe folder holds no tokenizer: give the model token ids.\n"
    return "\n".join(["## Use", "", *lines, "```", without])


def _licence(provenance: Mapping[str, Any]) -> str:
    source = provenance.get("source")
    of = f" The weights were made from {_cell(source)}; what that allows holds for them too." if source else ""
    return (
        f"## Licence\n\nNo licence is named here, so only the owner's word allows use.{of} To name one, add "
        "`license:` to the head of this card.\n"
    )


def _embeds(config: Mapping[str, Any]) -> bool:
    return config.get("embedding_position") is not None


def _table(left: str, right: str, rows: list[tuple[str, Any]]) -> str:
    lines = [f"| {left} | {right} |", "|---|---|"]
    lines += [f"| {_cell(name)} | {_cell(value)} |" for name, value in rows]
    return "\n".join(lines) + "\n"


def _cell(value: object) -> str:
    """A value as a table takes it: a source's name or a hint may hold anything."""
    text = safe_line(str(value))[:200]
    if text.startswith("`") or _PLAIN.fullmatch(text):
        return text
    return re.sub(r"([\\`*_\[\]<>|#!&])", r"\\\1", text)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
