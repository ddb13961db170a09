"""From the tensors of a checkpoint to a family, a configuration and assignments, before anything is written."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from convert.families.detect import canonical_names, detect
from convert.families.family import Evidence, Facts, Family, Unsupported
from convert.families.key_table import Assignment, match_table
from convert.hints import Hints, how_to_tell
from convert.sources.containers import Checkpoint
from convert.sources.lookalikes import UnconvertibleError, refuse_data
from convert.sources.weight_file import FLOAT_BYTES, TensorInfo
from mlx_mixer.errors import ConfigError, ConversionError
from mlx_mixer.foreign import quoted
from mlx_mixer.model_configs.kinds import ModelConfig

# Run names such as "..._softmax", "..._2soft" and "..._soft".
SOFTMAX_RUN = re.compile(r"(^|[_.-])softmax|[_.-]\d*soft([_.-]|$)", re.IGNORECASE)


@dataclass(frozen=True)
class Plan:
    """What a conversion will do.

    Attributes:
        family: The recognised family.
        config: Of the model it becomes.
        assignments: Its parameters, with the plain names of the stored tensors.
        notes: What the user should know.
    """

    family: Family
    config: ModelConfig
    assignments: tuple[Assignment, ...]
    notes: tuple[str, ...]


def plan_conversion(checkpoint: Checkpoint, source: Path, hints: Hints, *, compares_tables: bool = True) -> Plan:
    """Recognise a checkpoint and infer its configuration.

    Args:
        checkpoint: The open files.
        source: What the user named.
        hints: What the user told.
        compares_tables: Whether embedding and output head may be read, to see whether they are one matrix that was
            stored twice. Nothing else is read here.

    Raises:
        UnsupportedModelError: If it is of another family, or of none that is known.
        ConversionError: If its tensors do not fit together.
    """
    refuse_data(checkpoint.tensors, source.name)
    stored = canonical_names(checkpoint.tensors)
    tensors = {canonical: checkpoint.tensors[plain] for canonical, plain in stored.items()}
    verdict = detect(Evidence(tensors, hints, checkpoint.is_wrapped))
    family = _supported(verdict, source, sorted(tensors), hints)
    embedding, head = family.embedding, family.head
    is_tied = _is_tied(checkpoint, embedding, head, compares_tables)
    if is_tied:
        # Either name may be the one that was kept; the table knows the embedding.
        table = tensors.pop(head, None)
        if embedding not in tensors and table is not None:
            tensors[embedding], stored[embedding] = table, stored[head]
    _refuse_other_types(tensors)
    match = match_table(tensors, family.rules, family.dropped)
    try:
        config = family.make_config(Facts(match, is_tied, hints))
    except ConfigError as error:
        raise ConversionError(f"the sizes in {source.name} make no usable model: {error}") from error
    assignments = tuple(
        replace(entry, stored=tuple(stored[canonical] for canonical in entry.stored)) for entry in match.assignments
    )
    return Plan(family, config, assignments, _notes(family, hints))


def _supported(verdict: Family | Unsupported | None, source: Path, names: Sequence[str], hints: Hints) -> Family:
    if isinstance(verdict, Unsupported):
        raise UnconvertibleError(source.name, verdict.what, verdict.advice, verdict.name)
    if verdict is None:
        some = ", ".join(map(quoted, names[:3]))
        raise UnconvertibleError(
            source.name,
            f"of no known masked-mixer family; its tensors are named {some}",
            "give a checkpoint of one of the families in docs/convert.md",
        )
    mixer = hints.mixer
    # Softmax weights share all keys with other families, so only the user or the name of the run can tell.
    names_softmax = any(SOFTMAX_RUN.search(part) for part in source.absolute().parts[-3:])
    if "softmax" in (mixer or "") or (mixer is None and names_softmax):
        raise UnconvertibleError(
            source.name,
            "said to have softmax over its mixing weights; such models change with every call and cannot be converted",
            f"if it has none, {how_to_tell('mixer', verdict.mixer)}",
        )
    if mixer is not None and mixer != verdict.mixer:
        raise ConversionError(
            f"the hint says mixer={mixer}, but the keys of {source.name} are of mixer={verdict.mixer}"
        )
    return verdict


def _is_tied(checkpoint: Checkpoint, embedding_name: str, head_name: str, compares_tables: bool) -> bool:
    """Whether embedding and output head are one matrix: one of them is missing, or they are equal."""
    embedding, head = checkpoint.tensors.get(embedding_name), checkpoint.tensors.get(head_name)
    if embedding is None or head is None or checkpoint.are_same(embedding_name, head_name):
        return True
    return embedding == head and compares_tables and checkpoint.are_equal(embedding_name, head_name)


def _refuse_other_types(tensors: Mapping[str, TensorInfo]) -> None:
    for name, info in tensors.items():
        if info.dtype not in FLOAT_BYTES:
            raise ConversionError(f"{name} has type {info.dtype}; weights must be {', '.join(FLOAT_BYTES)}")


def _notes(family: Family, hints: Hints) -> tuple[str, ...]:
    unused = [name for name in hints.given() if name not in family.hints]
    return (
        *family.notes,
        *(f"the hint {name} says nothing about a {family.name} mixer and was ignored" for name in unused),
    )
