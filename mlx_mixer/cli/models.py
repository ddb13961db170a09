"""`mlx-mixer models list|info|search|download|rm`."""

import os
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from mlx_mixer.cli.output import human_bytes, narrate, print_foreign, print_json
from mlx_mixer.cli.repository import INTERRUPTED, hub, is_repository, show_repository
from mlx_mixer.cli.transfer_bar import TransferBar
from mlx_mixer.errors import MixerError, ModelNotFoundError
from mlx_mixer.paths import default_paths

SEARCH_LIMIT = 20


@click.group()
def models() -> None:
    """Find, fetch and show models."""


@models.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_models(as_json: bool) -> None:
    """List the bundled model, the models folder, and transformers in the Hugging Face cache."""
    rows, broken = [], []
    for name, folder in _folders():
        try:
            rows.append(_describe(name, folder))
        except MixerError as error:
            broken.append(f"{name}: {error}")
    transformers = _transformers()
    if as_json:
        print_json({"models": rows, "unusable": broken, "transformers": transformers})
        return
    for row in rows:
        config = row["config"]
        form = config.get("token_mixing", config["model_type"])
        shape = f"{form}, {config['num_layers']} x {config['hidden_size']}"
        print_foreign(f"{row['name']:24}{shape:24}{config['context_length']:>6} tokens  {human_bytes(row['bytes']):>9}")
    for row in transformers:
        print_foreign(f"{row['name']:48}{row['model_type']:>13}  {human_bytes(row['bytes']):>9}  for mlx-lm")
    for line in broken:
        narrate(f"unusable: {line}")


@models.command()
@click.argument("name", default="default")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def info(name: str, as_json: bool) -> None:
    """Show a model on this machine, or what OWNER/NAME on the Hub is and whether it fits."""
    # Reading a config needs MLX, because the checkpoint module loads arrays too.
    from mlx_mixer.checkpoint import resolve_model

    try:
        folder = resolve_model(name)
    except ModelNotFoundError:
        if not is_repository(name):
            raise
        show_repository(name, as_json)
        return
    row = _describe(name, folder)
    if as_json:
        print_json(row)
        return
    print_foreign(f"{row['name']}  {row['path']}")
    print_foreign(f"{row['parameters']:,} parameters, {human_bytes(row['bytes'])}")
    for key, value in row["config"].items():
        print_foreign(f"  {key}: {value}")


@models.command()
@click.argument("query")
@click.option("--limit", default=SEARCH_LIMIT, show_default=True, type=click.IntRange(1, 1000), help="Rows at most.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def search(query: str, limit: int, as_json: bool) -> None:
    """Search the Hugging Face Hub by the words of a model's name."""
    rows = hub().search_models(query, limit=limit)
    if as_json:
        print_json({"query": query, "models": rows})
        return
    for row in rows:
        size = f"{row['parameters'] / 1e6:,.0f} M" if row["parameters"] else ""
        gated = "  gated" if row["is_gated"] else ""
        downloads = f"{row['downloads'] or 0:,}"
        print_foreign(f"{row['repo']:52}{row['model_type'] or '':16}{size:>10}{downloads:>12} downloads{gated}")
    if len(rows) == limit:
        narrate(f"these are the first {limit}; --limit shows more")
    elif not rows:
        narrate("nothing found")


@models.command()
@click.argument("repository", metavar="OWNER/NAME[@REVISION]")
@click.option("--name", help="Name in the models folder; the repository's if omitted.")
@click.option("--force", is_flag=True, help="Fetch even if it does not fit.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def download(repository: str, name: str | None, force: bool, as_json: bool) -> None:
    """Fetch a model from the Hugging Face Hub and convert it if need be.

    What it is and whether it fits is looked up first. An interrupted download goes on where it was. HF_TOKEN opens
    private and gated repositories.
    """
    task = hub().install_task(repository, name=name, force=force)
    try:
        with TransferBar() as bar:
            done = task.wait(bar)
    except KeyboardInterrupt:
        narrate(INTERRUPTED)
        raise
    if as_json:
        print_json({"repository": repository, **done})
        return
    for note in (*done["notes"], *done["warnings"], *filter(None, [done["note"]])):
        narrate(f"note: {note}")
    print_foreign(f"{done['path']}  {done['kind']}, commit {done['commit'][:12]}")


@models.command()
@click.argument("name")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def rm(name: str, yes: bool, as_json: bool) -> None:
    """Remove a model from the models folder."""
    root = default_paths().models
    installed = import_module("convert.hub.installed")
    folder = installed.removable_model(root, name)
    size = sum(file.stat().st_size for file in folder.glob("*") if file.is_file())
    if not yes:
        click.confirm(f"Remove {folder} ({human_bytes(size)})?", abort=True, err=True)
    removed = installed.remove_model(root, name)
    if as_json:
        print_json({"removed": str(removed), "bytes": size})
        return
    print_foreign(f"removed {removed} ({human_bytes(size)})")
    narrate("what was fetched for it stays in the Hugging Face cache; hf cache ls shows it")


def _transformers() -> list[dict[str, Any]]:
    cache = import_module("convert.hub.cache").cache_folder(os.environ)
    if not cache.is_dir():
        return []
    found = import_module("convert.hub.installed").cached_transformers(cache)
    return [
        {
            "name": row.repo,
            "path": str(row.path),
            "bytes": row.bytes,
            "model_type": row.model_type,
            "commit": row.commit,
        }
        for row in found
    ]


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
