"""How a hit looks in a terminal: bold where a word matches, underlined where it is near in meaning, links to files."""

import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import click

from mlx_mixer.documents.structure import page_label
from mlx_mixer.safe_text import safe_line

if TYPE_CHECKING:
    from mlx_mixer.documents.search import Hit

_LINK, _END = "\x1b]8;;", "\x1b\\"


def print_hit(hit: "Hit") -> None:
    """Print a hit in a few lines; styles and links only on a terminal."""
    styled = sys.stdout.isatty()
    place = _place(hit, styled=styled)
    page = page_label(hit.page_kind, hit.page)
    heading = f"  {safe_line(hit.heading)}" if hit.heading else ""
    click.echo(place + (f"  {page}" if page else "") + heading)
    click.echo("    " + _snippet(hit, styled=styled))
    reason = hit.why if hit.match == "strong" else f"{hit.match} match · {hit.why}" if hit.why else hit.match
    if hit.places:
        reason += " · also line " + ", ".join(str(place.line) for place in hit.places)
    click.echo(f"    {safe_line(reason)}\n")


def linked(text: str, path: str) -> str:
    """Wrap text in a terminal's link (OSC 8) to a file."""
    url = f"file://{quote(socket.gethostname())}{quote(os.fsencode(path))}"
    return f"{_LINK}{url}{_END}{text}{_LINK}{_END}"


def _place(hit: "Hit", *, styled: bool) -> str:
    place = f"{safe_line(_short(hit.path))}:{hit.line}"
    return linked(click.style(place, bold=True), hit.path) if styled else place


def _snippet(hit: "Hit", *, styled: bool) -> str:
    if not styled:
        return safe_line(hit.snippet)
    marks = sorted([(*span, "bold") for span in hit.marks] + [(*span, "underline") for span in hit.meaning_marks])
    pieces, position = [], 0
    for start, end, style in marks:
        pieces.append(safe_line(hit.snippet[position:start]))
        word = safe_line(hit.snippet[start:end])
        pieces.append(click.style(word, bold=True) if style == "bold" else click.style(word, underline=True))
        position = end
    return "".join(pieces) + safe_line(hit.snippet[position:])


def _short(path: str) -> str:
    """A path below the current folder relative to it, others as they are."""
    folder = Path.cwd()
    return str(Path(path).relative_to(folder)) if Path(path).is_relative_to(folder) else path
