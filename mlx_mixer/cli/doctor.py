"""`mlx-mixer doctor`."""

import platform
import sqlite3
import sys
from importlib import metadata
from typing import Any

import click

from mlx_mixer import runtime
from mlx_mixer.cli.output import print_foreign, print_json
from mlx_mixer.errors import MixerError
from mlx_mixer.paths import default_paths
from mlx_mixer.version import __version__

PACKAGES = (
    "mlx",
    "mlx-lm",
    "mkl",
    "numpy",
    "textual",
    "tokenizers",
    "sentencepiece",
    "huggingface-hub",
)
# Before this release two connections that checkpoint and write at once could damage a WAL database.
SAFE_SQLITE = (3, 51, 3)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(as_json: bool) -> None:
    """Show what this installation runs on, in one paste."""
    facts = {
        "mlx-mixer": __version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.release()} {platform.machine()}",
        **{package: _version(package) for package in PACKAGES},
        "sqlite": _sqlite(),
        "blas": _blas(),
        "device": _device(),
        "models": _holding(),
        **_kernels(),
        "default model": _default_model(),
        "library": str(default_paths().library),
        "terminal": f"{'yes' if sys.stdout.isatty() else 'no'}, {sys.stdout.encoding}",
    }
    if as_json:
        print_json(facts)
        return
    width = max(map(len, facts)) + 2
    for name, value in facts.items():
        print_foreign(f"{name:{width}}{value}")


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _sqlite() -> str:
    if sqlite3.sqlite_version_info >= SAFE_SQLITE:
        return sqlite3.sqlite_version
    return f"{sqlite3.sqlite_version} (older than 3.51.3: let one process at a time change the library)"


def _blas() -> str:
    status = runtime.prepare()
    return f"{status.name}: {status.reason}"


def _device() -> str:
    # Imported here so that the rest of the report appears even where MLX cannot be loaded.
    try:
        import mlx.core as mx
    except ImportError as error:
        return f"MLX cannot be loaded: {error}"
    return str(mx.default_device())


def _holding() -> str:
    try:
        import mlx.core as mx

        from mlx_mixer.quantization import holding
    except ImportError:
        return "MLX cannot be loaded"
    return holding(mx.default_device())


def _kernels() -> dict[str, str]:
    """One line per kernel and dtype: which form this machine's probe chose, and why."""
    # After the device line, so that the rest of the report appears even where MLX cannot be loaded.
    try:
        from mlx_mixer.kernels.report import kernel_reports
    except ImportError:
        return {}
    lines = {}
    for report in kernel_reports():
        error = "" if report.max_error is None else f", largest difference {report.max_error:.1e}"
        speed = "" if report.speed_ratio is None else f", {report.speed_ratio:.2f}x the plain form's speed"
        lines[f"{report.name} {report.dtype}"] = f"{report.chosen}: {report.reason}{error}{speed}"
    return lines


def _default_model() -> Any:
    from mlx_mixer.checkpoint import default_model_path, load_config

    try:
        config = load_config(default_model_path())
    except MixerError as error:
        return f"not usable: {error}"
    return f"{config.num_parameters:,} parameters, context of {config.context_length} tokens"
