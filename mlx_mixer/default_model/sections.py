"""Makes pairs of a heading and its section from Debian documentation packages, for `recipe.sh`.

    python sections.py FOLDER_OF_DEBS OUT.jsonl.gz --without VALID.jsonl.gz ... \
        --held-out PACKAGE ... --held-out-to OTHER.jsonl.gz
    python sections.py FOLDER_OF_DEBS OUT.jsonl.gz --without VALID.jsonl.gz ... --seen EARLIER.jsonl.gz ... \
        --deb-bytes 4000000 --pages 70 --page-bytes 400000 --most 500

Every HTML page of every package is cut at its headings. A section is kept if it reads as English prose, is not mostly
what an earlier one or a passage of the `--seen` files said, and shares less than a fifth of its runs of eight words
with any passage of the valid files. The second call takes a little from each of many packages: of those no larger than
`--deb-bytes`, at most so many pages, none larger than `--page-bytes`, and at most so many sections.
The fields are those of the other training files: `id`, `group`, `query_raw` (the path of headings), `query_hard` (the
last heading, if it is a phrase of its own and does not stand in the passage), `passage`. Sections of the packages named
by `--held-out` go into another file.
"""

import argparse
import gzip
import hashlib
import io
import json
import re
import sys
import tarfile
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selectolax.lexbor import LexborHTMLParser, LexborNode

_AR_MAGIC, _AR_HEADER = b"!<arch>\n", 60
LARGEST_PAGE = 2_000_000
SHORTEST, LONGEST = 200, 2000
# Large packages are mostly reference pages of one shape.
MOST_OF_A_PACKAGE = 3000
_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
_BREAKS = ("p", "li", "div", "tr", "pre", "br", "dt", "dd", "table", "ul", "ol", "dl", "blockquote", "section")
_NOT_TEXT = (
    "script,style,nav,header,footer,aside,noscript,form,button,svg,math,[role=navigation],.headerlink,.sphinxsidebar,"
    ".related,.toctree-wrapper,.contents,#toc,.toc,.navheader,.navfooter,.breadcrumb,.navigation,.node,.linenos,"
    ".prevnext,.sidebar,.topic"
)
_COMMON = frozenset(
    re.findall(r"\w+", "the of to a an is are be and or in on for with that this it as by from if not can you will at")
)
_NUMBER = re.compile(r"^\s*(?:(?:chapter|section|appendix|part)\s+)?(?:[\dA-Z]{1,3}(?:\.\d+)*[.:)]?\s+)(?=\S)", re.I)
_NAME = re.compile(r"[_()<>:=/\\$#@.]|[a-z][A-Z]|\d{2}")
_WORD = re.compile(r"[a-z0-9]+")


@dataclass(frozen=True)
class _Limits:
    """How much of a package is read: so many pages, none larger than so many bytes, and so many sections of them."""

    pages: int | None
    page_bytes: int
    sections: int


def main() -> None:
    parser = argparse.ArgumentParser(description="Pairs from documentation packages.")
    parser.add_argument("debs", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--without", type=Path, action="extend", nargs="+", default=[], metavar="FILE")
    parser.add_argument("--seen", type=Path, action="extend", nargs="+", default=[], metavar="FILE")
    parser.add_argument("--held-out", nargs="+", default=[], metavar="PACKAGE")
    parser.add_argument("--held-out-to", type=Path)
    parser.add_argument("--deb-bytes", type=int, metavar="N", help="leave out larger packages")
    parser.add_argument("--pages", type=int, metavar="N", help="at most so many pages of a package")
    parser.add_argument("--page-bytes", type=int, default=LARGEST_PAGE, metavar="N", help="leave out larger pages")
    parser.add_argument("--most", type=int, default=MOST_OF_A_PACKAGE, metavar="N", help="sections of a package")
    options = parser.parse_args()
    limits = _Limits(options.pages, options.page_bytes, options.most)
    forbidden = _runs_of(options.without)
    seen = _runs_of(options.seen)
    kept: list[dict[str, Any]] = []
    for deb in sorted(options.debs.glob("*.deb")):
        if options.deb_bytes is not None and deb.stat().st_size > options.deb_bytes:
            continue
        found = _fresh(_package_sections(deb, limits), forbidden, seen, limits.sections)
        kept += found
        sys.stderr.write(f"{deb.name}  {len(found):,} sections\n")
    _name_hard_queries(kept)
    kept.sort(key=lambda record: hashlib.sha256(record["id"].encode()).digest())
    is_held_out = [record["group"].partition(":")[0] in options.held_out for record in kept]
    _write(options.out, [record for record, out in zip(kept, is_held_out, strict=True) if not out])
    if options.held_out_to:
        _write(options.held_out_to, [record for record, out in zip(kept, is_held_out, strict=True) if out])


def _write(path: Path, records: list[dict[str, Any]]) -> None:
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def _package_sections(deb: Path, limits: _Limits) -> list[dict[str, Any]]:
    """Sections of a package in a fixed random order."""
    package = deb.name.split("_")[0]
    with tempfile.TemporaryDirectory() as folder:
        with _data_of(deb) as data:
            # Links lead to pages that are read under their own name, or out of the package.
            data.extractall(folder, _pages(data, limits), filter="data")
        pages = sorted(path for path in Path(folder).rglob("*") if path.is_file())
        records = [record for page in pages for record in _page_sections(page, package, page.relative_to(folder))]
    return sorted(records, key=lambda record: hashlib.sha256(record["id"].encode()).digest())


def _pages(data: tarfile.TarFile, limits: _Limits) -> list[tarfile.TarInfo]:
    """The pages of a package that are read; where there are more than the limit, a fixed random choice."""
    pages = [member for member in data if member.isfile() and _is_page(member.name, member.size, limits.page_bytes)]
    chosen = sorted(pages, key=lambda member: hashlib.sha256(member.name.encode()).digest())[: limits.pages]
    # In any other order than the archive's, every page is unpacked from the start again.
    return sorted(chosen, key=lambda member: member.offset)


def _data_of(deb: Path) -> tarfile.TarFile:
    """The files of a package: a `.deb` is an ar archive, with the files in its member `data.tar`."""
    content = deb.read_bytes()
    at = len(_AR_MAGIC)
    while at < len(content):
        name, size = content[at : at + 16].decode().strip(), int(content[at + 48 : at + 58])
        start = at + _AR_HEADER
        if name.startswith("data.tar"):
            return tarfile.open(fileobj=io.BytesIO(content[start : start + size]))
        at = start + size + size % 2
    raise SystemExit(f"{deb} holds no data.tar; is it a Debian package?")


def _is_page(path: str, size: int, largest: int) -> bool:
    name = Path(path).name.removesuffix(".gz")
    wanted = name.endswith((".html", ".htm", ".xhtml")) and not name.startswith(("genindex", "search", "py-modindex"))
    return wanted and size <= largest


def _page_sections(page: Path, package: str, name: Path) -> Iterator[dict[str, Any]]:
    data = page.read_bytes()
    if page.suffix == ".gz":
        data = gzip.decompress(data)
    tree = LexborHTMLParser(data.decode("utf-8", "replace"))
    for node in tree.css(_NOT_TEXT):
        node.decompose()
    if tree.body is None:
        return
    for number, (path, text) in enumerate(_cut(tree.body)):
        passage = _shortened(text)
        if path and len(passage) >= SHORTEST and _is_prose(passage):
            group = f"{package}:{name}"
            yield {"id": f"{group}#{number}", "group": group, "path": path, "passage": passage}


def _cut(body: LexborNode) -> Iterator[tuple[list[str], str]]:
    """(headings from the top, text) of every section of a page, in order."""
    path: list[tuple[int, str]] = []
    parts: list[str] = []
    heading: list[str] = []
    level, last_heading = 0, None
    for node in body.traverse(include_text=True):
        tag = node.tag
        if tag == "-text":
            inside = _heading_around(node)
            if inside is None:
                if heading:
                    path = [*((at, title) for at, title in path if at < level), (level, _title("".join(heading)))]
                    heading = []
                parts.append(node.text_content or "")
            else:
                if inside.mem_id != last_heading:
                    yield [title for _, title in path if title], "".join(parts)
                    parts, heading, last_heading, level = [], [], inside.mem_id, int(str(inside.tag)[1])
                heading.append(node.text_content or "")
        elif tag in _BREAKS:
            parts.append("\n")
    yield [title for _, title in path if title], "".join(parts)


def _heading_around(node: LexborNode) -> LexborNode | None:
    above = node.parent
    for _ in range(4):
        if above is None:
            return None
        if above.tag in _HEADINGS:
            return above
        above = above.parent
    return None


def _title(text: str) -> str:
    return _NUMBER.sub("", " ".join(unicodedata.normalize("NFC", text).replace("¶", " ").split()))[:120].strip()


def _shortened(text: str) -> str:
    lines = (" ".join(line.split()) for line in unicodedata.normalize("NFC", text).replace("\xad", "").split("\n"))
    joined = "\n".join(line for line in lines if line)
    if len(joined) <= LONGEST:
        return joined
    cut = joined[:LONGEST]
    end = max(cut.rfind("\n"), cut.rfind(". ") + 1)
    return cut[: end if end > SHORTEST else LONGEST].strip()


def _is_prose(text: str) -> bool:
    letters = sum(character.isalpha() and character.isascii() for character in text)
    words = text.lower().split()
    common = sum(word in _COMMON for word in words)
    return letters >= 0.65 * len(text) and common >= 0.15 * len(words)


def _fresh(records: list[dict[str, Any]], forbidden: set[int], seen: set[int], most: int) -> list[dict[str, Any]]:
    """The first `most` that say something new; what they say is seen from then on."""
    kept: list[dict[str, Any]] = []
    for record in records:
        runs = _runs(record["passage"])
        if len(kept) == most:
            break
        if not runs or len(runs & forbidden) >= 0.2 * len(runs) or len(runs & seen) >= 0.4 * len(runs):
            continue
        seen |= runs
        kept.append(record)
    return kept


def _runs_of(files: list[Path]) -> set[int]:
    return {run for file in files for record in _records(file) for run in _runs(record["passage"])}


def _runs(text: str) -> set[int]:
    words = _WORD.findall(text.lower())
    return {hash(tuple(words[at : at + 8])) for at in range(len(words) - 7)}


def _name_hard_queries(records: list[dict[str, Any]]) -> None:
    often = Counter(record["path"][-1].lower() for record in records)
    for record in records:
        path = record.pop("path")
        last, passage = path[-1], record["passage"].lower()
        is_phrase = 2 <= len(last.split()) <= 14 and not _NAME.search(last)
        hard = last if is_phrase and often[last.lower()] == 1 and last.lower() not in passage else None
        record["query_raw"], record["query_hard"] = " > ".join(path[-3:]), hard


def _records(file: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


if __name__ == "__main__":
    main()
