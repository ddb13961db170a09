"""A private, on-device writing and search companion built on masked mixers (arXiv 2409.01482).

Importing this package prepares the process for MLX (see `mlx_mixer.runtime`) and imports nothing heavy: each public
name below is loaded when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from mlx_mixer import runtime
from mlx_mixer.version import __version__

if TYPE_CHECKING:
    from mlx_mixer.checkpoint import load as load
    from mlx_mixer.checkpoint import load_model as load_model
    from mlx_mixer.documents.library import Library as Library
    from mlx_mixer.embedding import load_embedder as load_embedder
    from mlx_mixer.text import stream_generate as stream_generate

_HOMES = {
    "Library": "mlx_mixer.documents.library",
    "load": "mlx_mixer.checkpoint",
    "load_embedder": "mlx_mixer.embedding",
    "load_model": "mlx_mixer.checkpoint",
    "stream_generate": "mlx_mixer.text",
}

__all__ = ["Library", "__version__", "load", "load_embedder", "load_model", "stream_generate"]

runtime.prepare()


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
