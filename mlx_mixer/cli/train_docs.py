"""`mlx-mixer train retrieval --docs`: adapting the embedder to the documents of the library."""

import sys
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlx_mixer.cli.library import BUNDLED, ProgressLine, open_library
from mlx_mixer.cli.output import narrate, print_foreign, print_json
from mlx_mixer.paths import default_paths
from mlx_mixer.safe_text import safe_line

if TYPE_CHECKING:
    from mlx_mixer.personal.adapt import Candidate, Mined

_FLAG = "--docs"
_EXAMPLES = 3
# Often enough to see that it goes on, rarely enough to be read in a log.
_SECONDS_BETWEEN_LINES = 5.0


class PairsOrDocs(click.Command):
    """A command that is another one where `--docs` is given: its other options would mean nothing then."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        if _FLAG in args:
            others = [argument for argument in args if argument != _FLAG]
            return adapt_to_docs.make_context(f"{info_name} {_FLAG}", others, parent, **extra)
        return super().make_context(info_name, args, parent, **extra)


@click.command()
@click.option("--dry-run", is_flag=True, help="Show what there is to learn from, and train nothing.")
@click.option("--pairs-out", type=click.Path(path_type=Path), help="Write the mined pairs to this .jsonl file.")
@click.option("--undo", is_flag=True, help="Go back to the bundled model, and train nothing.")
@click.option("--steps", default=200, show_default=True, type=click.IntRange(min=1), help="Optimiser steps at most.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Decides what is held out.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def adapt_to_docs(dry_run: bool, pairs_out: Path | None, undo: bool, steps: int, seed: int, as_json: bool) -> None:
    """Adapt the embedder to your documents, and keep it if it finds more.

    Questions are mined from the library (headings, docstrings, subjects of mail, links), what gives their answers away
    is taken out, and the model learns to find the answers. Files that it did not learn from decide: only if it finds
    more there does it take over, while searching goes on. Takes minutes; Ctrl+C changes nothing.
    """
    with open_library() as library:
        if undo:
            _go_back(library, as_json)
            return
        # Training takes long to import.
        from mlx_mixer.documents.lock import adapting_lock
        from mlx_mixer.personal.adapt import AdaptSettings, mine_library
        from mlx_mixer.personal.pair_files import write_all_pairs

        settings = AdaptSettings(steps=steps, seed=seed)
        tell = _Steps()
        started = time.perf_counter()
        with adapting_lock(library.path):
            mined = mine_library(library, settings, tell)
            mining = time.perf_counter() - started
            if pairs_out is not None:
                write_all_pairs(pairs_out, mined.parts())
            if dry_run:
                _show_mined(mined, as_json)
                return
            narrate(_mined_line(mined))
            _adapt(library, mined, settings, tell, mining, as_json)


def _adapt(library: Any, mined: "Mined", settings: Any, tell: "_Steps", mining: float, as_json: bool) -> None:
    from mlx_mixer.personal.adapt import MODEL, adapt, work_folder
    from mlx_mixer.personal.install import install

    with work_folder(library.path) as work:
        candidate = adapt(library, mined, settings, work, report=tell, is_cancelled=lambda: False)
        name, seconds = None, {"mining": round(mining, 1), **candidate.seconds}
        if candidate.outcome.is_better:
            started = time.perf_counter()
            line = ProgressLine()
            try:
                name = install(library, work / MODEL, candidate, mined, default_paths().models, progress=line)
            finally:
                line.clear()
            seconds["embedding"] = round(time.perf_counter() - started, 1)
    if as_json:
        print_json(
            {
                "installed": name,
                "kept": None if name else candidate.before,
                "origin": candidate.origin,
                "documents": mined.documents,
                "passages": mined.chunks,
                "pairs": mined.counts(),
                "share": candidate.share,
                "steps": candidate.steps,
                "outcome": asdict(candidate.outcome),
                "seconds": seconds,
            }
        )
    else:
        _show_outcome(candidate, name, sum(seconds.values()))


def _go_back(library: Any, as_json: bool) -> None:
    from mlx_mixer.personal.install import undo

    before = library.embedder_choice().current
    line = ProgressLine()
    try:
        undo(library, progress=line)
    finally:
        line.clear()
    if as_json:
        print_json({"before": before, "embedder": BUNDLED})
    else:
        print_foreign(f"searches go by the bundled model again, not by {before}")


def _show_mined(mined: "Mined", as_json: bool) -> None:
    if as_json:
        print_json({"documents": mined.documents, "passages": mined.chunks, "pairs": mined.counts()})
        return
    click.echo(_mined_line(mined))
    for kind in Counter(pair.item.kind for pair in mined.split.train):
        click.echo(f"\n{kind}")
        examples = [pair for pair in mined.split.train if pair.item.kind == kind]
        for pair in examples[:: max(1, len(examples) // _EXAMPLES)][:_EXAMPLES]:
            print_foreign(f"  {safe_line(pair.queries[0])}\n    -> {safe_line(' '.join(pair.passage.split())[:90])}")
    narrate("nothing was changed (--dry-run)")


def _mined_line(mined: "Mined") -> str:
    parts = [
        f"{sum(kinds.values()):,} to {what} ({', '.join(f'{count:,} {kind}' for kind, count in kinds.items())})"
        for what, kinds in zip(("learn from", "choose by", "test with"), mined.counts().values(), strict=True)
    ]
    return f"{mined.documents:,} documents, {mined.chunks:,} passages: " + ", ".join(parts)


def _show_outcome(candidate: "Candidate", name: str | None, seconds: float) -> None:
    from mlx_mixer.personal.provenance import gains, interval, systems

    outcome = candidate.outcome
    click.echo(
        f"{outcome.questions} questions of files it did not learn from, among {outcome.chunks:,} passages, "
        f"{seconds:.0f} s; means and 95 % intervals\n"
    )
    click.echo(f"{'':24}{'MRR@10':25}top-1")
    for rows, sign in ((systems(outcome), ""), (gains(outcome), "+")):
        for label, figures in rows:
            click.echo(f"{label:24}{interval(figures.mrr, sign):25}{interval(figures.top1, sign)}")
    click.echo()
    if name:
        click.echo(f"It finds more: your library is embedded by {name} from now on.")
        click.echo("To go back: mlx-mixer train retrieval --docs --undo")
    else:
        click.echo(f"It is not shown to find more ({_why_not(candidate)}): {_present(candidate)} stays.")


def _why_not(candidate: "Candidate") -> str:
    from mlx_mixer.personal.provenance import interval

    outcome = candidate.outcome
    alone, fused = outcome.gain_alone.mrr, outcome.gain_fused.mrr
    return f"MRR@10 alone {interval(alone, '+')}, in searches {interval(fused, '+')}"


def _present(candidate: "Candidate") -> str:
    return "the bundled model" if candidate.before == BUNDLED else safe_line(candidate.before)


class _Steps:
    """One line on stderr for every stage and every few seconds."""

    def __init__(self) -> None:
        self._stage = ""
        self._told = 0.0

    def __call__(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        if stage == self._stage and (now - self._told < _SECONDS_BETWEEN_LINES and done < total):
            return
        self._stage, self._told = stage, now
        narrate(f"{stage} {done:,}/{total:,}" if total else stage)
        sys.stderr.flush()
