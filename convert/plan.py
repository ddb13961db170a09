"""From the tensors of a checkpoint to a family, a configuration and assignments, before anything is written."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from convert.containers import Checkpoint
from convert.detect import Unsupported, canonical_names, detect
from convert.families import Family
from convert.hints import Hints, how_to_tell
from convert.key_table import Assignment, Match, match_table
from convert.lookalikes import refuse_data
from convert.weight_file import FLOAT_BYTES, TensorInfo
from mlx_mixer.config import LanguageMixerConfig
from mlx_mixer.errors import ConfigError, ConversionError, UnsupportedModelError
from mlx_mixer.foreign import quoted

# Run names such as "..._softmax", "..._2soft" and "..._soft".
SOFTMAX_RUN = re.compile(r"(^|[_.-])softmax|[_.-]\d*soft([_.-]|$)", re.IGNORECASE)
EMBEDDING, HEAD = "wte.weight", "lm_head.weight"


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
    config: LanguageMixerConfig
    assignments: tuple[Assignment, ...]
    notes: tuple[str, ...]


def plan_conversion(checkpoint: Checkpoint, source: Path, hints: Hints) -> Plan:
    """Recognise a checkpoint and infer its configuration.

    Raises:
        UnsupportedModelError: If it is of another family, or of none that is known.
        ConversionError: If its tensors do not fit together.
    """
    refuse_data(checkpoint.tensors, source.name)
    stored = canonical_names(checkpoint.tensors)
    tensors = {canonical: checkpoint.tensors[plain] for canonical, plain in stored.items()}
    family = _supported(detect(tensors), source, sorted(tensors), hints)
    is_tied = _is_tied(checkpoint)
    if is_tied:
        # Either name may be the one that was kept; the table knows the embedding.
        table = tensors.pop(HEAD, None)
        if EMBEDDING not in tensors and table is not None:
            tensors[EMBEDDING], stored[EMBEDDING] = table, stored[HEAD]
    _refuse_other_types(tensors)
    match = match_table(tensors, family.rules, family.dropped)
    try:
        config = _config(family, match, is_tied, hints)
    except ConfigError as error:
        raise ConversionError(f"the sizes in {source.name} make no usable model: {error}") from error
    assignments = tuple(
        replace(entry, stored=tuple(stored[canonical] for canonical in entry.stored)) for entry in match.assignments
    )
    return Plan(family, config, assignments, _notes(family, hints))


def _supported(verdict: Family | Unsupported | None, source: Path, names: Sequence[str], hints: Hints) -> Family:
    if isinstance(verdict, Unsupported):
        raise UnsupportedModelError(f"{source.name} is {verdict.what} (family {verdict.name})")
    if verdict is None:
        some = ", ".join(map(quoted, names[:3]))
        raise UnsupportedModelError(f"{source.name} is of no known masked-mixer family; its tensors are named {some}")
    mixer = hints.mixer
    # Softmax weights share all keys with other families, so only the user or the name of the run can tell.
    names_softmax = any(SOFTMAX_RUN.search(part) for part in source.absolute().parts[-3:])
    if "softmax" in (mixer or "") or (mixer is None and names_softmax):
        raise UnsupportedModelError(
            f"{source.name} is said to have softmax over its mixing weights; such models change with every call and "
            f"cannot be converted; if it has none, {how_to_tell('mixer', verdict.mixer)}"
        )
    if mixer is not None and mixer != verdict.mixer:
        raise ConversionError(
            f"the hint says mixer={mixer}, but the keys of {source.name} are of mixer={verdict.mixer}"
        )
    return verdict


def _is_tied(checkpoint: Checkpoint) -> bool:
    """Whether embedding and output head are one matrix: one of them is missing, or they are equal."""
    embedding, head = checkpoint.tensors.get(EMBEDDING), checkpoint.tensors.get(HEAD)
    if embedding is None or head is None:
        return True
    return embedding == head and np.array_equal(checkpoint.read(EMBEDDING), checkpoint.read(HEAD))


def _refuse_other_types(tensors: Mapping[str, TensorInfo]) -> None:
    for name, info in tensors.items():
        if info.dtype not in FLOAT_BYTES:
            raise ConversionError(f"{name} has type {info.dtype}; weights must be {', '.join(FLOAT_BYTES)}")


def _config(family: Family, match: Match, is_tied: bool, hints: Hints) -> LanguageMixerConfig:
    sizes = match.sizes
    length, dims, heads = sizes["L"], sizes["D"], sizes["heads"]
    if family.mixer == "headed" and sizes["P"] * heads != dims:
        raise ConversionError(f"{heads} heads of width {sizes['P']} do not make the model width {dims}")
    if family.mixer == "headed_legacy" and sizes["HD"] != heads * dims:
        raise ConversionError(f"the output projection takes {sizes['HD']} features; {heads} heads make {heads * dims}")
    biases = sum(entry.target.endswith(("inner_bias", "outer_bias")) for entry in match.assignments)
    if biases not in (0, 2 * sizes["layers"]):
        raise ConversionError("only one of the two convolutions of a block has a bias")
    return LanguageMixerConfig(
        vocab_size=sizes["V"],
        hidden_size=dims,
        num_layers=sizes["layers"],
        context_length=length,
        intermediate_size=sizes["F"],
        token_mixing=family.token_mixing,
        kernel_size=sizes.get("k", 1),
        num_heads=heads if family.token_mixing == "headed" else 1,
        token_expansion=sizes.get("R", length) / length,
        token_bias=family.token_mixing != "expanded" or biases > 0,
        tie_word_embeddings=is_tied,
        padding_side=hints.padding_side,
        pad_token_id=hints.pad_token_id,
        embedding_position=hints.embedding_position,
        temperature=hints.temperature,
    )


def _notes(family: Family, hints: Hints) -> tuple[str, ...]:
    unused = [name for name in ("decoder_input", "decay_constant", "use_projections") if name in hints.given()]
    return tuple(f"the hint {name} says nothing about a {family.name} mixer and was ignored" for name in unused)
