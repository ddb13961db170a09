"""Known items of a user's own documents decide whether meaning has a weight, and nothing gives an answer away."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from mlx_mixer.documents import check
from mlx_mixer.documents.check import choose_scale
from mlx_mixer.documents.cleaned_copy import cleaned_copy
from mlx_mixer.documents.gate import Gate
from mlx_mixer.documents.known_items import (
    KINDS,
    KnownItem,
    StoredChunk,
    document_items,
    find_items,
    in_equal_parts,
)
from mlx_mixer.documents.library import Library
from mlx_mixer.documents.measures import bootstrap, quality, reciprocal_ranks
from mlx_mixer.embedding import TextKind
from mlx_mixer.errors import LibraryError
from tests.mlx_mixer.documents.helpers import WatchedEmbedder, write_tree

SECTION = "## Pruning old apple trees\n\nCut in late winter, before the buds swell, and leave the strong shoots. " * 1
REST = "Take away what is dead, what is sick and what rubs on another branch, a third of the crown at most.\n"
FUNCTION = '''def trim(self, count):
    """Forget the newest tokens of a prompt. Twice is allowed.

    More about it.
    """
    self.offset -= count
    self.keys = self.keys[: self.offset]
    self.values = self.values[: self.offset]
    return self.offset, self.keys.shape, self.values.shape
'''


def test_a_heading_asks_for_its_section_and_is_taken_out_of_it() -> None:
    chunks = [
        StoredChunk(0, "Garden", "# Garden\n\nAll about it.\n"),
        StoredChunk(1, "Garden › Pruning old apple trees", SECTION),
        StoredChunk(2, "Garden › Pruning old apple trees › Tools", REST),
    ]
    (item,) = document_items(7, chunks, "markdown")
    assert (item.query, item.kind, item.content) == ("Pruning old apple trees", "heading", 7)
    assert item.answers == {1, 2}
    assert item.cleaned[1][0] == "Garden"
    assert item.cleaned[2][0] == "Garden › Tools"
    assert "Pruning" not in item.cleaned[1][1]
    assert item.cleaned[1][1].strip().startswith("Cut in late winter")


def test_a_docstring_asks_for_its_function_and_is_taken_out_of_it() -> None:
    (item,) = document_items(1, [StoredChunk(4, "Cache", FUNCTION)], "python")
    assert (item.query, item.kind) == ("Forget the newest tokens of a prompt.", "docstring")
    assert item.cleaned == {
        4: ("Cache", FUNCTION[: FUNCTION.index('    """')] + FUNCTION[FUNCTION.index("    self") :])
    }


@pytest.mark.parametrize("heading", ["Usage", "The and of", "1.2.3", ""])
def test_a_heading_that_asks_nothing_is_no_item(heading: str) -> None:
    assert list(document_items(1, [StoredChunk(0, heading, f"# {heading}\n\n" + REST * 2)], "markdown")) == []


def test_a_subject_asks_for_its_message_and_is_taken_out_of_it() -> None:
    body = "From: Ada\nTo: Ben\nSubject: Re: [garden] Old apple trees\n\n" + REST * 2
    chunks = [StoredChunk(0, "Re: [garden] Old apple trees", body)]
    (item,) = document_items(3, chunks, "mail")
    assert (item.query, item.kind) == ("Old apple trees", "subject")
    assert item.cleaned == {0: ("", "From: Ada\nTo: Ben\n\n" + REST * 2)}


def test_kinds_have_equal_parts_where_there_are_enough() -> None:
    items = {kind: [KnownItem(str(n), kind, n, frozenset(), {}) for n in range(30)] for kind in KINDS}
    kinds = [item.kind for item in in_equal_parts([items["heading"], items["docstring"][:4], items["subject"]], 24)]
    assert {kind: kinds.count(kind) for kind in KINDS} == {"heading": 10, "docstring": 4, "subject": 10}
    assert in_equal_parts([[], items["heading"]], 24) == items["heading"][:24]


TOPICS = ["apple", "brick", "copper", "dough", "engine", "forest", "glacier", "harbour", "island", "jungle"]


@pytest.fixture
def filled(library: Library, tmp_path: Path) -> Library:
    files = {
        f"{topic}-{n}.md": f"# Caring for {topic} number{n}\n\n{topic} {n} matters a lot. {REST}{topic} again.\n"
        for topic in TOPICS
        for n in range(10)
    }
    library.add([write_tree(tmp_path / "docs", files)])
    return library


class Blind:
    """Knows nothing: every text lies somewhere at random."""

    dims = 16
    fingerprint = "blind"

    def embed(self, texts: list[str], kind: TextKind = "document") -> npt.NDArray[np.float32]:
        rng = np.random.default_rng([len(texts), *(len(text) for text in texts[:3])])
        vectors = rng.normal(size=(len(texts), self.dims)).astype(np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


class Knowing(Blind):
    """Tells the documents apart by their number, which the question names and the cleaned answer does not."""

    fingerprint = "knowing"
    dims = 128

    def embed(self, texts: list[str], kind: TextKind = "document") -> npt.NDArray[np.float32]:
        vectors = np.full((len(texts), self.dims), 0.01, np.float32)
        for row, text in enumerate(texts):
            topic = next((i for i, topic in enumerate(TOPICS) if topic in text), 0)
            digits = [int(c) for c in text if c.isdigit()]
            vectors[row, topic * 10 + (digits[0] if digits else 0)] = 1.0
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_the_copy_holds_no_giveaway_and_the_library_is_untouched(filled: Library, embedder: WatchedEmbedder) -> None:
    filled.attach(embedder)
    filled.embed_pending()
    db = filled._connections.get()
    before = db.execute("SELECT group_concat(body, '') FROM chunks").fetchone()
    items = find_items(db, embedder.fingerprint, 50)
    assert len(items) == 50
    copied = cleaned_copy(db, items, fingerprint=embedder.fingerprint, only_embedded=True)
    copy = copied.db
    assert copied.chunks == 100
    for item in copied.items:
        for seq in item.answers:
            heading, body = copy.execute(
                "SELECT heading, body FROM chunks WHERE content = ? AND seq = ?", [item.content, seq]
            ).fetchone()
            assert item.query not in heading + body
    assert not copy.execute("SELECT 1 FROM chunks_fts WHERE chunks_fts MATCH '\"caring for\"' LIMIT 51").fetchall()[50:]
    assert db.execute("SELECT group_concat(body, '') FROM chunks").fetchone() == before


def test_the_copy_keeps_vectors_of_what_stays_beside_documents_that_have_none(
    filled: Library, embedder: WatchedEmbedder, tmp_path: Path
) -> None:
    filled.attach(embedder)
    filled.embed_pending()
    new = write_tree(tmp_path / "more", {"new.md": f"# Something new here\n\n{REST}"})
    with Library(filled.path) as without_embedder:
        without_embedder.add([new])
    db = filled._connections.get()
    items = find_items(db, embedder.fingerprint, 10)
    embedder.documents.clear()
    copies = {
        only: cleaned_copy(db, items, fingerprint=embedder.fingerprint, only_embedded=only) for only in (True, False)
    }
    assert {only: copied.chunks for only, copied in copies.items()} == {True: 100, False: 101}
    copies[False].meaning(embedder, progress=lambda _: None, is_cancelled=lambda: False)
    # Those that something was taken out of, and the new one.
    assert len(embedder.documents) == 11


def test_meaning_that_helps_gets_a_weight_and_searches_follow(filled: Library) -> None:
    filled.attach(Knowing())
    filled.embed_pending()
    steps: list[tuple[int, int]] = []
    report = filled.check(progress=lambda done, total: steps.append((done, total)))
    assert report.items == {"heading": 100, "docstring": 0, "subject": 0}
    assert report.fused.mrr.mean > report.words.mrr.mean
    assert report.gain.mrr.low > 0
    assert report.scale > 0
    assert steps[-1] == (100, 100)
    filled.set_gate(Gate(report.scale, 100, 1))
    assert filled.search("apple").by_meaning


def test_meaning_that_knows_nothing_gets_none(filled: Library) -> None:
    filled.attach(Blind())
    filled.embed_pending()
    report = filled.check()
    assert report.scale == 0.0
    assert report.gain.mrr.low <= 0
    filled.set_gate(Gate(report.scale, 100, 1))
    assert filled.gate() == Gate(0.0, 100, 1)
    assert not filled.search("apple").by_meaning
    filled.set_gate(None)
    assert filled.gate() is None
    assert filled.search("apple").by_meaning


def test_nothing_is_asked_about_files_that_the_embedder_has_learned_from(
    filled: Library, embedder: WatchedEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled.attach(embedder)
    filled.embed_pending()
    monkeypatch.setattr(check, "LEAST_ITEMS", 10)

    def is_learned(path: str, chunks: Sequence[StoredChunk]) -> bool:
        number = Path(path).stem.rpartition("-")[2]
        assert f"number{number}" in chunks[0].body
        return int(number) > 1

    # Of ten files of each topic; all are what the answers are looked for among.
    report = filled.check(is_learned=is_learned)
    assert (sum(report.items.values()), report.chunks) == (20, 100)
    with pytest.raises(LibraryError, match="only 0 headings and docstrings to ask for in files that the model has not"):
        filled.check(is_learned=lambda *_: True)


def test_a_decision_is_for_one_embedder(filled: Library, embedder: WatchedEmbedder) -> None:
    filled.attach(Blind())
    filled.set_gate(Gate(0.0, 100, 1))
    filled.attach(embedder)
    assert filled.gate() is None


def test_too_few_items_and_a_stop_are_said_in_one_line(filled: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LibraryError, match="no embedder"):
        filled.check()
    filled.attach(Knowing())
    with pytest.raises(LibraryError, match="only 0 headings"):
        filled.check()
    filled.embed_pending()
    with pytest.raises(LibraryError, match="stopped"):
        filled.check(is_cancelled=lambda: True)
    monkeypatch.setattr(check, "LEAST_ITEMS", 1000)
    with pytest.raises(LibraryError, match="only 100 headings and docstrings to ask for, and a check needs 1000"):
        filled.check()


def test_the_scale_is_chosen_on_one_half_and_measured_on_the_other() -> None:
    """A scale that is best on the even items only must not show its gain there."""
    words = np.full(200, 2)
    even = np.where(np.arange(200) % 2 == 0, 1, 10)
    ranks = {"words": words, "meaning": words, 0.5: even, 1.0: words, 1.5: words, 2.0: words}
    scale, gain = choose_scale(ranks)
    assert gain.mrr.mean == pytest.approx((0.1 - 0.5) / 2)
    assert scale == 0.0
    better = {**ranks, 0.5: words, 1.5: np.full(200, 1)}
    assert choose_scale(better)[0] == 1.5


def test_measures_follow_their_definitions() -> None:
    ranks = np.array([1, 2, 5, 6, 10, 11, 10**6])
    measured = quality(ranks)
    assert measured.mrr.mean == pytest.approx(sum(1 / rank for rank in (1, 2, 5, 6, 10)) / 7)
    assert measured.hit.mean == pytest.approx(3 / 7)
    assert measured.ndcg.mean == pytest.approx(sum(1 / np.log2(1 + rank) for rank in (1, 2, 5, 6, 10)) / 7)
    assert reciprocal_ranks(np.array([11])).tolist() == [0.0]


def test_an_interval_holds_the_mean_and_shrinks_with_the_root_of_the_items() -> None:
    values = np.random.default_rng(2).normal(size=4000)
    few, many = bootstrap(values[:100]), bootstrap(values)
    assert few.low < few.mean < few.high
    expected = 2 * 1.96 / np.sqrt(4000)
    assert many.high - many.low == pytest.approx(expected, rel=0.1)
