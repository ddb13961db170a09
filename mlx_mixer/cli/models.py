"""`mlx-mixer models`."""

from pathlib import Path
from typing import Any

import click

from mlx_mixer.cli.output import human_bytes, narrate, print_foreign, print_json
from mlx_mixer.errors import MixerError
from mlx_mixer.paths import default_paths


@click.group()
def models() -> None:
    """Show the models on this machine."""


@models.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_models(as_json: bool) -> None:
    """List the bundled model and the models folder."""
    rows, broken = [], []
    for name, folder in _folders():
        try:
            rows.append(_describe(name, folder))
        except MixerError as error:
            broken.append(f"{name}: {error}")
    if as_json:
        print_json({"models": rows, "unusable": broken})
        return
    for row in rows:
        config = row["config"]
        shape = f"{config['token_mixing']}, {config['num_layers']} x {config['hidden_size']}"
        print_foreign(f"{row['name']:24}{shape:24}{config['context_length']:>6} tokens  {human_bytes(row['bytes']):>9}")
    for line in broken:
        narrate(f"unusable: {line}")


@models.command()
@click.argument("name", default="default")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def info(name: str, as_json: bool) -> None:
    """Show the config and provenance of one model."""
    # Reading a config needs MLX, because the checkpoint module loads arrays too.
    from mlx_mixer.checkpoint import resolve_model

    row = _describe(name, resolve_model(name))
    if as_json:
        print_json(row)
        return
    print_foreign(f"{row['name']}  {row['path']}")
    print_foreign(f"{row['parameters']:,} parameters, {human_bytes(row['bytes'])}")
    for key, value in row["config"].items():
        print_foreign(f"  {key}: {value}")


def _folders() -> list[tuple[str, Path]]:
    from mlx_mixer.checkpoint import CONFIG_NAME, default_model_path

    root = default_paths().models
    local = sorted(path.parent for path in root.glob(f"*/{CONFIG_NAME}") if not path.parent.name.startswith("."))
    return [("default", default_model_path()), *((folder.name, folder) for folder in local)]


def _describe(name: str, folder: Path) -> dict[str, Any]:
    from mlx_mixer.checkpoint import load_config

    config = load_config(folder)
    return {
        "name": name,
        "path": str(folder),
        "bytes": sum(file.stat().st_size for file in folder.glob("*") if file.is_file()),
        "parameters": config.num_parameters,
        "config": config.to_dict(),
    }
