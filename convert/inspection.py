"""What looking at a source found, for people and programs."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from convert.questions import Question

Verdict = Literal["convertible", "needs_hints", "model_folder", "transformer", "unfit", "refused"]
_EXIT_CODES: dict[Verdict, int] = {"unfit": 1, "refused": 4}


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What was found.

    Attributes:
        source: What the user named.
        verdict: "convertible", "needs_hints" (once they are given), "model_folder" (ours, ready for use), "transformer"
            (converted by mlx-lm), "unfit" (recognised, but its tensors do not fit together) or "refused".
        what: What it is, as the end of "this is ...".
        advice: What to do with it.
        family: Upstream family, or type of a model that is no masked mixer; None if unknown.
        config: Of the model it would become, as far as keys and hints tell.
        parameters: Number of trainable values.
        dtypes: Number of stored values by element type.
        bytes: Size of the weight files.
        files: The weight files.
        tokenizer: The tokenizer that would be used.
        missing: What a complete model needs and is not there.
        questions: What only the user can tell.
        warnings: What the user should know.
    """

    source: Path
    verdict: Verdict
    what: str
    advice: str
    family: str | None = None
    config: Mapping[str, Any] | None = None  # JSON values
    parameters: int | None = None
    dtypes: Mapping[str, int]
    bytes: int
    files: tuple[Path, ...]
    tokenizer: Path | None = None
    missing: tuple[str, ...] = ()
    questions: tuple[Question, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """What a command that shows this ends with."""
        return _EXIT_CODES.get(self.verdict, 0)

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "source": str(self.source),
            "verdict": self.verdict,
            "what": self.what,
            "advice": self.advice,
            "family": self.family,
            "config": self.config,
            "parameters": self.parameters,
            "dtypes": dict(self.dtypes),
            "bytes": self.bytes,
            "files": [str(file) for file in self.files],
            "tokenizer": None if self.tokenizer is None else str(self.tokenizer),
            "missing": list(self.missing),
            "hints": [question.to_dict() for question in self.questions],
            "warnings": list(self.warnings),
        }
