"""What a source is and whether it can be converted, told from headers alone: no tensor is read, nothing is written."""

import itertools
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from convert.families.detect import canonical_names
from convert.families.family import Evidence
from convert.foreign import open_regular, parse_json
from convert.hints import Hints, how_to_tell
from convert.hub.kinds import OUR_TYPES, mlx_lm_runs
from convert.inspection import Inspection
from convert.plan import Plan, plan_conversion
from convert.questions import Question, structural_questions, usage_questions
from convert.sources.containers import Checkpoint, open_checkpoint
from convert.sources.lookalikes import LookalikeError, UnconvertibleError
from convert.words.tokenizers import find_tokenizer
from mlx_mixer.errors import CheckpointError, ConversionError, ModelNotFoundError
from mlx_mixer.foreign import MAX_DESCRIPTION_BYTES
from mlx_mixer.model_configs.bidirectional import BidirectionalMixerConfig
from mlx_mixer.model_configs.retrieval import RetrievalMixerConfig


def inspect_checkpoint(source: str | Path, **hints: Any) -> Inspection:
    """Tell what a source is and what its conversion would need.

    Args:
        source: What `convert.convert_checkpoint` takes, or a model folder.
        **hints: What is already known; see `convert.hints.Hints`.

    Raises:
        UsageError: For an unknown hint or a bad value.
        ModelNotFoundError: If there is no such source.
        ConversionError: If it cannot be read or is damaged, so that nothing can be said about it.
    """
    given = Hints.from_mapping(hints)
    source = Path(source).expanduser()
    if os.path.isdir(source):  # noqa: PTH112  # unlike Path.is_dir, it does not raise where a name is too long
        source = source.resolve()  # "." and "latest" get the name they stand for
    model_type = _model_type(source)
    try:
        checkpoint = open_checkpoint(source)
    except (LookalikeError, UnconvertibleError) as error:
        return _refused(source, error)
    with checkpoint:
        if model_type in OUR_TYPES and (source.is_dir() or source.name.startswith("model.safetensors")):
            return _model_folder(checkpoint, source)
        return _foreign(checkpoint, source, given, model_type)


def _model_type(source: Path) -> str | None:
    """What the config.json of a folder, or the one beside a file, says; None if it says nothing."""
    path = (source if os.path.isdir(source) else source.parent) / "config.json"  # noqa: PTH112
    try:
        with open_regular(path) as file:
            values = parse_json(file.read(MAX_DESCRIPTION_BYTES), path.name)
    except (ModelNotFoundError, ConversionError):
        return None  # whoever means this model hears of it when the config is read for use
    named = values.get("model_type") if isinstance(values, dict) else None
    return named if isinstance(named, str) else None


def _refused(
    source: Path, error: LookalikeError | UnconvertibleError, checkpoint: Checkpoint | None = None
) -> Inspection:
    facts = {"dtypes": {}, "bytes": 0, "files": ()} if checkpoint is None else _facts(checkpoint)
    family = error.family if isinstance(error, UnconvertibleError) else None
    return Inspection(source=source, verdict="refused", what=error.what, advice=error.advice, family=family, **facts)


def _facts(checkpoint: Checkpoint) -> dict[str, Any]:
    """What headers say of any file of tensors."""
    dtypes: dict[str, int] = {}
    for info in checkpoint.tensors.values():
        dtypes[info.dtype] = dtypes.get(info.dtype, 0) + info.size
    files = tuple(file.path for file in checkpoint.files)
    return {"dtypes": dtypes, "bytes": sum(path.stat().st_size for path in files), "files": files}


def _model_folder(checkpoint: Checkpoint, source: Path) -> Inspection:
    # The checkpoint module loads MLX; foreign checkpoints are inspected without it.
    from mlx_mixer.checkpoint import load_config, tokenizer_file

    folder = checkpoint.files[0].path.parent
    facts, family = _facts(checkpoint), "mlx-mixer"
    try:
        config = load_config(folder)
    except CheckpointError as error:
        return Inspection(
            source=source,
            verdict="unfit",
            what="a model folder whose config.json is wrong",
            advice="convert or download it again",
            family=family,
            missing=(str(error),),
            **facts,
        )
    needs_words = not isinstance(config, RetrievalMixerConfig)
    tokenizer, missing = None, []
    try:
        tokenizer = tokenizer_file(folder) if needs_words else None
    except ModelNotFoundError as error:
        missing.append(str(error))
    return Inspection(
        source=source,
        verdict="model_folder",
        what=f"a model folder of mlx-mixer ({config.model_type})",
        advice=f"use it as it is, for example: mlx-mixer models info {folder}",
        family=family,
        config=config.to_dict(),
        parameters=config.num_parameters,
        tokenizer=tokenizer,
        missing=tuple(missing),
        **facts,
    )


def _foreign(checkpoint: Checkpoint, source: Path, hints: Hints, model_type: str | None) -> Inspection:
    names = canonical_names(checkpoint.tensors)
    tensors = {canonical: checkpoint.tensors[plain] for canonical, plain in names.items()}
    evidence = Evidence(tensors, hints, checkpoint.is_wrapped)
    try:
        questions = structural_questions(evidence)
        outcome = _planned(checkpoint, source, hints, questions)
    except UnconvertibleError as error:
        if error.family in (None, "transformer") and model_type is not None and mlx_lm_runs(model_type):
            return _transformer(checkpoint, source, model_type)
        return _refused(source, error, checkpoint)
    except LookalikeError as error:
        return _refused(source, error, checkpoint)
    except ConversionError as error:
        return Inspection(
            source=source,
            verdict="unfit",
            what="a masked mixer whose tensors do not fit together",
            advice="save or download it again; what is wrong stands under missing",
            missing=(str(error),),
            parameters=sum(info.size for info in checkpoint.tensors.values()),
            **_facts(checkpoint),
        )
    return _convertible(checkpoint, source, evidence, outcome)


@dataclass(frozen=True)
class _Outcome:
    """A plan, and the questions with those answers left that fit the tensors."""

    plan: Plan
    questions: tuple[Question, ...]


def _planned(checkpoint: Checkpoint, source: Path, hints: Hints, questions: tuple[Question, ...]) -> _Outcome:
    """Plan the conversion, with every answer to what is open until one fits.

    Raises:
        UnconvertibleError: If it is of a family that is not converted.
        ConversionError: If its tensors do not fit together, whatever the answers.
    """
    open_hints = [question for question in questions if question.is_open]
    plans: dict[tuple[str, ...], Plan] = {}
    failure: ConversionError | None = None
    for answers in itertools.product(*(question.allowed for question in open_hints)):
        told = {question.hint: answer for question, answer in zip(open_hints, answers, strict=True)}
        filled = Hints.from_mapping({**hints.given(), **told})
        try:
            plans[answers] = plan_conversion(checkpoint, source, filled, compares_tables=False)
        except ConversionError as error:
            failure = failure or error
    if not plans:
        assert failure is not None, "there is at least one combination, the empty one"
        raise failure
    fitting = {
        question.hint: tuple(dict.fromkeys(answers[place] for answers in plans))
        for place, question in enumerate(open_hints)
    }
    left = tuple(replace(question, allowed=fitting.get(question.hint, question.allowed)) for question in questions)
    return _Outcome(next(iter(plans.values())), left)


def _convertible(checkpoint: Checkpoint, source: Path, evidence: Evidence, outcome: _Outcome) -> Inspection:
    plan, hints = outcome.plan, evidence.hints
    beside = checkpoint.files[0].path.parent
    named = None if hints.tokenizer is None else Path(hints.tokenizer).expanduser()
    has_words = not isinstance(plan.config, RetrievalMixerConfig)
    tokenizer = find_tokenizer(named, [beside, source] if source.is_dir() else [beside]) if has_words else None
    embeds = not isinstance(plan.config, BidirectionalMixerConfig)
    needed = [question for question in outcome.questions if question.is_open]
    missing = [f"a tokenizer; to use the model with words, {how_to_tell('tokenizer')}"] if tokenizer is None else []
    return Inspection(
        source=source,
        verdict="needs_hints" if needed else "convertible",
        what=f"a masked mixer of the family {plan.family.name}",
        advice=_next_command(source, needed),
        family=plan.family.name,
        config=plan.config.to_dict(),
        parameters=plan.config.num_parameters,
        tokenizer=tokenizer,
        missing=tuple(missing) if has_words else (),
        questions=(
            *outcome.questions,
            *usage_questions(evidence, has_words=has_words, has_tokenizer=tokenizer is not None, embeds=embeds),
        ),
        warnings=(*checkpoint.notes, *_cautions(plan, needed), *plan.notes),
        **_facts(checkpoint),
    )


def _next_command(source: Path, needed: Sequence[Question]) -> str:
    options = "".join(f" {question.option} {'|'.join(question.allowed)}" for question in needed)
    return f"run: mlx-mixer convert {shlex.quote(str(source))} --out DIR{options}"


def _cautions(plan: Plan, needed: Sequence[Question]) -> list[str]:
    cautions = [
        f"the configuration is that of {question.hint}={question.allowed[0]}"
        for question in needed
        if len(question.allowed) > 1
    ]
    if plan.family.name == "headed_legacy":
        cautions.append(
            "models with softmax over their mixing weights have the same keys; if this is one, it cannot be converted"
        )
    return cautions


def _transformer(checkpoint: Checkpoint, source: Path, model_type: str) -> Inspection:
    folder = checkpoint.files[0].path.parent
    tokenizer = find_tokenizer(None, [folder])
    return Inspection(
        source=source,
        verdict="transformer",
        what=f"a transformer ({model_type}); converted by mlx-lm",
        advice=_next_command(folder, ()),
        family=model_type,
        parameters=sum(info.size for info in checkpoint.tensors.values()),
        tokenizer=tokenizer,
        missing=() if tokenizer else ("a tokenizer",),
        **_facts(checkpoint),
    )
