"""How the commands tell what a walk through files did."""

from collections import Counter
from typing import TYPE_CHECKING

import click

from mlx_mixer.cli.output import narrate
from mlx_mixer.safe_text import safe_line

if TYPE_CHECKING:
    from mlx_mixer.documents.events import AddReport

_REASONS_SHOWN = 6


def summary(report: "AddReport", *, only_changes: bool = False) -> str:
    """Say in one line what was done; an empty line if nothing changed and only that is asked for."""
    counts = {
        "added": report.added,
        "updated": report.updated,
        "unchanged": report.unchanged,
        "renamed": report.renamed,
        "removed": report.removed,
        "left out": len(report.skipped),
        "failed": len(report.failed),
    }
    kinds = {"added", "updated", "renamed", "removed"} if only_changes else set(counts)
    text = ", ".join(f"{count} {what}" for what, count in counts.items() if count and what in kinds)
    if only_changes and report.embedded:
        text += f"{', ' if text else ''}{report.embedded} passages embedded"
    return text or ("" if only_changes else "nothing to do")


def print_report(report: "AddReport", *, verbose: bool) -> None:
    """Print what was done; every file left out with its reason, or the commonest reasons."""
    click.echo(summary(report))
    if report.embedded or report.reused:
        click.echo(f"{report.embedded} passages embedded, {report.reused} known already")
    if verbose:
        for note in report.skipped:
            click.echo(f"  {safe_line(note.path)}  ({safe_line(note.reason)})")
    elif report.skipped:
        reasons = Counter(note.reason for note in report.skipped).most_common(_REASONS_SHOWN)
        narrate("left out: " + ", ".join(f"{count} {reason}" for reason, count in reasons))
    for note in report.failed:
        narrate(f"not read: {safe_line(note.path)}: {safe_line(note.reason)}")
