"""`mlx-mixer search`."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlx_mixer.cli.library import open_library
from mlx_mixer.cli.output import narrate, print_json
from mlx_mixer.safe_text import safe_line

if TYPE_CHECKING:
    from mlx_mixer.documents.search import Hit


@click.command()
@click.argument("query", nargs=-1, required=True)
@click.option("-n", "--limit", type=click.IntRange(1, 1000), default=10, show_default=True, help="Most hits to show.")
@click.option("--words-only", is_flag=True, help="Leave meaning out: faster, and exact.")
@click.option("--fail-empty", is_flag=True, help="End with exit code 1 if nothing is found.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def search(
    context: click.Context, query: tuple[str, ...], limit: int, words_only: bool, fail_empty: bool, as_json: bool
) -> None:
    r"""Find the passage you mean in your files.

    Words may be in any order and form; "a phrase" must occur, -word must not.

    \b
    mlx-mixer search how is the cache trimmed
    mlx-mixer search '"prompt cache" -trim' --json
    """
    text = " ".join(query)
    with open_library(words_only=words_only) as library:
        result = library.search(text, limit=limit)
        is_empty = not result.hits and not library.documents()
    if as_json:
        print_json({"query": text, **asdict(result)})
    else:
        for hit in result.hits:
            _print_hit(hit)
    if is_empty:
        narrate("the library is empty; add files with: mlx-mixer docs add PATH")
    elif not result.hits:
        narrate("nothing found")
    context.exit(1 if fail_empty and not result.hits else 0)


def _print_hit(hit: "Hit") -> None:
    bold = sys.stdout.isatty()
    place = f"{safe_line(_short(hit.path))}:{hit.line}"
    click.echo(
        (click.style(place, bold=True) if bold else place) + (f"  {safe_line(hit.heading)}" if hit.heading else "")
    )
    pieces, position = [], 0
    for start, end in hit.marks:
        word = safe_line(hit.snippet[start:end])
        pieces += [safe_line(hit.snippet[position:start]), click.style(word, bold=True) if bold else word]
        position = end
    click.echo("    " + "".join(pieces) + safe_line(hit.snippet[position:]))
    click.echo(f"    {safe_line(hit.why)}\n")


def _short(path: str) -> str:
    """A path below the current folder relative to it, others as they are."""
    folder = Path.cwd()
    return str(Path(path).relative_to(folder)) if Path(path).is_relative_to(folder) else path
