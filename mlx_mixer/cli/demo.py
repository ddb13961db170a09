"""`mlx-mixer demo`."""

import sys
import tempfile
from importlib.resources import files
from pathlib import Path

import click

from mlx_mixer.cli.output import narrate, print_foreign

QUERY = "how is the cache trimmed"
PROMPT = "The package manager"


@click.command()
@click.option("--query", default=QUERY, show_default=True, help="What to look for.")
@click.option("--prompt", default=PROMPT, show_default=True, help="What to continue.")
def demo(query: str, prompt: str) -> None:
    """Search this project's own files and write a few words.

    Uses a library that is thrown away afterwards; your own is not touched.
    """
    _search(query)
    _write(prompt)


def _search(query: str) -> None:
    # Imported when the command runs: the library needs SQLite, the embedder needs MLX.
    from mlx_mixer.documents.library import Library
    from mlx_mixer.embedding import load_embedder

    package = Path(str(files("mlx_mixer")))
    readme = package.parent / "README.md"
    sources = [package, *([readme] if readme.is_file() else [])]
    with (
        tempfile.TemporaryDirectory() as folder,
        Library(Path(folder) / "demo.sqlite3", embedder=load_embedder()) as library,
    ):
        narrate("adding this project's own files to a throw-away library ...")
        library.add(sources)
        hits = library.search(query, limit=3).hits
        click.echo(f"Search: {query}\n")
        for hit in hits:
            print_foreign(f"  {hit.path}:{hit.line}  {hit.heading}")
            print_foreign(f"    {' '.join(hit.snippet.split())[:200]}")
            print_foreign(f"    {hit.why}\n")


def _write(prompt: str) -> None:
    from mlx_mixer.checkpoint import load
    from mlx_mixer.sampling import SamplingSettings
    from mlx_mixer.text import stream_generate

    model, tokenizer = load("default")
    click.echo(f"Write: {prompt}\n")
    print_foreign(f"  {prompt}", newline=False)
    for chunk in stream_generate(model, tokenizer, prompt, settings=SamplingSettings(max_tokens=40, seed=1)):
        print_foreign(chunk.text, newline=False)
        sys.stdout.flush()
    click.echo("\n")
