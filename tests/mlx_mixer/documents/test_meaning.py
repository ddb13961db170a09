"""Every chunk gets its vector once, and only once."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from mlx_mixer.documents import meaning, store
from mlx_mixer.documents.events import Progress
from mlx_mixer.documents.library import Library
from mlx_mixer.documents.prepare import embedding_text
from mlx_mixer.documents.vectors import from_blob
from mlx_mixer.embedding import Embedder
from mlx_mixer.errors import LibraryError
from tests.mlx_mixer.documents.helpers import OLD_NS, WatchedEmbedder, write_tree

FILLER = "It goes on for a while, so that a section is a chunk of its own. " * 6
GUIDE = "\n".join(f"## Part {name}\n\n{name} is what this is about. {FILLER}\n" for name in ("one", "two", "three"))


def stored_vectors(library: Library, embedder: WatchedEmbedder) -> dict[str, npt.NDArray[np.float32]]:
    """The vector of every chunk, by the text that was embedded."""
    db = library._connections.get()
    result: dict[str, npt.NDArray[np.float32]] = {}
    for content, data in db.execute("SELECT content, data FROM vectors WHERE fingerprint = ?", [embedder.fingerprint]):
        rows = db.execute("SELECT heading, body FROM chunks WHERE content = ? ORDER BY seq", [content]).fetchall()
        vectors = from_blob(data, embedder.dims)
        assert len(vectors) == len(rows)
        result.update({embedding_text(*row): vector for row, vector in zip(rows, vectors, strict=True)})
    return result


def test_vectors_are_those_of_heading_and_text(library: Library, embedder: WatchedEmbedder, tmp_path: Path) -> None:
    docs = write_tree(tmp_path / "docs", {"guide.md": f"# Guide\n\n{GUIDE}", "note.txt": "a note"})
    library.attach(embedder)
    report = library.add([docs])
    assert report.embedded == len(embedder.documents) == 4
    assert any(text.startswith("Guide › Part two\n## Part two") for text in embedder.documents)
    vectors = stored_vectors(library, embedder)
    assert sorted(vectors) == sorted(embedder.documents)
    expected = embedder.embed(list(vectors))
    np.testing.assert_allclose(np.stack(list(vectors.values())), expected, atol=1e-3)
    assert library.status().pending == 0
    assert all(row.has_meaning for row in library.documents())


def test_a_changed_file_embeds_only_its_changed_chunks(
    library: Library, embedder: WatchedEmbedder, tmp_path: Path
) -> None:
    docs = write_tree(tmp_path / "docs", {"guide.md": GUIDE})
    library.attach(embedder)
    library.add([docs])
    embedder.documents.clear()
    write_tree(docs, {"guide.md": GUIDE.replace("two is what", "two was what")}, mtime_ns=OLD_NS + 1)
    report = library.add([docs])
    assert [text.split("\n")[0] for text in embedder.documents] == ["Part two"]
    assert (report.updated, report.embedded, report.reused) == (1, 1, 2)
    assert len(stored_vectors(library, embedder)) == 4  # the old version's and the new one's


def test_a_rename_a_copy_and_a_return_to_an_old_version_embed_nothing(
    library: Library, embedder: WatchedEmbedder, tmp_path: Path
) -> None:
    docs = write_tree(tmp_path / "docs", {"guide.md": GUIDE})
    library.attach(embedder)
    library.add([docs])
    write_tree(docs, {"guide.md": "something else"}, mtime_ns=OLD_NS + 1)
    library.add([docs])
    embedder.documents.clear()
    write_tree(docs, {"guide.md": GUIDE, "copy.md": GUIDE}, mtime_ns=OLD_NS + 2)
    (docs / "guide.md").rename(docs / "renamed.md")
    report = library.add([docs])
    assert embedder.documents == []
    assert report.embedded == 0
    assert library.status().pending == 0


def test_equal_chunks_are_embedded_once(library: Library, embedder: WatchedEmbedder, tmp_path: Path) -> None:
    licence = "# Licence\n\n" + FILLER * 2
    docs = write_tree(tmp_path / "docs", {f"{n}.md": f"{licence}\n\n# Own {n}\n\n{FILLER * 2}{n}" for n in range(4)})
    library.attach(embedder)
    library.add([docs])
    assert sum(text.startswith("Licence\n") for text in embedder.documents) == 1


def test_text_is_searchable_before_it_is_embedded(library: Library, embedder: WatchedEmbedder, tmp_path: Path) -> None:
    docs = write_tree(tmp_path / "docs", {"guide.md": GUIDE})
    library.add([docs])
    assert library.search("part two").hits
    assert library.status().pending == 3
    with pytest.raises(LibraryError, match="no embedder"):
        library.embed_pending()
    library.attach(embedder)
    steps: list[Progress] = []
    assert library.embed_pending(steps.append).embedded == 3
    assert (steps[-1].stage, steps[-1].done, steps[-1].total) == ("meaning", 3, 3)
    assert library.embed_pending().embedded == 0
    assert library.search("part two").by_meaning


def test_stopping_keeps_the_documents_that_are_done(
    library: Library, embedder: WatchedEmbedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meaning, "_BATCH_CHUNKS", 2)
    docs = write_tree(tmp_path / "docs", {f"{n}.txt": f"document number {n}" for n in range(7)})
    library.add([docs])
    library.attach(embedder)
    asked = iter(range(100))
    assert library.embed_pending(is_cancelled=lambda: next(asked) >= 2).cancelled
    assert library.status().pending == 3
    embedder.documents.clear()
    assert library.embed_pending().embedded == 3
    assert len(embedder.documents) == 3


def test_an_earlier_embedder_answers_until_the_new_one_knows_everything(
    library: Library, embedder: WatchedEmbedder, tiny_embedder: Embedder, tmp_path: Path
) -> None:
    docs = write_tree(tmp_path / "docs", {"guide.md": GUIDE})
    library.attach(embedder)
    library.add([docs])
    other = WatchedEmbedder(tiny_embedder, fingerprint="another")
    library.attach(other)
    assert library.status().pending == 3
    assert library.search("part").by_meaning
    assert (embedder.queries, other.queries) == (["part"], [])
    assert library.embed_pending().embedded == 3
    assert library.search("part").by_meaning
    assert (embedder.queries, other.queries) == (["part"], ["part"])
    library.attach(embedder)
    assert library.status().pending == 0


def test_an_embedder_that_never_finished_does_not_answer(
    library: Library, embedder: WatchedEmbedder, tiny_embedder: Embedder, tmp_path: Path
) -> None:
    docs = write_tree(tmp_path / "docs", {"guide.md": GUIDE})
    library.attach(embedder)
    library.add([docs])
    for name in ("second", "third"):
        library.attach(WatchedEmbedder(tiny_embedder, fingerprint=name))
    library.search("part")
    assert embedder.queries == ["part"]


def test_vectors_of_an_embedder_out_of_use_are_forgotten_after_a_week(
    library: Library,
    embedder: WatchedEmbedder,
    tiny_embedder: Embedder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    docs = write_tree(tmp_path / "docs", {"guide.md": GUIDE})
    library.attach(embedder)
    library.add([docs])
    library.attach(WatchedEmbedder(tiny_embedder, fingerprint="another"))
    monkeypatch.setattr(store, "GRACE_SECONDS", -10)
    library.add([docs], is_cancelled=lambda: True)
    db = library._connections.get()
    assert db.execute("SELECT fingerprint FROM vectors").fetchall() == [(embedder.fingerprint,)]
    library.add([docs])
    assert db.execute("SELECT fingerprint FROM vectors").fetchall() == [("another",)]
    monkeypatch.undo()
    library.attach(embedder)
    library.add([docs])
    assert len(db.execute("SELECT fingerprint FROM vectors").fetchall()) == 2


class _Broken(WatchedEmbedder):
    def embed(self, texts: object, kind: object = "document") -> npt.NDArray[np.float32]:
        return np.full((1, self.dims), np.nan, np.float32)


def test_a_broken_embedder_stores_nothing(library: Library, tiny_embedder: Embedder, tmp_path: Path) -> None:
    docs = write_tree(tmp_path / "docs", {"a.txt": "x"})
    library.attach(_Broken(tiny_embedder))
    with pytest.raises(LibraryError, match="finite"):
        library.add([docs])
    assert library.status().pending == 1
    assert library.search("x", words_only=True).hits


def test_deleting_a_document_deletes_its_vectors(library: Library, embedder: WatchedEmbedder, tmp_path: Path) -> None:
    docs = write_tree(tmp_path / "docs", {"guide.md": GUIDE})
    library.attach(embedder)
    library.add([docs])
    library.remove(docs)
    assert stored_vectors(library, embedder) == {}
    assert library.search("part two").hits == ()
