"""How fast conversions are beside a plain copy of the same files, and how much memory they take beside one of them."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from convert.convert import convert_checkpoint
from convert.memory_peak import MemoryPeak
from convert.writer import TensorSpec, WeightWriter
from mlx_mixer.benchmarks.timing import Figure, summarise

# Of a random checkpoint: 413 MB in float32.
VOCAB, DIMS, LENGTH, INNER, LAYERS = 32_000, 1024, 1024, 4096, 4
SHARD_BYTES = 140_000_000
ROUNDS = 5
MEMORY_ROUNDS = 3
_WRITTEN_AT_ONCE = 1 << 22


def conversion_figures(*, layers: int = LAYERS, rounds: int = ROUNDS) -> dict[str, Figure]:
    """Copy and convert a checkpoint of several shards in turn; both end when the disk has everything.

    Args:
        layers: Of the model.
        rounds: Copies and conversions.
    """
    with tempfile.TemporaryDirectory(prefix="mlx-mixer-bench-") as name:
        root = Path(name)
        source = write_random_checkpoint(root / "source", layers)
        shards = sorted(source.glob("*.safetensors"))
        nbytes = sum(shard.stat().st_size for shard in shards)
        largest = max(shard.stat().st_size for shard in shards)
        copies, conversions, memory = [], [], []
        for _ in range(rounds):
            copies.append(nbytes / _timed(lambda out: _copy(shards, out), root / "out"))
            conversions.append(nbytes / _timed(lambda out: _convert(source, out), root / "out"))
        for _ in range(MEMORY_ROUNDS):
            memory.append(_peak_of_child(source, root / "out") / largest)
    ratios = [conversion / copy for conversion, copy in zip(conversions, copies, strict=True)]
    return {
        "copy": summarise([rate / 1e6 for rate in copies], "MB/s"),
        "convert": summarise([rate / 1e6 for rate in conversions], "MB/s"),
        "convert vs copy": summarise(ratios, "x", ">= 0.5"),
        "convert peak vs largest file": summarise(memory, "x", "<= 1.3"),
    }


def write_random_checkpoint(folder: Path, layers: int, *, shard_bytes: int = SHARD_BYTES) -> Path:
    """Write a flat mixer with random float32 weights under upstream names, in shards with an index."""
    folder.mkdir()
    block = {
        "conv.weight": (LENGTH, LENGTH, 1),
        "conv.bias": (LENGTH,),
        "patch_layernorm.weight": (DIMS,),
        "patch_layernorm.bias": (DIMS,),
        "seq_layernorm.weight": (DIMS,),
        "seq_layernorm.bias": (DIMS,),
        "patch_ff.0.weight": (INNER, DIMS),
        "patch_ff.0.bias": (INNER,),
        "patch_ff.2.weight": (DIMS, INNER),
        "patch_ff.2.bias": (DIMS,),
    }
    shapes: dict[str, tuple[int, ...]] = {"wte.weight": (VOCAB, DIMS)}
    shapes |= {f"mixerblocks.{layer}.{name}": shape for layer in range(layers) for name, shape in block.items()}
    shapes["lm_head.weight"] = (VOCAB, DIMS)
    specs = [TensorSpec(name, "F32", shape) for name, shape in shapes.items()]
    generator = np.random.default_rng(0)
    # Pieces begin at different places of the noise, so that no two tensors are the same.
    noise = generator.standard_normal(_WRITTEN_AT_ONCE // 2, np.float32).tobytes()
    with WeightWriter(folder, specs, shard_bytes) as writer:
        for spec in specs:
            for offset in range(0, spec.nbytes, _WRITTEN_AT_ONCE):
                start = 4 * int(generator.integers(0, _WRITTEN_AT_ONCE // 4))
                writer.write(spec.name, offset, noise[start : start + min(_WRITTEN_AT_ONCE, spec.nbytes - offset)])
        writer.finish()
    return folder


def _copy(files: list[Path], out: Path) -> None:
    out.mkdir()
    for file in files:
        shutil.copyfile(file, out / file.name)
    for file in files:
        descriptor = os.open(out / file.name, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def _convert(source: Path, out: Path) -> None:
    convert_checkpoint(source, out, verify=False, max_shard_bytes=SHARD_BYTES)


def _timed(work: Callable[[Path], None], out: Path) -> float:
    """Seconds of one call, which makes a folder; what earlier calls left to the disk is not counted."""
    os.sync()
    started = time.perf_counter()
    work(out)
    seconds = time.perf_counter() - started
    shutil.rmtree(out)
    return seconds


def _peak_of_child(source: Path, out: Path) -> int:
    """Bytes that a conversion adds to the memory of a process that has imported everything."""
    command = [sys.executable, "-P", "-m", "convert.benchmark", str(source), str(out)]
    root = str(Path(__file__).resolve().parents[1])
    done = subprocess.run(command, capture_output=True, check=True, env={**os.environ, "PYTHONPATH": root})
    shutil.rmtree(out)
    peak: int = json.loads(done.stdout)
    return peak


def _main() -> None:
    source, out = map(Path, sys.argv[1:])
    with MemoryPeak() as peak:
        _convert(source, out)
    sys.stdout.write(json.dumps(peak.added))


if __name__ == "__main__":
    _main()
