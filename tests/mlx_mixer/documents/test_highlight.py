"""Words that are near in meaning are marked by what they add to the cosine, beside the words that match."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from mlx_mixer.documents.highlight import Explaining, meaning_spans
from mlx_mixer.documents.library import Library
from mlx_mixer.documents.snippet import make_snippet
from mlx_mixer.embedding import Embedder, load_embedder
from tests.mlx_mixer.documents.helpers import write_tree

BODY = "The hound slept on the rug while a kitten chased the yarn, and the hound woke."


@dataclass(frozen=True)
class Piece:
    start: int
    end: int
    share: float


class Told:
    """Gives each word the share it was told, in two tokens where the word is long."""

    def __init__(self, shares: dict[str, float]) -> None:
        self._shares = shares

    def attribute(self, text: str, query: npt.NDArray[np.float32]) -> list[Piece]:
        pieces = []
        for word, share in self._shares.items():
            start = text.find(word)
            while start >= 0:
                middle = start + len(word) // 2
                pieces += [Piece(start, middle, share / 2), Piece(middle, start + len(word), share / 2)]
                start = text.find(word, start + 1)
        return pieces


def marked(shares: dict[str, float], words: tuple[tuple[int, int], ...] = ()) -> list[str]:
    spans = meaning_spans(Told(shares), BODY, np.zeros(2, np.float32), words)
    return [BODY[start:end] for start, end in spans]


def test_words_that_add_much_are_marked_whole_wherever_they_stand() -> None:
    assert marked({"hound": 0.2, "kitten": 0.15, "yarn": 0.01, "slept": -0.1}) == ["hound", "kitten", "hound"]


def test_common_words_and_words_that_match_are_left_out() -> None:
    start = BODY.index("kitten")
    assert marked({"hound": 0.2, "kitten": 0.2, "The": 0.3}, ((start, start + 6),)) == ["hound", "hound"]


def test_a_word_that_matches_does_not_outshine_those_that_are_near() -> None:
    start = BODY.index("kitten")
    assert marked({"hound": 0.1, "kitten": 0.5, "yarn": 0.03}, ((start, start + 6),)) == ["hound", "hound"]


def test_nothing_is_marked_where_nothing_adds() -> None:
    assert marked({"hound": -0.2}) == []
    assert marked({}) == []


def test_the_bundled_embedder_explains_itself() -> None:
    assert isinstance(load_embedder(), Explaining)
    assert issubclass(Embedder, Explaining)


def test_where_no_word_matches_the_snippet_shows_what_is_near() -> None:
    body = "filler words of no interest here. " * 20 + "the hound barked loudly"
    start = body.index("hound")
    snippet = make_snippet(body, (), ((start, start + 5),))
    assert [snippet.text[a:b] for a, b in snippet.meaning_marks] == ["hound"]
    assert snippet.marks == ()
    assert snippet.start == start


@pytest.fixture
def filled(library: Library, tmp_path: Path) -> Library:
    library.attach(load_embedder())
    files = {
        "db.md": "# Storage\n\nRows of a table are kept in a database file, and a query reads them by an index.\n",
        "net.md": "# Network\n\nA server listens on a port and answers each request of a client over a socket.\n",
        "text.md": "# Fonts\n\nA glyph is drawn at a size and in a colour by the display.\n",
    }
    library.add([write_tree(tmp_path / "docs", files)])
    return library


def test_a_search_marks_words_and_meaning_apart(filled: Library) -> None:
    hit = filled.search("sqlite tables and indexes", highlight=True).hits[0]
    assert Path(hit.path).name == "db.md"
    words = {hit.snippet[start:end] for start, end in hit.marks}
    near = {hit.snippet[start:end] for start, end in hit.meaning_marks}
    assert words == {"table", "index"}
    assert near
    assert not words & near
    assert filled.search("sqlite tables and indexes").hits[0].meaning_marks == ()


def test_a_preview_marks_what_is_near_as_well(filled: Library) -> None:
    hit = filled.search("sqlite tables and indexes").hits[0]
    row = filled.chunk(hit.chunk_id, query="sqlite tables and indexes", highlight=True)
    assert row.meaning_marks
    assert not set(row.meaning_marks) & set(row.marks)
    assert filled.chunk(hit.chunk_id, query="sqlite tables and indexes").meaning_marks == ()
