"""Foreign checkpoints become model folders here; only this room knows upstream key names.

Public names are loaded when they are first used: the tokenizer part does not need MLX, the rest does.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from convert.convert import ConversionReport as ConversionReport
    from convert.convert import convert_checkpoint as convert_checkpoint
    from convert.inspect import inspect_checkpoint as inspect_checkpoint
    from convert.inspection import Inspection as Inspection
    from convert.upstream.to_torch import TorchReport as TorchReport
    from convert.upstream.to_torch import write_torch_checkpoint as write_torch_checkpoint
    from convert.words.sentencepiece_json import sentencepiece_to_tokenizer_json as sentencepiece_to_tokenizer_json
    from convert.words.sentencepiece_json import sentencepiece_tokenizer_config as sentencepiece_tokenizer_config

_HOMES = {
    "ConversionReport": "convert.convert",
    "Inspection": "convert.inspection",
    "TorchReport": "convert.upstream.to_torch",
    "convert_checkpoint": "convert.convert",
    "inspect_checkpoint": "convert.inspect",
    "sentencepiece_to_tokenizer_json": "convert.words.sentencepiece_json",
    "sentencepiece_tokenizer_config": "convert.words.sentencepiece_json",
    "write_torch_checkpoint": "convert.upstream.to_torch",
}

__all__ = [
    "ConversionReport",
    "Inspection",
    "TorchReport",
    "convert_checkpoint",
    "inspect_checkpoint",
    "sentencepiece_to_tokenizer_json",
    "sentencepiece_tokenizer_config",
    "write_torch_checkpoint",
]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
