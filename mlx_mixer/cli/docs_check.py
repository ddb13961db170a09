"""`mlx-mixer docs check`."""

import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from mlx_mixer.cli.library import open_library
from mlx_mixer.cli.output import narrate, print_json

if TYPE_CHECKING:
    from mlx_mixer.documents.check import CheckReport
    from mlx_mixer.documents.measures import Interval, Quality

_REDRAW_SECONDS = 0.1


@click.command()
@click.option("--items", type=click.IntRange(60, 5000), default=400, show_default=True, help="Most questions to ask.")
@click.option("--dry-run", is_flag=True, help="Measure, and leave the weight of meaning as it is.")
@click.option("--reset", is_flag=True, help="Forget what an earlier check decided, and measure nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check(items: int, dry_run: bool, reset: bool, as_json: bool) -> None:
    """Measure whether meaning helps to find things in your own documents.

    Headings and docstrings of your documents are the questions, what they stand over the answers, with the questions
    taken out. Meaning keeps a weight in searches only if it finds more than words alone. Nothing is asked about files
    that a personal model has learned from.
    """
    from mlx_mixer.documents.gate import Gate
    from mlx_mixer.personal.learned import learned_files  # imports MLX

    counter = _Counter()
    with open_library() as library:
        if reset:
            library.set_gate(None)
            narrate("searches use the shipped weight of meaning again")
            return
        try:
            is_learned = learned_files(library.embedder_choice().current)
            report = library.check(most=items, is_learned=is_learned, progress=counter)
        finally:
            counter.clear()
        if not dry_run:
            library.set_gate(Gate(report.scale, sum(report.items.values()), int(time.time())))
    if as_json:
        print_json({**asdict(report), "held_out_only": is_learned is not None, "stored": not dry_run})
        return
    if is_learned is not None:
        narrate("the personal model learned from some of your files; only the others are asked about")
    _print_report(report)
    if dry_run:
        narrate("nothing was changed (--dry-run)")


def _print_report(report: "CheckReport") -> None:
    kinds = ", ".join(f"{count} {kind}s" for kind, count in report.items.items() if count)
    click.echo(f"{kinds} asked among {report.chunks:,} passages, {report.seconds:.0f} s; means and 95 % intervals\n")
    click.echo(f"{'':9}{'MRR@10':24}{'hit@5':24}nDCG@10")
    for name, quality in (("words", report.words), ("meaning", report.meaning), ("fused", report.fused)):
        click.echo(f"{name:9}{_row(quality, sign='')}")
    click.echo(f"{'gain':9}{_row(report.gain, sign='+')}\n")
    if report.scale:
        click.echo(f"Meaning helps here: it has {report.scale:g} times its shipped weight from now on.")
    else:
        click.echo("Meaning is not shown to help here: searches go by words alone from now on.")
        click.echo("To have it back: mlx-mixer docs check --reset")


def _row(quality: "Quality", *, sign: str) -> str:
    return "".join(f"{_interval(each, sign):24}" for each in (quality.mrr, quality.hit, quality.ndcg)).rstrip()


def _interval(interval: "Interval", sign: str) -> str:
    return f"{interval.mean:{sign}.3f} [{interval.low:{sign}.3f}, {interval.high:{sign}.3f}]"


class _Counter:
    """Counts questions on one line of a terminal, and nowhere else."""

    def __init__(self) -> None:
        self._is_terminal = sys.stderr.isatty()
        self._drawn_at = 0.0

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if self._is_terminal and (done == total or now - self._drawn_at >= _REDRAW_SECONDS):
            self._drawn_at = now
            click.echo(f"\r\x1b[Kasking: {done}/{total}", nl=False, err=True)

    def clear(self) -> None:
        if self._is_terminal and self._drawn_at:
            click.echo("\r\x1b[K", nl=False, err=True)
