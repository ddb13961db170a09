"""Chunks are the document, cut where a reader would cut it."""

import time
from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_mixer.documents.chunk import Chunk, ChunkSizes, _spans, chunk_document, estimate_tokens
from mlx_mixer.documents.markdown import read_markdown
from mlx_mixer.documents.python_source import read_python
from mlx_mixer.documents.structure import PageKind, ReadDocument
from tests.mlx_mixer.documents.slow_chunk import cut_slowly

PROSE = "The package manager keeps a list of what is installed. " * 6
SMALL = ChunkSizes(target=20, maximum=28, minimum=4, trifle=2)


def bodies(document: ReadDocument, chunks: list[Chunk]) -> list[str]:
    return [document.text[chunk.start : chunk.end] for chunk in chunks]


def check(document: ReadDocument, sizes: ChunkSizes) -> None:
    chunks = chunk_document(document, sizes)
    parts = bodies(document, chunks)
    assert "".join(parts) == document.text
    assert all(part.strip() for part in parts) or len(parts) == 1
    for chunk, part in zip(chunks, parts, strict=True):
        assert chunk.line == document.text.count("\n", 0, chunk.start) + 1
        lines = part.split("\n")
        assert sum(estimate_tokens(line) for line in lines) <= sizes.maximum * 1.05


LINES = st.lists(
    st.one_of(
        st.sampled_from(
            ["# One", "## Two", "", "```", "    indented code", "- item", "def f():", "class A:", "    x = 1"]
        ),
        st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=200),
        st.integers(1, 60).map(lambda n: "word " * n),
        st.integers(1, 400).map(lambda n: "x" * n),
        st.integers(1, 120).map(lambda n: "語" * n),
    ),
    min_size=1,
    max_size=40,
)


@given(LINES.map("\n".join).filter(bool), st.sampled_from([SMALL, ChunkSizes()]))
@settings(max_examples=120)
def test_joined_bodies_are_the_document_and_no_chunk_is_too_large(text: str, sizes: ChunkSizes) -> None:
    for document in (ReadDocument(text), read_markdown(text), read_python(text)):
        check(document, sizes)


@given(LINES.map("\n".join).filter(bool), st.lists(st.integers(0, 400), max_size=8).map(sorted))
@settings(max_examples=60)
def test_the_quick_cuts_are_those_of_the_slow_way(text: str, edges: list[int]) -> None:
    document = ReadDocument(text, blocks=tuple(zip(edges[::2], edges[1::2], strict=False)))
    for sizes in (SMALL, ChunkSizes(target=40, maximum=50)):
        quick = [(start, end) for start, end, *_ in _spans(document, sizes)]
        assert quick == cut_slowly(document, sizes)


PAGES = st.lists(st.text("ab \n", max_size=200), min_size=1, max_size=12)


@given(PAGES.filter(lambda pages: any(pages)), st.sampled_from(["page", "cell"]))
def test_no_chunk_goes_over_a_page_unless_pages_are_cells(pages: list[str], kind: PageKind) -> None:
    starts = [0, *accumulate(map(len, pages))][:-1]
    document = ReadDocument("".join(pages), pages=tuple(starts), page_kind=kind)
    chunks = chunk_document(document, SMALL)
    assert "".join(bodies(document, chunks)) == document.text
    for chunk in chunks:
        assert chunk.page == sum(start <= chunk.start for start in starts)
        if kind == "page":
            assert not any(chunk.start < start < chunk.end for start in starts)


def test_a_short_document_is_one_chunk() -> None:
    assert chunk_document(ReadDocument("one\ntwo\n")) == [Chunk(0, 8, 1, ())]


def test_cuts_fall_at_headings() -> None:
    document = read_markdown(f"# A\n{PROSE}\n\n## B\n{PROSE}\n\n## C\n{PROSE}\n")
    assert [part.split("\n")[0] for part in bodies(document, chunk_document(document))] == ["# A", "## B", "## C"]
    assert [chunk.heading for chunk in chunk_document(document)] == [("A",), ("A", "B"), ("A", "C")]


def test_a_long_section_is_cut_at_blank_lines() -> None:
    document = ReadDocument("\n\n".join(f"{number}. {PROSE}" for number in range(12)))
    parts = bodies(document, chunk_document(document))
    assert len(parts) > 4
    assert all(part.split(".")[0].isdigit() for part in parts)


def test_a_heading_alone_joins_the_text_under_the_next_one() -> None:
    document = read_markdown(f"# Title\n\n## Install\n\n{PROSE}")
    chunks = chunk_document(document)
    assert [chunk.heading for chunk in chunks] == [("Title", "Install")]


def test_small_sections_stay_apart_and_keep_their_own_headings() -> None:
    document = read_markdown("# A\n\n## B\n\nOne short line of text.\n\n## C\n\nAnother short line of text.\n")
    assert [chunk.heading for chunk in chunk_document(document)] == [("A", "B"), ("A", "C")]


def test_mere_headings_join_under_what_they_have_in_common() -> None:
    document = read_markdown("# A\n\n## B\n\n## C\n\nText enough to stand alone, it seems to me.\n")
    assert [chunk.heading for chunk in chunk_document(document)] == [("A",)]
    document = read_markdown("# A\n\n## B\n\n## C\n\n# D\n")
    assert [chunk.heading for chunk in chunk_document(document)] == [()]


def test_a_code_fence_is_kept_whole_where_it_fits() -> None:
    fence = "```\n" + "first block of code\n\n" * 12 + "```\n"
    document = read_markdown(f"# A\n{PROSE}{PROSE}\n\n{fence}\n{PROSE}{PROSE}")
    assert sum(fence in part for part in bodies(document, chunk_document(document))) == 1


def test_blank_lines_between_large_functions_are_no_chunk() -> None:
    functions = [f"def function_{n}(a, b):\n" + "    a = a + b + 12345\n" * 38 + "    return a\n" for n in range(3)]
    document = read_python('"""What the module is for."""\n\n\n' + "\n\n".join(functions))
    chunks = chunk_document(document)
    assert [chunk.heading for chunk in chunks] == [(), ("def function_0",), ("def function_1",), ("def function_2",)]
    assert all(part.strip() for part in bodies(document, chunks))


def test_functions_are_kept_whole_where_they_fit() -> None:
    functions = [f"def function_{n}(a, b):\n" + "    a = a + b\n\n" * 20 + "    return a\n" for n in range(6)]
    document = read_python("\n\n".join(functions))
    parts = bodies(document, chunk_document(document))
    assert all(any(function in part for part in parts) for function in functions)


def test_one_endless_line_is_cut_at_words() -> None:
    document = ReadDocument(" ".join("x" * (number % 13 + 1) for number in range(20_000)))
    parts = bodies(document, chunk_document(document))
    assert len(parts) > 100
    assert all(part.endswith(" ") for part in parts[:-1])


def test_a_megabyte_without_a_space_is_cut_all_the_same() -> None:
    check(ReadDocument("x" * 1_000_000), ChunkSizes())


def test_the_longest_line_takes_time_in_proportion() -> None:
    for text in ("x" * 5_000_000, "word and " * 600_000):
        started = time.monotonic()
        chunk_document(ReadDocument(text))
        assert time.monotonic() - started < 10


@pytest.mark.parametrize("target", [60, 200])
def test_chunks_are_near_their_target(target: int) -> None:
    sizes = ChunkSizes(target=target, maximum=target * 7 // 5, minimum=target // 5)
    document = ReadDocument("\n\n".join(["A sentence of ordinary length, as they come."] * 400))
    chunks = chunk_document(document, sizes)
    mean = estimate_tokens(document.text) / len(chunks)
    assert 0.75 * target < mean < 1.25 * target
