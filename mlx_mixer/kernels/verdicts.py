"""Probe results on disk, so that a machine is measured once and not at every start."""

import hashlib
import json
import logging
import platform
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

import mlx.core as mx

from mlx_mixer.atomic import write_atomically
from mlx_mixer.kernels.probe import Verdict
from mlx_mixer.kernels.twins import Shape, TwinKernel

logger = logging.getLogger(__name__)


def verdict_key(twins: TwinKernel, shape: Shape, dtype: mx.Dtype) -> str:
    """Everything a verdict depends on: kernel text, machine, MLX release, dtype and shape."""
    texts = hashlib.sha256(" ".join(source.digest for source in twins.sources).encode()).hexdigest()[:16]
    sizes = ",".join(f"{name}={size}" for name, size in sorted(shape.items()))
    return "|".join((twins.name, texts, _machine(), metadata.version("mlx"), str(dtype), sizes))


class VerdictStore:
    """A JSON object of verdicts by key. It is only a memory: a file that cannot be read or written is done without."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def get(self, key: str) -> Verdict | None:
        """The verdict kept under a key, if there is one that can be understood."""
        entry = self._read().get(key)
        try:
            return Verdict(**entry) if isinstance(entry, dict) else None
        except TypeError:
            return None

    def put(self, key: str, verdict: Verdict) -> None:
        """Keep a verdict. Of two processes that write at once the later wins; the other will measure again."""
        entries = {**self._read(), key: asdict(verdict)}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self.path, json.dumps(entries, indent=1, sort_keys=True).encode())
        except OSError as error:
            logger.warning("kernel measurements are not kept: %s", error)

    def _read(self) -> dict[str, object]:
        try:
            entries = json.loads(self.path.read_bytes())
        except (OSError, ValueError):
            return {}
        return entries if isinstance(entries, dict) else {}


def _machine() -> str:
    name = mx.device_info().get("device_name", "")
    return f"{platform.machine()} {name}".strip()
