"""How a user wants weights stored."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from convert.number_format import STORED_NAMES, Dtype, check_dtype
from mlx_mixer.errors import UsageError
from mlx_mixer.model_configs.kinds import ModelConfig
from mlx_mixer.quantization import BITS, choose_quantization


@dataclass(frozen=True)
class Storage:
    """What was asked for; None where nothing was.

    Attributes:
        bits: Of quantised matrices.
        dtype: Of everything else.
    """

    bits: int | None
    dtype: Dtype | None

    @classmethod
    def asked(cls, quantize: int | None, dtype: str | None) -> "Storage":
        """Check what was asked for.

        Raises:
            UsageError: If it cannot be had.
        """
        if quantize is not None and (type(quantize) is not int or quantize not in BITS):
            raise UsageError(f"quantize is {quantize!r}; it must be {' or '.join(map(str, BITS))}")
        return cls(quantize, None if dtype is None else check_dtype(dtype))

    @property
    def is_any(self) -> bool:
        """Whether something was asked for."""
        return self.bits is not None or self.dtype is not None

    def config(self, config: ModelConfig) -> ModelConfig:
        """A config of weights that are not quantised, saying how they will be.

        Raises:
            UsageError: If the model cannot be quantised.
        """
        return config if self.bits is None else replace(config, quantization=choose_quantization(config, self.bits))

    def stored_dtype(self, sources: Iterable[str]) -> str:
        """The element type of what is not quantised, named as in safetensors.

        Beside quantised matrices nobody wants float32; float16 keeps more digits, and bfloat16 is kept where a model
        comes in it, because its numbers may not fit the other.

        Args:
            sources: Element types of the source.
        """
        if self.dtype is not None:
            return STORED_NAMES[self.dtype]
        if self.bits is None:
            return "F32"
        return "BF16" if set(sources) == {"BF16"} else "F16"
