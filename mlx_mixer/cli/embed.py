"""`mlx-mixer embed`."""

import sys

import click

from mlx_mixer.cli.output import print_json
from mlx_mixer.errors import UsageError


@click.command()
@click.argument("texts", nargs=-1)
@click.option("-m", "--model", "model_name", help="Model folder or name; the bundled model if omitted.")
@click.option(
    "--kind",
    type=click.Choice(["document", "query"]),
    default="document",
    show_default=True,
    help="What the texts are; the bundled model treats both alike.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print JSON with the texts' vectors; otherwise one line of numbers each."
)
def embed(texts: tuple[str, ...], model_name: str | None, kind: str, as_json: bool) -> None:
    """Turn texts into vectors.

    Texts are arguments, or the lines of standard input. Vectors have length 1, so a dot product is their cosine.
    """
    lines = list(texts) or [line.rstrip("\n") for line in ([] if sys.stdin.isatty() else sys.stdin)]
    if not lines:
        raise UsageError('nothing to embed; try: mlx-mixer embed "a text" "another one"')
    # MLX is imported once there is something to do.
    from mlx_mixer.embedding import load_embedder

    embedder = load_embedder(model_name)
    vectors = embedder.embed(lines, "query" if kind == "query" else "document")
    if as_json:
        print_json({"dims": embedder.dims, "fingerprint": embedder.fingerprint, "embeddings": vectors.tolist()})
        return
    for vector in vectors:
        click.echo(" ".join(f"{value:.6f}" for value in vector))
