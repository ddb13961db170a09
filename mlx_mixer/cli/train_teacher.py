"""`mlx-mixer train teacher`."""

import time
from pathlib import Path

import click

from mlx_mixer.cli.output import narrate
from mlx_mixer.cli.train_options import PATH, finish, model_named, seconds_since


@click.command()
@click.argument("pairs", nargs=-1, required=True, type=PATH)
@click.option("--model", required=True, type=model_named, metavar="MODEL", help="The teacher: a model folder or name.")
@click.option("-o", "--out", required=True, type=PATH, help="File to make, named .safetensors.")
@click.option("--json", "as_json", is_flag=True, help="Print a summary as JSON.")
def teacher(pairs: tuple[Path, ...], model: Path, out: Path, as_json: bool) -> None:
    """Embed PAIRS with a model that others are to learn from: for train retrieval --teacher."""
    from mlx_mixer.embedding import load_embedder
    from mlx_mixer.training.data import read_pairs
    from mlx_mixer.training.distillation import save_teacher

    started = time.monotonic()
    found = read_pairs(pairs)
    embedder = load_embedder(model)
    queries = [query for pair in found for query in pair.queries]
    narrate(f"embedding {len(found):,} passages and {len(queries):,} queries")
    save_teacher(out, embedder.embed([pair.passage for pair in found]), embedder.embed(queries, "query"))
    summary = {"out": str(out), "passages": len(found), "queries": len(queries), "dims": embedder.dims}
    line = f"{out}  {len(found):,} passages  {len(queries):,} queries  {embedder.dims} values each"
    finish({**summary, "seconds": seconds_since(started)}, as_json, line)
