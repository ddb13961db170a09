"""A library's embedder is replaced by another one only when that one knows every passage, whoever dies on the way."""

from pathlib import Path

import pytest

from mlx_mixer.documents.embedder_choice import EmbedderChoice, Incoming
from mlx_mixer.documents.library import Library
from mlx_mixer.documents.lock import adapting_lock
from mlx_mixer.embedding import Embedder
from mlx_mixer.errors import LibraryError
from tests.mlx_mixer.documents.helpers import WatchedEmbedder, write_tree


@pytest.fixture
def filled(library: Library, embedder: WatchedEmbedder, tmp_path: Path) -> Library:
    library.attach(embedder)
    library.add([write_tree(tmp_path / "docs", {f"{n}.md": f"# Note {n}\n\nabout {n}\n" for n in range(9)})])
    return library


def test_nobody_chose_at_first(library: Library) -> None:
    assert library.embedder_choice() == EmbedderChoice("default", None)
    assert library.status().embedder == "default"


def test_the_old_one_answers_until_the_new_one_knows_every_passage(
    filled: Library, embedder: WatchedEmbedder, tiny_embedder: Embedder
) -> None:
    new = WatchedEmbedder(tiny_embedder, fingerprint="new")
    filled.take_over("personal", new)
    assert filled.embedder_choice() == EmbedderChoice("default", Incoming("personal", "new"))
    status = filled.status()
    assert (status.embedder, status.incoming, status.incoming_pending) == ("default", "personal", 9)
    filled.search("note")
    assert (embedder.queries, new.queries) == (["note"], [])
    filled.embed_pending()
    assert filled.embedder_choice() == EmbedderChoice("personal", None)
    filled.search("note")
    assert (embedder.queries, new.queries) == (["note"], ["note"])


def test_stopped_work_is_no_change_and_goes_on_in_another_process(filled: Library, tiny_embedder: Embedder) -> None:
    new = WatchedEmbedder(tiny_embedder, fingerprint="new")
    filled.take_over("personal", new)
    filled.embed_pending(is_cancelled=lambda: True)
    assert filled.embedder_choice().current == "default"
    with Library(filled.path, embedder=WatchedEmbedder(tiny_embedder, fingerprint="new")) as other:
        other.add([])
    assert filled.embedder_choice() == EmbedderChoice("personal", None)


def test_embedding_by_another_model_does_not_finish_it(
    filled: Library, embedder: WatchedEmbedder, tiny_embedder: Embedder
) -> None:
    filled.take_over("personal", WatchedEmbedder(tiny_embedder, fingerprint="new"))
    with Library(filled.path, embedder=embedder) as other:
        other.embed_pending()
    assert filled.embedder_choice().incoming == Incoming("personal", "new")


def test_going_back_to_a_model_whose_vectors_are_there_costs_no_embedding(
    filled: Library, embedder: WatchedEmbedder, tiny_embedder: Embedder
) -> None:
    filled.take_over("personal", WatchedEmbedder(tiny_embedder, fingerprint="new"))
    filled.embed_pending()
    before = len(embedder.documents)
    filled.take_over("default", embedder)
    filled.embed_pending()
    assert filled.embedder_choice() == EmbedderChoice("default", None)
    assert len(embedder.documents) == before


def test_only_one_process_adapts(filled: Library) -> None:
    with adapting_lock(filled.path):
        assert filled.status().adapting is not None
        with pytest.raises(LibraryError, match="adapts search to this library already"), adapting_lock(filled.path):
            pass
    assert filled.status().adapting is None
