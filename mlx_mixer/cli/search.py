"""`mlx-mixer search`."""

import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from mlx_mixer.cli.hits import print_hit
from mlx_mixer.cli.library import open_library
from mlx_mixer.cli.output import narrate, print_json

if TYPE_CHECKING:
    from mlx_mixer.documents.filters import Filters
    from mlx_mixer.documents.library import Library
    from mlx_mixer.documents.search import Hit, SearchResult


@click.command()
@click.argument("query", nargs=-1)
@click.option("-n", "--limit", type=click.IntRange(1, 1000), default=10, show_default=True, help="Most hits to show.")
@click.option(
    "--path", "paths", multiple=True, metavar="TEXT", help="Only files with this in their path, or a pattern."
)
@click.option(
    "--type", "types", multiple=True, metavar="TYPE", help="Only files of a type: md, pdf, py, code, mail ..."
)
@click.option("--after", metavar="DATE", help="Only files changed from then on: 2026-01-31, 2026-01, today, 7d.")
@click.option("--before", metavar="DATE", help="Only files last changed before.")
@click.option(
    "--in", "roots", multiple=True, metavar="FOLDER", help="Only what was added as this folder, or is below it."
)
@click.option("--like", metavar="PATH[:LINE]", help="Find passages like this one, in place of a query.")
@click.option("--rerank", metavar="MODEL", help="Let a retrieval model put the best 50 into a new order.")
@click.option("--all", "show_all", is_flag=True, help="Show what matches badly too.")
@click.option("--words-only", is_flag=True, help="Leave meaning out: faster, and exact.")
@click.option("--fail-empty", is_flag=True, help="End with exit code 1 if nothing good is found.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def search(
    context: click.Context,
    query: tuple[str, ...],
    limit: int,
    paths: tuple[str, ...],
    types: tuple[str, ...],
    after: str | None,
    before: str | None,
    roots: tuple[str, ...],
    like: str | None,
    rerank: str | None,
    show_all: bool,
    words_only: bool,
    fail_empty: bool,
    as_json: bool,
) -> None:
    r"""Find the passage you mean in your files.

    Words may be in any order and form; "a phrase" must occur, -word must not. path:, type:, after:, before: and in: do
    what the options of these names do. A query of - is read from standard input.

    \b
    mlx-mixer search how is the cache trimmed
    mlx-mixer search '"prompt cache" -trim type:py after:7d' --json
    mlx-mixer search --like notes/garden.md:12
    """
    text = " ".join(query)
    if text == "-":
        text = sys.stdin.read().strip()
    if bool(text.strip()) == (like is not None):
        raise click.UsageError("give either a query or --like PATH[:LINE]")
    if like is not None and (words_only or rerank):
        raise click.UsageError("--like goes by meaning alone: leave out --words-only and --rerank")
    filters = _filters({"path": paths, "type": types, "after": _one(after), "before": _one(before), "in": roots})
    with open_library(words_only=words_only) as library:
        if like is not None:
            result = library.similar(*_path_and_line(like), limit=limit, filters=filters)
        else:
            result = _search(library, text, limit, filters, rerank, highlight=as_json or sys.stdout.isatty())
        is_empty = not result.hits and library.status().documents == 0
    good = [hit for hit in result.hits if hit.match != "none" or show_all]
    for note in result.notes:
        narrate(note)
    if as_json:
        print_json({"query": text, **asdict(result)})
    else:
        for hit in good:
            print_hit(hit)
    _explain(result, good, is_empty=is_empty)
    context.exit(1 if fail_empty and result.match == "none" else 0)


def _search(
    library: "Library", text: str, limit: int, filters: "Filters", rerank: str | None, *, highlight: bool
) -> "SearchResult":
    reorder = None
    if rerank is not None:
        from mlx_mixer.documents.rerank import load_reranker  # imports MLX

        reorder = load_reranker(rerank)
    return library.search(text, limit=limit, grouped=True, highlight=highlight, filters=filters, reorder=reorder)


def _filters(values: dict[str, tuple[str, ...]]) -> "Filters":
    from mlx_mixer.documents.filters import FilterParser  # with the library's other parts, not for `--help`

    parser = FilterParser()
    for name, given in values.items():
        for value in given:
            if not parser.take(name, value, negated=False):
                allowed = "; write 2026-01-31, 2026-01, today, yesterday or 7d" if name in ("after", "before") else ""
                raise click.BadParameter(f"{value!r} is no value for --{name}{allowed}", param_hint=f"--{name}")
    return parser.filters


def _one(value: str | None) -> tuple[str, ...]:
    return () if value is None else (value,)


def _path_and_line(like: str) -> tuple[str, int | None]:
    """Split ``PATH:LINE``; a file whose name ends in a colon and a number is itself."""
    path, _, line = like.rpartition(":")
    if path and line.isdecimal() and not os.path.lexists(like):
        return path, int(line)
    return like, None


def _explain(result: "SearchResult", shown: "list[Hit]", *, is_empty: bool) -> None:
    """Say on stderr what the hits do not say themselves."""
    left_out = len(result.hits) - len(shown)
    if is_empty:
        narrate("the library is empty; add files with: mlx-mixer docs add PATH")
    elif not result.hits:
        narrate("nothing found")
    elif result.match == "none":
        narrate("nothing good matches" + (f"; --all shows the nearest {left_out} anyway" if left_out else ""))
    elif left_out:
        narrate(f"{left_out} more that match badly; --all shows them")
