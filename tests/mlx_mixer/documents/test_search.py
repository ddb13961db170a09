"""The right passage comes first, with its place and its reason."""

import random
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlx_mixer.documents import candidates, lexical
from mlx_mixer.documents import search as search_module
from mlx_mixer.documents.close_up import CloseUp
from mlx_mixer.documents.fusion import FusionWeights
from mlx_mixer.documents.library import Library
from mlx_mixer.documents.query import parse_query
from mlx_mixer.documents.search import rank
from mlx_mixer.documents.structure import page_label
from mlx_mixer.documents.vectors import Meaning, VectorIndex
from mlx_mixer.errors import LibraryError
from tests.mlx_mixer.documents.formats.written import pdf, slides
from tests.mlx_mixer.documents.helpers import WatchedEmbedder, write_tree

TREE = {
    "cooking.md": "# Cooking\n\n## Bread\n\nMix flour, water and salt.\nKnead it, let it rise, bake it hot.\n\n"
    "## Soup\n\nBoil the bones with leek and carrots for hours.\n",
    "garden.md": "# Garden\n\nPrune the apple tree in winter.\nWater the tomatoes every morning.\n",
    "python/cache.py": '"""Decode state."""\n\n\nclass PromptCache:\n    def trimTokens(self, count):\n'
    '        """Forget the last tokens."""\n        self.offset -= count\n',
    "python/server.py": "def start_server(port):\n    # Listen on the port.\n    bind(port)\n",
    "letters/2024.txt": "Dear Anna, the invoices are attached. Yours, Bob\n",
    "data/invoice-march.txt": "Amount due: 120.50\n",
}


@pytest.fixture
def filled(library: Library, tmp_path: Path) -> Library:
    library.add([write_tree(tmp_path / "docs", TREE)])
    return library


def names(library: Library, query: str, **options: bool) -> list[str]:
    return [Path(hit.path).name for hit in library.search(query, **options).hits]


@pytest.mark.parametrize(
    ("query", "name", "line"),
    [
        ("how do I bake bread?", "cooking.md", 3),
        ("carrots", "cooking.md", 10),
        ("when to prune apples", "garden.md", 3),
        ("watering tomatoes", "garden.md", 4),
        ("PromptCache", "cache.py", 4),
        ("trim tokens", "cache.py", 5),
        ("trimTokens", "cache.py", 5),
        ("start_server", "server.py", 1),
        ("server port", "server.py", 1),
        ("invoices for Anna", "2024.txt", 1),
        ("invoice march", "invoice-march.txt", 1),
        ('"last tokens"', "cache.py", 6),
    ],
)
def test_known_items_come_first(filled: Library, query: str, name: str, line: int) -> None:
    hit = filled.search(query).hits[0]
    assert (Path(hit.path).name, hit.line) == (name, line)


def test_a_hit_says_where_and_why(filled: Library) -> None:
    hit = filled.search("salted carrots and leeks").hits[0]
    assert hit.heading == "Cooking › Soup"
    assert [hit.snippet[start:end] for start, end in hit.marks] == ["leek", "carrots"]
    assert hit.why == "words: leek, carrots"
    assert filled.search("invoice march").hits[0].why == "file name"


def test_phrases_and_exclusions_are_obeyed(filled: Library) -> None:
    assert names(filled, '"apple tree"') == ["garden.md"]
    assert names(filled, '"tree apple"') == []
    assert names(filled, "water -tomatoes") == ["cooking.md"]
    assert names(filled, "-tomatoes") == []


def test_an_unfinished_word_finds_while_typing(filled: Library) -> None:
    assert names(filled, "toma") == []
    assert names(filled, "toma", prefix=True) == ["garden.md"]


def test_a_file_gone_from_the_disk_is_not_shown(filled: Library, tmp_path: Path) -> None:
    (tmp_path / "docs/garden.md").unlink()
    assert names(filled, "prune apple tree") == []


def test_one_file_does_not_fill_the_page(library: Library, tmp_path: Path) -> None:
    long = "\n\n".join(f"## Part {n}\n\n" + "needle in a haystack of words " * 12 for n in range(9))
    library.add([write_tree(tmp_path / "docs", {"long.md": long, "short.txt": "a needle"})])
    found = names(library, "needle")
    assert found.count("long.md") == 3
    assert "short.txt" in found


def test_the_words_leg_is_raw_fts5(filled: Library) -> None:
    db = filled._connections.get()
    query = parse_query("water the tree with flour")
    raw = db.execute(
        "SELECT rowid, -bm25(chunks_fts, 2.0, 1.0, 0.5) AS score FROM chunks_fts WHERE chunks_fts MATCH ?"
        " ORDER BY score DESC",
        ['"water" OR "tree" OR "flour"'],
    ).fetchall()
    found = [(match.chunk, match.bm25) for match in lexical.search_words(db, query, 10)]
    assert [chunk for chunk, _ in found] == [chunk for chunk, _ in raw]
    np.testing.assert_allclose([score for _, score in found], [score for _, score in raw])


def test_the_share_of_words_found_is_counted(filled: Library) -> None:
    db = filled._connections.get()

    def coverage(text: str) -> float:
        query = parse_query(text)
        with CloseUp(db) as close_up:
            return lexical.word_coverage(close_up, query, lexical.search_words(db, query, 10))

    assert coverage("flour and salt") == 1.0
    assert coverage("flour salt zeppelin umbrella") == 0.5
    assert coverage("zeppelin") == 0.0


def test_names_of_files_are_searched_too(filled: Library) -> None:
    db = filled._connections.get()
    by_content = lexical.name_coverage(db, parse_query("python server manual"))
    by_name = {
        db.execute("SELECT name FROM files WHERE content = ?", [content]).fetchone()[0]: share
        for content, share in by_content.items()
    }
    assert by_name == {"server.py": pytest.approx(1 / 2), "cache.py": pytest.approx(1 / 6)}


def test_every_candidate_is_scored_by_both_legs(filled: Library, embedder: WatchedEmbedder) -> None:
    """With one candidate per leg, each must still get the exact score of the other leg."""
    filled.attach(embedder)
    filled.embed_pending()
    db = filled._connections.get()
    index = VectorIndex(embedder.fingerprint, embedder.dims)
    weights = FusionWeights(meaning=0.5, meaning_uncovered=0.5, name=0.0)
    ranked = rank(db, parse_query("bread flour"), meaning=Meaning(embedder, index), weights=weights, candidates=1)
    everything = index.search(embedder.embed(["bread flour"], "query")[0], 100)
    cosines = {(content, seq): cosine for content, seq, cosine in everything}
    assert 1 <= len(ranked) <= 2
    assert everything[0][:2] in {candidate.place for candidate in ranked}
    for candidate in ranked:
        assert candidate.cosine == pytest.approx(cosines[candidate.place], abs=1e-6)
        words = 1.0 if candidate.bm25 else 0.0
        assert candidate.score == pytest.approx(0.5 * words + 0.5 * max(candidate.cosine or 0, 0), abs=1e-6)


def test_meaning_is_named_in_the_reason_and_may_be_left_out(filled: Library, embedder: WatchedEmbedder) -> None:
    filled.attach(embedder)
    filled.embed_pending()
    assert "meaning 0." in filled.search("bake bread").hits[0].why
    result = filled.search("bake bread", words_only=True)
    assert not result.by_meaning
    assert "meaning" not in result.hits[0].why


def test_deleted_documents_take_no_place_among_the_nearest(
    filled: Library, embedder: WatchedEmbedder, tmp_path: Path
) -> None:
    filled.attach(embedder)
    filled.embed_pending()
    everything = names(filled, "zeppelin")
    (tmp_path / "docs" / everything[0]).unlink()
    filled.refresh()
    index = VectorIndex(embedder.fingerprint, embedder.dims)
    meaning = Meaning(embedder, index)
    db = filled._connections.get()
    (nearest,) = rank(db, parse_query("zeppelin"), meaning=meaning, weights=FusionWeights(), candidates=1)
    remaining = names(filled, "zeppelin")
    assert remaining[0] == everything[1]
    assert nearest.cosine is not None
    assert filled.search("zeppelin", limit=1).hits[0].score == pytest.approx(nearest.score)


def test_what_shares_no_word_and_lies_far_is_not_shown(
    filled: Library, embedder: WatchedEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled.attach(embedder)
    filled.embed_pending()
    assert names(filled, "zeppelin")
    monkeypatch.setattr(candidates, "MEANING_FLOOR", 1.1)
    assert names(filled, "zeppelin") == []
    assert names(filled, "flour") == ["cooking.md"]


def test_an_exclusion_holds_for_meaning_too(filled: Library, embedder: WatchedEmbedder) -> None:
    filled.attach(embedder)
    filled.embed_pending()
    everything = names(filled, "flour")
    assert "garden.md" in everything
    assert "garden.md" not in names(filled, "flour -tomatoes")


@pytest.mark.parametrize("query", ["", " ", "zeppelin", "-bread", "\x1b[0m", '"'])
def test_queries_without_an_answer_have_none(filled: Library, query: str) -> None:
    assert filled.search(query).hits == ()


def test_a_passage_is_shown_in_full_with_its_words_marked(filled: Library) -> None:
    hit = filled.search("knead flour").hits[0]
    chunk = filled.chunk(hit.chunk_id, query="knead flour")
    assert chunk.text == "# Cooking\n\n## Bread\n\nMix flour, water and salt.\nKnead it, let it rise, bake it hot.\n\n"
    assert [chunk.text[start:end] for start, end in chunk.marks] == ["flour", "Knead"]
    assert (chunk.line, chunk.heading, chunk.path) == (1, "Cooking › Bread", hit.path)
    assert filled.chunk(hit.chunk_id).marks == ()
    with pytest.raises(LibraryError, match="search again"):
        filled.chunk(10_000)


def test_a_passage_is_shown_where_its_file_still_is(filled: Library, tmp_path: Path) -> None:
    write_tree(tmp_path / "docs", {"a-copy.md": TREE["garden.md"]})
    filled.refresh()
    (tmp_path / "docs/a-copy.md").unlink()
    filled.refresh()
    hit = filled.search("prune apples").hits[0]
    assert filled.chunk(hit.chunk_id).path == hit.path == str(tmp_path / "docs/garden.md")


def test_a_passage_removed_while_it_is_being_found_is_left_out(
    filled: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = lexical.word_coverage

    def interfere(*arguments: Any) -> float:
        with Library(filled.path) as other:
            other.remove(tmp_path / "docs/garden.md")
        return real(*arguments)

    monkeypatch.setattr(lexical, "word_coverage", interfere)
    monkeypatch.setattr(search_module, "visible_path", lambda *_: str(tmp_path))
    assert [hit.heading for hit in filled.search("water").hits] == ["Cooking › Bread"]


def test_searching_goes_on_in_other_threads_while_documents_are_added(
    library: Library, embedder: WatchedEmbedder, tmp_path: Path
) -> None:
    docs = write_tree(tmp_path / "docs", {f"{n}.md": f"# Paper {n}\n\nneedle number {n}\n" for n in range(150)})
    library.attach(embedder)
    failures: list[Exception] = []
    done = threading.Event()
    most = 0

    def look() -> None:
        nonlocal most
        try:
            while not done.is_set():
                most = max(most, len(library.search("needle", limit=200).hits))
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    library.add([docs])
    done.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(library.search("needle", limit=200).hits) == 150


def test_a_closed_library_says_so(library: Library) -> None:
    library.close()
    with pytest.raises(LibraryError, match="closed"):
        library.search("x")


def test_pages_are_called_what_the_file_calls_them(library: Library, tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "talk.pptx": slides(["Otters", "Seals"]),
        "paper.pdf": pdf(["Of otters", "Of needles"]),
        "plain.md": "# Otters\n\nAnd seals.\n",
    }
    library.add([write_tree(tmp_path / "docs", files)])
    hits = {Path(hit.path).name: hit for hit in library.search("otters", grouped=True).hits}
    assert {name: (hit.page_kind, hit.page) for name, hit in hits.items()} == {
        "talk.pptx": ("slide", 1),
        "paper.pdf": ("page", 1),
        "plain.md": ("", None),
    }
    (passage,) = library.passages([hits["talk.pptx"].chunk_id])
    assert passage.page_kind == library.stored_document(passage.content).page_kind == "slide"
    assert [page_label(hit.page_kind, hit.page) for hit in hits.values() if hit.page] in (
        ["slide 1", "p. 1"],
        ["p. 1", "slide 1"],
    )


RANKED = {
    f"{folder}/{n}.md": "\n\n".join(
        f"## Part {part}\n\n"
        + " ".join(random.Random(100 * n + part).choices(["dough", "salt", "oven", "water", "trees"], k=5))
        for part in range(4)
    )
    for n in range(12)
    for folder in ("bread", "garden")
    if (folder == "bread") == (n % 3 > 0)
}


@pytest.mark.parametrize("text", ["dough", "salt oven", "dough path:garden", "water -salt", '"oven water" trees'])
@pytest.mark.parametrize("limit", [1, 7, 200])
def test_the_best_by_words_are_those_of_a_slow_twin(library: Library, tmp_path: Path, text: str, limit: int) -> None:
    docs = write_tree(tmp_path / "docs", RANKED)
    library.add([docs])
    for name in ("bread/1.md", "garden/3.md"):  # hidden, with their words still in the index
        (docs / name).unlink()
    library.refresh()
    db = library._connections.get()
    query = parse_query(text)
    scores = db.execute(
        "SELECT rowid, -bm25(chunks_fts, 2.0, 1.0, 0.5) FROM chunks_fts WHERE chunks_fts MATCH ?",
        [query.match_expression()],
    ).fetchall()
    visible = {
        chunk: (content, seq)
        for chunk, content, seq, path in db.execute(
            "SELECT c.id, c.content, c.seq, f.path FROM chunks c JOIN files f ON f.content = c.content"
            " WHERE f.missing_since IS NULL"
        ).fetchall()
        if "path:" not in text or b"garden" in path
    }
    expected = sorted(((-score, chunk) for chunk, score in scores if chunk in visible))[:limit]
    found = lexical.search_words(db, query, limit)
    assert [(match.chunk, (match.content, match.seq)) for match in found] == [(c, visible[c]) for _, c in expected]
    np.testing.assert_allclose([match.bm25 for match in found], [-score for score, _ in expected])
    assert expected
