"""`mlx-mixer docs`: what is in the library."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlx_mixer.cli.docs_check import check
from mlx_mixer.cli.library import BUNDLED, ProgressLine, open_library
from mlx_mixer.cli.output import human_bytes, narrate, print_json
from mlx_mixer.cli.reports import print_report
from mlx_mixer.cli.upkeep import repair, retry, watch
from mlx_mixer.safe_text import safe_line

if TYPE_CHECKING:
    from mlx_mixer.documents.catalogue import LibraryStatus
    from mlx_mixer.documents.export import Format, Precision


@click.group()
def docs() -> None:
    """Add your files to the library and see what is in it."""


docs.add_command(check)


@docs.command()
@click.argument("paths", nargs=-1, type=click.Path())
@click.option("--words-only", is_flag=True, help="Do not embed now; a later `docs add` will.")
@click.option("-v", "--verbose", is_flag=True, help="Name every file that was left out, with the reason.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def add(context: click.Context, paths: tuple[str, ...], words_only: bool, verbose: bool, as_json: bool) -> None:
    """Bring files and folders into the library, or up to date there.

    Without a path, looks again through everything that was added before. Files that did not change are not read.
    Ctrl+C stops; what was done is kept, and the next `docs add` goes on from there.
    """
    line = ProgressLine()
    with open_library(words_only=words_only, embeds=True) as library:
        try:
            report = library.add(paths, progress=line) if paths else library.refresh(progress=line)
        finally:
            line.clear()
    if as_json:
        print_json(asdict(report))
    else:
        print_report(report, verbose=verbose)
    context.exit(1 if report.failed else 0)


@docs.command("list")
@click.option("--left-out", is_flag=True, help="List what is not in the library instead, with the reasons.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def list_documents(left_out: bool, as_json: bool) -> None:
    """List the documents in the library."""
    with open_library(words_only=True) as library:
        if left_out:
            rows: list[Any] = library.left_out()
        else:
            rows = library.documents()
    if as_json:
        print_json({"left_out" if left_out else "documents": [asdict(row) for row in rows]})
        return
    for row in rows:
        detail = row.reason if left_out else f"{row.chunks} passages, {human_bytes(row.size)}"
        click.echo(f"{safe_line(row.path)}  ({safe_line(detail)})")
    if not rows and not left_out:
        narrate("the library is empty; add files with: mlx-mixer docs add PATH")


@docs.command("rm")
@click.argument("paths", nargs=-1, required=True, type=click.Path())
def remove(paths: tuple[str, ...]) -> None:
    """Forget files or folders and everything read from them; the files themselves stay.

    Adding the folder they lie in brings them back.
    """
    removed = 0
    with open_library(words_only=True) as library:
        for path in paths:
            removed += library.remove(path)
    click.echo(f"removed {removed} document{'' if removed == 1 else 's'} from the library")


@docs.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def status(as_json: bool) -> None:
    """Show how much is in the library and what is still to be done."""
    with open_library() as library:
        state = library.status()
    if as_json:
        print_json(asdict(state))
        return
    click.echo(f"library    {safe_line(state.path)} ({human_bytes(state.size)}, schema {state.schema})")
    for root in state.roots:
        click.echo(f"added      {safe_line(root)}")
    click.echo(f"documents  {state.documents} in {state.chunks} passages")
    done = 100.0 if not state.chunks else 100.0 * (state.chunks - state.pending) / state.chunks
    click.echo(f"meaning    {done:.0f} %" + (f", {state.pending} passages to go" if state.pending else ""))
    click.echo(f"embedder   {_embedder(state)}")
    click.echo(f"health     {_health(state)}")
    click.echo(f"watched    {f'by process {state.watcher}' if state.watcher else 'no (docs watch)'}")
    click.echo(f"left out   {state.skipped} on purpose, {state.failed} unreadable (docs list --left-out)")


@docs.command("export")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The file or folder to make.")
@click.option(
    "--format",
    "kind",
    type=click.Choice(["parquet", "lancedb"]),
    default="parquet",
    show_default=True,
    help="A Parquet file, or a LanceDB folder with the table `chunks`.",
)
@click.option("--vectors", is_flag=True, help="Write the vectors of the library's embedder too.")
@click.option(
    "--precision",
    type=click.Choice(["float16", "float32"]),
    default="float16",
    show_default=True,
    help="Of the vectors; they are stored as float16, but not every engine reads that.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def export(out: Path, kind: "Format", vectors: bool, precision: "Precision", as_json: bool) -> None:
    """Write passages, and their vectors, as a table for another engine.

    One row a passage: path, page, line, headings, text and hashes. docs/export.md shows how to go on from there.
    """
    line = ProgressLine()
    with open_library(words_only=not vectors) as library:
        try:
            count = library.export(out, kind=kind, vectors=vectors, precision=precision, progress=line)
        finally:
            line.clear()
    size = sum(file.stat().st_size for file in (out.rglob("*") if out.is_dir() else [out]) if file.is_file())
    if as_json:
        print_json({"out": str(out), "format": kind, "passages": count, "bytes": size, "vectors": vectors})
    else:
        click.echo(f"{count} passages in {safe_line(str(out))} ({human_bytes(size)})")


def _embedder(state: "LibraryStatus") -> str:
    name = "the bundled model" if state.embedder == BUNDLED else safe_line(state.embedder)
    if state.adapting:
        name += f"; process {state.adapting} adapts it to your files"
    if state.incoming is None:
        return name
    incoming = "the bundled model" if state.incoming == BUNDLED else safe_line(state.incoming)
    return f"{name}; {incoming} takes over after {state.incoming_pending} passages (docs add goes on)"


def _health(state: "LibraryStatus") -> str:
    checked = f"found sound {_age(state.checked)}" if state.checked else "not checked yet (docs repair)"
    copy = f"copied {_age(state.backed_up)}" if state.backed_up else "no copy yet"
    return f"{checked}, {copy}" + (", read-only: search works, nothing can be added" if state.read_only else "")


def _age(moment: int) -> str:
    """How long ago that was, for people."""
    seconds = max(0.0, time.time() - moment)
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit} ago"
    return "just now"


for command in (watch, retry, repair):
    docs.add_command(command)
