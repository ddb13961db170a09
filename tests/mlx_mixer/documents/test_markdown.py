"""Markdown falls into sections where a reader sees headings."""

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_mixer.documents.markdown import read_markdown
from tests.mlx_mixer.documents.slow_markdown import read_markdown_slowly


def sections(text: str) -> list[tuple[str, tuple[str, ...]]]:
    """The text of every section, and its heading."""
    document = read_markdown(text)
    ends = [section.start for section in document.sections[1:]] + [len(text)]
    return [(text[s.start : e], s.heading) for s, e in zip(document.sections, ends, strict=True)]


def test_headings_form_a_path() -> None:
    text = "intro\n# Guide\na\n## Install\nb\n### Linux\nc\n## Use\nd\n"
    assert sections(text) == [
        ("intro\n", ()),
        ("# Guide\na\n", ("Guide",)),
        ("## Install\nb\n", ("Guide", "Install")),
        ("### Linux\nc\n", ("Guide", "Install", "Linux")),
        ("## Use\nd\n", ("Guide", "Use")),
    ]
    assert read_markdown(text).title == "Guide"


def test_a_document_may_start_with_its_heading() -> None:
    assert sections("# Title\ntext") == [("# Title\ntext", ("Title",))]


def test_underlined_headings_are_headings() -> None:
    assert sections("Title\n=====\na\n\nPart\n---\nb") == [
        ("Title\n=====\na\n\n", ("Title",)),
        ("Part\n---\nb", ("Title", "Part")),
    ]


@pytest.mark.parametrize("text", ["- item\n---\n", "a\n\n---\nb\n", "| a |\n---\n", "    code\n---\n", "#hashtag\n"])
def test_what_only_looks_like_a_heading_is_none(text: str) -> None:
    assert [heading for _, heading in sections(text)] == [()]


def test_a_comment_in_a_code_fence_is_no_heading_and_the_fence_is_one_block() -> None:
    text = "# A\n```sh\n# not a heading\n~~~\n```\nafter\n"
    document = read_markdown(text)
    assert [section.heading for section in document.sections] == [("A",)]
    (start, end) = document.blocks[0]
    assert text[start:end] == "```sh\n# not a heading\n~~~\n```\n"


def test_a_fence_that_never_closes_hides_the_rest() -> None:
    assert len(sections("# A\n````\n```\n# B\n")) == 1


def test_front_matter_names_the_title_and_holds_no_heading() -> None:
    text = '---\ntitle: "The Title"\n# comment\n---\n# First\n'
    document = read_markdown(text)
    assert document.title == "The Title"
    assert [section.heading for section in document.sections] == [(), ("First",)]


@pytest.mark.parametrize(
    ("line", "heading"),
    [
        ("# *Bold* `code` and [a link](http://x) ##", "Bold code and a link"),
        ("##   spaced   ", "spaced"),
        ("#", ""),
        ("# C#", "C#"),
    ],
)
def test_a_heading_is_shown_without_its_markup(line: str, heading: str) -> None:
    assert sections(line)[0][1] == (heading,)


def test_a_line_made_to_be_slow_is_not() -> None:
    for line in ("# " + " " * 300_000 + "x", "---\ntitle: " + "\t" * 300_000 + "x\n---", "[" * 300_000):
        started = time.monotonic()
        read_markdown(f"{line}\n===\n")
        assert time.monotonic() - started < 2


@given(st.lists(st.sampled_from(["# a", "## b", "text", "", "---", "===", "```", "~~~~", "    x", "- l", "title: q"])))
@settings(max_examples=150)
def test_sections_always_cover_the_text(lines: list[str]) -> None:
    text = "\n".join(lines)
    document = read_markdown(text)
    starts = [section.start for section in document.sections]
    assert starts[0] == 0
    assert starts == sorted(set(starts))
    assert "".join(part for part, _ in sections(text)) == text
    assert all(0 <= start < end <= len(text) + 1 for start, end in document.blocks)


LINES = [
    "# A", "## B ##", "#x", "text", "===", "---", "--- ", "- item", "```", "```py", "````", "~~~~", "~~~", "", " # C",
    "    # code", "| a", "  ---", "=", "-", "...", "title: x", "> q", "x" * 1001, "===  ", "a",
]  # fmt: skip


@given(st.lists(st.sampled_from(LINES), min_size=1, max_size=12).map("\n".join).filter(bool))
@settings(max_examples=300)
def test_the_quick_reader_finds_what_reading_line_by_line_finds(text: str) -> None:
    for variant in (text, f"{text}\n", f"---\n{text}"):
        assert read_markdown(variant) == read_markdown_slowly(variant)


def test_our_own_documents_read_the_same_line_by_line() -> None:
    files = [*Path().glob("*.md"), *Path("docs").rglob("*.md")]
    assert files
    for file in files:
        assert read_markdown(file.read_text()) == read_markdown_slowly(file.read_text())
