"""`mlx-mixer docs watch`, `retry` and `repair`: keeping the library fresh and sound."""

import signal
import threading
import time
from dataclasses import asdict
from types import FrameType
from typing import TYPE_CHECKING

import click

from mlx_mixer.cli.library import EmbedderFollower, ProgressLine, open_library
from mlx_mixer.cli.output import narrate, print_json
from mlx_mixer.cli.reports import print_report, summary
from mlx_mixer.paths import default_paths
from mlx_mixer.safe_text import safe_line

if TYPE_CHECKING:
    from mlx_mixer.documents.events import AddReport


@click.command()
@click.option("--words-only", is_flag=True, help="Do not embed.")
@click.option("--every", "minutes", type=click.FloatRange(min=0.1), default=15.0, show_default=True,
              help="Minutes from one look through everything to the next.")  # fmt: skip
def watch(words_only: bool, minutes: float) -> None:
    """Keep the library fresh while files change, until Ctrl+C.

    What changes is searchable a moment later; searching goes on meanwhile, in this and in other programs.
    """
    from mlx_mixer.documents.lock import watcher_lock
    from mlx_mixer.documents.watch import Watcher, WatchTimes

    stop = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    with open_library(words_only=words_only, embeds=True) as library, watcher_lock(library.path):
        if not library.root_paths():
            narrate("nothing to watch yet; add a folder with: mlx-mixer docs add PATH")
        narrate("watching; Ctrl+C ends it")
        follow = None if words_only else EmbedderFollower(library)

        def tell(report: "AddReport") -> None:
            _narrate_report(report)
            if follow is not None:
                follow()

        Watcher(library, tell, WatchTimes(sweep=60.0 * minutes)).run(stop)
    narrate("not watching any more; what was done is kept")


@click.command()
@click.argument("paths", nargs=-1, type=click.Path())
@click.option("--words-only", is_flag=True, help="Do not embed now.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def retry(context: click.Context, paths: tuple[str, ...], words_only: bool, as_json: bool) -> None:
    """Read again what could not be read before, everywhere or at these paths.

    A file that changes, or gets a better reader, is read again without being asked for.
    """
    line = ProgressLine()
    with open_library(words_only=words_only, embeds=True) as library:
        try:
            report = library.retry(paths, progress=line)
        finally:
            line.clear()
    if as_json:
        print_json(asdict(report))
    else:
        print_report(report, verbose=True)
    context.exit(1 if report.failed else 0)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def repair(as_json: bool) -> None:
    """Look for damage of the library, and mend it.

    The index of words is made anew from the texts; if more is damaged, the newest sound copy takes the library's place,
    or a new one is made from your files. The damaged file is kept.
    """
    from mlx_mixer.documents.repair import repair as mend

    report = mend(default_paths().library)
    added = None
    if report.needs_refresh:
        line = ProgressLine()
        with open_library(words_only=True) as library:
            try:
                added = library.refresh(progress=line)
            finally:
                line.clear()
    if as_json:
        print_json({**asdict(report), "refresh": asdict(added) if added else None})
        return
    for fault in report.faults:
        narrate(f"found: {safe_line(fault)}")
    if not report.faults:
        click.echo("the library is sound")
    elif report.rebuilt_words:
        click.echo("the index of words was made anew; the library is sound")
    else:
        source = report.restored_from or "nothing but your files"
        click.echo(f"the library was restored from {safe_line(source)}; {summary(added) if added else ''}")
        click.echo(f"the damaged file is kept as {safe_line(report.kept_as or '')}")


def _narrate_report(report: "AddReport") -> None:
    text = summary(report, only_changes=True)
    if text:
        narrate(f"{time.strftime('%H:%M:%S')}  {text}")
