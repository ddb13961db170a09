"""More like this goes by stored vectors, a second look by a retrieval mixer, and files hold their places together."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from numpy.typing import NDArray

from mlx_mixer.config_fields import Provenance
from mlx_mixer.documents.library import Library
from mlx_mixer.documents.rerank import Reranker, load_reranker
from mlx_mixer.documents.search import Hit
from mlx_mixer.errors import LibraryError, UnsupportedModelError
from mlx_mixer.model_configs.retrieval import RetrievalMixerConfig
from mlx_mixer.models.retrieval import RetrievalMixer
from tests.mlx_mixer.documents.helpers import WatchedEmbedder, write_tree
from tests.tiny import tiny_model_folder

FILES = {
    "a.md": "# One\n\nneedle and thread in the first paragraph\n\n# Two\n\nneedle again in a second\n",
    "b.md": "# Bread\n\nflour and water, and a needle\n",
    "c.md": "# Boats\n\nhull and sail and needle of a compass\n",
    "twin.md": "# Bread\n\nflour and water, and a needle\n\n\n",
}


@pytest.fixture
def filled(library: Library, embedder: WatchedEmbedder, tmp_path: Path) -> Library:
    library.attach(embedder)
    library.add([write_tree(tmp_path / "docs", FILES)])
    return library


def test_what_is_like_a_passage_is_found_without_embedding(
    filled: Library, embedder: WatchedEmbedder, tmp_path: Path
) -> None:
    embedded = len(embedder.documents) + len(embedder.queries)
    result = filled.similar(tmp_path / "docs/b.md")
    assert len(embedder.documents) + len(embedder.queries) == embedded
    assert Path(result.hits[0].path).name == "twin.md"
    assert "b.md" not in {Path(hit.path).name for hit in result.hits}
    assert result.hits[0].score == pytest.approx(1.0, abs=1e-3)
    assert [hit.score for hit in result.hits] == sorted((hit.score for hit in result.hits), reverse=True)


def test_a_line_chooses_the_passage(filled: Library, tmp_path: Path) -> None:
    long = " ".join(f"thread{n} through the eye of a needle" for n in range(40))
    filled.add([write_tree(tmp_path / "more", {"long.md": f"# One\n\n{long}\n\n# Two\n\n{long.upper()}\n"})])
    first, second, last = (filled.similar(tmp_path / "more/long.md", line).hits for line in (1, 5, 10**6))
    assert [hit.score for hit in first] == [hit.score for hit in filled.similar(tmp_path / "more/long.md").hits]
    assert [hit.score for hit in second] != [hit.score for hit in first]
    assert [hit.score for hit in last] != [hit.score for hit in first]


def test_a_hit_leads_to_others_like_it(filled: Library) -> None:
    hit = next(hit for hit in filled.search("flour water").hits if hit.path.endswith("twin.md"))
    assert Path(filled.similar_to(hit.chunk_id).hits[0].path).name == "b.md"
    with pytest.raises(LibraryError, match="search again"):
        filled.similar_to(10**6)


def test_what_cannot_be_compared_says_why(library: Library, embedder: WatchedEmbedder, tmp_path: Path) -> None:
    docs = write_tree(tmp_path / "docs", FILES)
    with pytest.raises(LibraryError, match=r"a\.md has no passage in the library; add it"):
        library.similar(docs / "a.md")
    library.add([docs])
    with pytest.raises(LibraryError, match="no embedder"):
        library.similar(docs / "a.md")
    library.attach(embedder)
    with pytest.raises(LibraryError, match="not embedded yet"):
        library.similar(docs / "a.md")


def test_a_file_is_one_hit_with_its_places(library: Library, tmp_path: Path) -> None:
    long = "\n\n".join(f"## Part {n}\n\n" + f"needle number{n} in a haystack of words " * 12 for n in range(9))
    library.add([write_tree(tmp_path / "docs", {"long.md": long, "short.md": "a needle\n"})])
    result = library.search("needle", grouped=True)
    assert sorted(Path(hit.path).name for hit in result.hits) == ["long.md", "short.md"]
    (hit,) = [hit for hit in result.hits if hit.path.endswith("long.md")]
    assert len(hit.places) == 3
    lines = [hit.line, *(place.line for place in hit.places)]
    assert len(set(lines)) == 4
    for place in hit.places:
        chunk = library.chunk(place.chunk_id)
        assert chunk.path == hit.path
        assert chunk.heading == place.heading
        assert long.splitlines()[place.line - 1].startswith(("needle", "##"))
    assert library.search("needle", grouped=True, limit=1).hits[0].places == result.hits[0].places


def retrieval_mixer(dims: int, slots: int = 12, **options: Any) -> RetrievalMixer:
    mx.random.seed(4)
    return RetrievalMixer(
        RetrievalMixerConfig(
            hidden_size=dims, intermediate_size=2 * dims, num_layers=1, context_length=slots, **options
        )
    )


def query_and_hits(library: Library, embedder: WatchedEmbedder, hits: Sequence[Hit]) -> NDArray[np.float32]:
    """The vectors of "needle in flour" and of hits, as the library has them."""
    db = library._connections.get()
    place = {
        hit.chunk_id: db.execute("SELECT content, seq FROM chunks WHERE id = ?", [hit.chunk_id]).fetchone()
        for hit in hits
    }
    assert library._attached.current is not None
    vectors = library._attached.current.index.vectors(list(place.values()))
    query = embedder.embed(["needle in flour"], "query")
    return np.concatenate([query, np.stack([vectors[place[hit.chunk_id]] for hit in hits])])


def test_a_second_look_orders_by_the_scores_of_its_model(filled: Library, embedder: WatchedEmbedder) -> None:
    model = retrieval_mixer(embedder.dims)
    plain = filled.search("needle in flour", limit=20)
    again = filled.search("needle in flour", limit=20, reorder=Reranker(model))
    assert {hit.chunk_id for hit in again.hits} == {hit.chunk_id for hit in plain.hits}
    rows = query_and_hits(filled, embedder, plain.hits)
    scores = np.array(model(mx.array(rows)[None])[0])
    expected = [plain.hits[i].chunk_id for i in np.argsort(-scores, kind="stable")]
    assert [hit.chunk_id for hit in again.hits] == expected
    assert [hit.score for hit in again.hits] == [hit.score for hit in plain.hits]


def test_a_second_look_starts_from_the_scores_of_the_search_where_its_model_takes_them(
    filled: Library, embedder: WatchedEmbedder
) -> None:
    model = retrieval_mixer(
        embedder.dims, rows="interactions", mixing_size=4, takes_scores=True, provenance=made_for(embedder.fingerprint)
    )
    plain = filled.search("needle in flour", limit=20)
    again = filled.search("needle in flour", limit=20, reorder=Reranker(model))
    assert len(plain.hits) > 2
    assert again.hits == plain.hits
    model.interactions.cosine_scale = mx.array([1e5])
    by_cosine = filled.search("needle in flour", limit=20, reorder=Reranker(model)).hits
    rows = query_and_hits(filled, embedder, plain.hits)
    expected = [plain.hits[i].chunk_id for i in np.argsort(-(rows[1:] @ rows[0]), kind="stable")]
    assert [hit.chunk_id for hit in by_cosine] == expected
    assert expected != [hit.chunk_id for hit in plain.hits]


def made_for(fingerprint: str) -> Provenance:
    return Provenance(
        source="embeddings of mine", hints={"embedder": "mine", "embedder_fingerprint": fingerprint}, family="reranker"
    )


def test_a_model_for_another_embedder_of_the_same_size_is_refused_in_one_line(
    filled: Library, embedder: WatchedEmbedder
) -> None:
    model = retrieval_mixer(embedder.dims, provenance=made_for("0123456789abcdef"))
    with pytest.raises(UnsupportedModelError) as caught:
        filled.search("needle", reorder=Reranker(model, "RERANKER"))
    assert str(caught.value) == (
        f"RERANKER was made for the vectors of mine (0123456789ab, {embedder.dims} dimensions), and this library uses "
        f"default ({embedder.fingerprint[:12]}, {embedder.dims} dimensions); leave out the re-ranker, or train one for "
        "these: mlx-mixer train reranker PAIRS -o DIR"
    )


def test_a_model_of_another_size_or_kind_is_refused(filled: Library, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModelError, match=r"made for the vectors of an embedder \(6 dimensions\)"):
        filled.search("needle", reorder=Reranker(retrieval_mixer(6)))
    with pytest.raises(UnsupportedModelError, match="cannot re-rank"):
        load_reranker(tiny_model_folder(tmp_path / "language"))
    assert filled.search("needle", words_only=True, reorder=Reranker(retrieval_mixer(6))).hits
