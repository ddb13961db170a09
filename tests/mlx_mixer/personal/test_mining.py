"""Pairs are what their documents say, without what gives answers away, and no text is in two parts of a split."""

from pathlib import Path

import pytest

from mlx_mixer.documents.known_items import KnownItem, StoredChunk
from mlx_mixer.documents.library import Library
from mlx_mixer.personal.duplicates import Overlap
from mlx_mixer.personal.giveaways import WordCounts, without_giveaways
from mlx_mixer.personal.links import link_items
from mlx_mixer.personal.mining import Document, mine, read_documents
from mlx_mixer.personal.split import split_pairs
from tests.mlx_mixer.personal.made_up import write_files

REST = "Take away what is dead, what is sick and what rubs on another branch, a third of the crown at most. " * 2
SENTENCE = "Winter is the season in which every gardener sharpens the tools."


def document(content: int, *chunks: tuple[str, str], path: str = "", reader: str = "markdown") -> Document:
    stored = [StoredChunk(seq, heading, body) for seq, (heading, body) in enumerate(chunks)]
    return Document(content, path or f"/docs/{content}.md", reader, stored)


def test_a_passage_without_another_question_is_asked_for_by_its_first_sentence() -> None:
    documents = [
        document(
            1,
            ("Garden", f"{SENTENCE} {REST}"),
            ("Garden › Pruning old trees", f"## Pruning old trees\n\n{SENTENCE} {REST}"),
        )
    ]
    pairs = mine(documents)
    assert [(pair.item.kind, pair.item.query, pair.seq) for pair in pairs] == [
        ("heading", "Pruning old trees", 1),
        ("sentence", SENTENCE, 0),
    ]
    assert SENTENCE not in pairs[1].passage
    assert pairs[1].passage.startswith("Garden\nTake away")


def test_no_question_is_asked_twice_and_of_no_answer_nothing_is_left() -> None:
    section = ("Pruning old trees", f"# Pruning old trees\n\n{REST}")
    assert len(mine([document(1, section), document(2, section)])) == 1
    assert mine([document(1, ("Pruning old trees", "# Pruning old trees\n\nshort\n"))]) == []


def test_names_and_rare_words_that_the_answer_holds_are_taken_out_of_the_question() -> None:
    counts = WordCounts(["the cache is trimmed often"] * 2000 + ["OrderedDict zymurgy"] * 3)
    answer = "OrderedDict trims the cache; zymurgy"
    assert without_giveaways("OrderedDict cache trimming rules", answer, counts) == "cache trimming rules"
    assert without_giveaways("zymurgy cache trimming", answer, counts) == "cache trimming"
    assert without_giveaways("trimming the cache rules", answer, counts) == "trimming the cache rules"
    assert without_giveaways("OrderedDict zymurgy", answer, counts) is None
    assert without_giveaways("OrderedDict cache trimming", "another answer", counts) == "OrderedDict cache trimming"


def test_links_ask_for_the_section_they_lead_to(tmp_path: Path) -> None:
    page = tmp_path / "index.html"
    page.write_text(
        '<p>See <a class="x" href="guide.md#old-apple-trees">how to <b>prune</b> apples &amp; pears</a>'
        ' or <a href="https://example.org/guide.md">a page elsewhere on it</a>.</p>'
    )
    guide = document(
        1,
        ("Guide", "# Guide\n"),
        ("Guide › Old apple trees", f"## Old apple trees\n\n{REST}"),
        ("Guide › Old apple trees › Tools", REST),
        path=str(tmp_path / "guide.md"),
    )
    notes = document(
        2,
        ("", "[Old apple trees](../guide.md#old-apple-trees) ![a picture here](../guide.md) [click here](../guide.md)"),
        path=str(tmp_path / "notes" / "a.md"),
    )
    html = document(3, ("", "how to prune"), path=str(page), reader="html")
    items = link_items([guide, notes, html])
    assert [(item.query, item.content, item.answers) for item in items] == [
        ("Old apple trees", 1, {1, 2}),
        ("how to prune apples & pears", 1, {1, 2}),
    ]
    assert items[0].cleaned[1][0] == "Guide"
    assert "Old apple trees" not in items[0].cleaned[1][1]


@pytest.mark.parametrize("href", ["", "guide.md", "missing.md", "mailto:guide.md", "../../etc/passwd"])
def test_links_to_nowhere_here_ask_nothing(href: str) -> None:
    guide = document(1, ("", f"[pruning apple trees]({href})"), path="/docs/guide.md")
    assert link_items([guide]) == []


def words(start: int, count: int = 60) -> str:
    return " ".join(f"word{number}" for number in range(start, start + count))


def test_near_copies_are_one_group_and_boilerplate_joins_nothing() -> None:
    licence = words(100_000, 400)
    texts = [f"{words(1000 * number, 300)} {licence}" for number in range(30)]
    texts.append(f"{words(5000, 280)} and then some {licence}")
    overlap = Overlap(texts)
    groups = overlap.groups()
    assert groups[:30] == list(range(30))
    assert groups[30] == 5
    assert overlap.share_in(texts[5], {30}) > 0.9
    assert overlap.share_in(licence, {1, 2}) == 0.0


def test_a_file_and_its_near_copies_are_in_one_part_whatever_else_comes() -> None:
    def some(count: int) -> list[Document]:
        documents = []
        for number in range(count):
            title = f"Title{number} about topic{number}"
            body = f"# {title}\n\n{words(1000 * (number // 2), 100)}\n"
            documents.append(document(number, (title, body)))
        return documents

    def parts(documents: list[Document]) -> dict[int, str]:
        split = split_pairs(documents, mine(documents), seed=3)
        named = {"train": split.train, "valid": split.valid, "test": split.test}
        return {pair.item.content: part for part, pairs in named.items() for pair in pairs}

    before = parts(some(200))
    assert all(before[2 * number] == before[2 * number + 1] for number in range(100))
    assert {part: list(before.values()).count(part) for part in ("valid", "test")} == {"valid": 30, "test": 40}
    after = parts(some(240))
    moved = [content for content in before if before[content] == "test" and after[content] == "train"]
    assert len(moved) < 20


def test_as_much_is_tested_wherever_files_without_common_text_lie(library: Library, tmp_path: Path) -> None:
    library.add([write_files(tmp_path)])
    with library.reading() as db:
        documents = read_documents(db)
    pairs = mine(documents)
    # A file's part follows from its path, which is another one in every run of these tests; a seed does the same.
    sizes = {len(split_pairs(documents, pairs, seed).test) for seed in range(20)}
    assert sizes == {90}


def test_documents_are_read_evenly_up_to_a_number_of_passages(library: Library, tmp_path: Path) -> None:
    for number in range(40):
        (tmp_path / f"{number}.md").write_text(f"# Note {number}\n\n{REST}")
    library.add([tmp_path])
    with library.reading() as db:
        assert len(read_documents(db)) == 40
        some = read_documents(db, 10)
    assert sum(len(each.chunks) for each in some) == 10
    assert [each.content for each in some] == sorted(each.content for each in some)
    assert some[-1].content > 20


def test_a_link_to_an_answer_without_enough_text_is_dropped() -> None:
    item = KnownItem("pruning apple trees", "link", 1, frozenset({0}), {})
    assert mine([document(1, ("", "too short"))], [item]) == []
