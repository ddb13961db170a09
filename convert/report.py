"""What a conversion tells about itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convert.proof.verify import VerifyReport
from mlx_mixer.model_configs.kinds import ModelConfig


@dataclass(frozen=True)
class TransformerConfig:
    """The `config.json` of a model that mlx-lm runs, as it is.

    Attributes:
        values: Its table.
    """

    values: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return dict(self.values)


@dataclass(frozen=True, kw_only=True)
class ConversionReport:
    """What a conversion did.

    Attributes:
        family: Upstream family the checkpoint was recognised as; "mlx-mixer" for one of our own folders, and "mlx-lm: "
            with the type of a transformer.
        config: Of the model it became.
        out: The model folder.
        parameters: Number of trainable values.
        files: Source files that were read.
        source_bytes: Their size.
        bytes: Size of the weight files that were written.
        verification: How the result compares with the source; `None` if it was not compared.
        warnings: What the user should know, one line each.
        seconds: How long it took.
    """

    family: str
    config: ModelConfig | TransformerConfig
    out: Path
    parameters: int
    files: tuple[Path, ...]
    source_bytes: int
    bytes: int
    verification: VerifyReport | None
    warnings: tuple[str, ...]
    seconds: float
