"""Texts that are packed come out as they went in, through SQL as well."""

import sqlite3
from contextlib import closing

from hypothesis import given
from hypothesis import strategies as st

from mlx_mixer.documents.blocks import add_functions
from mlx_mixer.documents.packing import BLOCK_CHARACTERS, pack, unpacked_headings, unpacked_texts
from mlx_mixer.documents.records import ChunkData

# No lone surrogates: readers take them out, and SQLite could not hold them either.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def chunk(heading: str, body: str, identifiers: str) -> ChunkData:
    return ChunkData(0, 1, None, heading, body, identifiers)


@given(st.lists(st.builds(chunk, TEXTS, st.one_of(TEXTS, st.builds(lambda t: t * 60, TEXTS)), TEXTS), max_size=12))
def test_what_was_packed_comes_out_of_its_block(chunks: list[ChunkData]) -> None:
    found: list[tuple[str, str, str]] = []
    for block in pack(chunks):
        assert block.first == len(found)
        texts, headings = unpacked_texts(block.texts), unpacked_headings(block.headings)
        assert len(texts) == 2 * len(headings)
        found += zip(headings, texts[: len(headings)], texts[len(headings) :], strict=True)
    assert found == [(c.heading, c.body, c.identifiers) for c in chunks]


def test_blocks_hold_neighbours_up_to_a_size() -> None:
    lengths = [BLOCK_CHARACTERS // 2, BLOCK_CHARACTERS // 2, 1, 3 * BLOCK_CHARACTERS, 5, 6]
    assert [block.first for block in pack([chunk("", "x" * n, "") for n in lengths])] == [0, 2, 3, 4]


def test_repeated_headings_take_no_room() -> None:
    one, many = (pack([chunk("Chapter › Section of a long name", "text", "")] * n)[0] for n in (1, 40))
    assert len(many.headings) < len(one.headings) + 20


def test_sql_reads_each_text_of_a_block() -> None:
    (block,) = pack(
        [chunk("A › B", "first\n\nbody", "get name"), chunk("A › C", "", ""), chunk("", "ünï\x00", "测试 试")]
    )
    with closing(sqlite3.connect(":memory:")) as db:
        add_functions(db)
        rows = [
            db.execute(
                "SELECT block_heading(?1, ?3), block_body(?2, ?3), block_identifiers(?2, ?3)",
                [block.headings, block.texts, index],
            ).fetchone()
            for index in range(3)
        ]
    assert rows == [("A › B", "first\n\nbody", "get name"), ("A › C", "", ""), ("", "ünï\x00", "测试 试")]


def test_open_blocks_are_told_apart_by_all_their_bytes() -> None:
    unpacked_texts.cache_clear()
    first, second = (pack([chunk("", text, "")])[0] for text in ("one", "two"))
    assert [unpacked_texts(block.texts)[0] for block in (first, second, first)] == ["one", "two", "one"]
