from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_mixer.documents.library import Library
from mlx_mixer.documents.passages import Passage
from mlx_mixer.grounding.candidates import Candidate, Candidates, gather
from mlx_mixer.grounding.pack import MIN_TOKENS, NO_ROOM, block, pack, passage_text
from mlx_mixer.grounding.sentences import sentence_spans
from tests.mlx_mixer.documents.helpers import write_tree


def words(text: str) -> int:
    return len(text.split())


def passage(text: str, *, core: tuple[int, int] | None = None, content: int = 1, start: int = 100) -> Passage:
    return Passage("/docs/a.md", content, start, text, core or (0, len(text)), 7, None, "A › B", content)


def candidates(*texts: str) -> Candidates:
    found = tuple(Candidate(passage(text, content=n), 0) for n, text in enumerate(texts, 1))
    return Candidates("why?", found)


def test_a_question_gets_the_passage_with_its_place_whole(library: Library, tree: Path) -> None:
    grounding = pack(gather(library, "how long should the dough rest"), words, 200)
    first = grounding.sources[0]
    assert (first.path, first.heading) == (str(tree / "cooking.md"), "Cooking › Bread")
    stored = library.stored_document(first.content).text
    assert stored[first.start : first.start + len(first.text)] == first.text
    assert first.line == stored.count("\n", 0, first.start) + 1
    assert "let the dough rest overnight" in first.text
    assert grounding.text.startswith("[1] cooking.md: Cooking › Bread\n")
    assert grounding.tokens == words(grounding.text)
    assert first.tokens == words(block(first))


def test_a_small_budget_gets_whole_sentences_around_the_words_of_the_question(library: Library) -> None:
    grounding = pack(gather(library, "hot oven"), words, MIN_TOKENS + 8)
    assert [source.number for source in grounding.sent] == [1]
    assert "bake it in a hot oven." in grounding.sent[0].text
    assert grounding.sent[0].text[-1] == "."
    assert grounding.tokens <= MIN_TOKENS + 8


def test_where_nothing_fits_nothing_is_sent_and_it_says_so(library: Library) -> None:
    grounding = pack(gather(library, "dough"), words, 3)
    assert (grounding.sent, grounding.text, grounding.tokens) == ((), "", 0)
    assert {source.left_out for source in grounding.sources} == {NO_ROOM}


def test_a_question_without_any_hit_says_so(library: Library) -> None:
    found = gather(library, "zeppelin")
    assert not found.found
    assert pack(found, words, 100).doubt == "nothing in your documents matches"


def test_a_small_library_does_not_doubt_a_passage_that_holds_most_of_the_words(library: Library) -> None:
    assert gather(library, "how long should the dough rest").doubt == ""
    assert gather(library, "how long do zeppelins rest over oceans").doubt == "nothing in your documents matches well"


def test_copies_with_small_differences_are_sent_once() -> None:
    text = "The dough rests overnight in a cool place, is folded twice in the morning and baked in a hot oven."
    grounding = pack(
        candidates(text, text.replace("cool", "cold") + " Serve.", "Something else altogether."), words, 99
    )
    assert [source.number for source in grounding.sent] == [1, 3]
    assert grounding.sources[1].left_out == "nearly the same as [1]"


def test_a_source_switched_off_makes_room_and_leaves_the_numbers_alone() -> None:
    texts = [" ".join(f"{name}{n}" for n in range(30)) + "." for name in "abc"]
    both = pack(candidates(*texts), words, 72)
    assert [(source.number, source.left_out) for source in both.sources] == [(1, ""), (2, ""), (3, NO_ROOM)]
    one = pack(candidates(*texts), words, 72, without={1})
    assert [(source.number, source.left_out) for source in one.sources] == [(1, "switched off"), (2, ""), (3, "")]


def test_what_a_twin_that_is_switched_off_holds_is_sent_from_the_other() -> None:
    text = "one two three four five six seven eight nine ten"
    grounding = pack(candidates(text, text), words, 99, without={1})
    assert [source.number for source in grounding.sent] == [2]


def test_neighbours_come_when_every_passage_has_its_place() -> None:
    around = "Before it all. " + "core words here. " * 3 + "After all of it."
    core = (around.index("core"), around.index("After"))
    found = Candidates("?", (Candidate(passage(around, core=core), core[0]), Candidate(passage("Another one."), 0)))
    small = pack(found, words, 22)
    assert small.sent[0].text == around[slice(*core)].strip()
    assert small.sent[1].text == "Another one."
    large = pack(found, words, 100)
    assert large.sent[0].text == around
    assert large.sent[0].start == 100


@settings(max_examples=40)
@given(
    st.lists(st.text(alphabet="ab. \n", min_size=1, max_size=80), max_size=5),
    st.integers(0, 60),
    st.sets(st.integers(1, 5)),
)
def test_no_budget_is_ever_exceeded_and_every_text_is_whole_sentences(
    texts: list[str], budget: int, without: set[int]
) -> None:
    found = candidates(*texts)
    grounding = pack(found, len, budget, without=without)
    assert len(grounding.text) == grounding.tokens <= budget
    assert grounding.text == passage_text(grounding.sent)
    assert [source.number for source in grounding.sources] == list(range(1, len(texts) + 1))
    for source in grounding.sent:
        text = texts[source.number - 1]
        assert text[source.start - 100 :].startswith(source.text)
        ends = {end for _, end in sentence_spans(text)} | {len(text[:end].rstrip()) for _, end in sentence_spans(text)}
        assert source.start - 100 + len(source.text) in ends
        assert source.number not in without


def test_the_promise_holds_for_a_tokenizer_that_needs_more_for_texts_side_by_side() -> None:
    def awkward(text: str) -> int:
        return words(text) + 50 * text.count("\n\n")

    texts = [" ".join(f"{name}{n}" for n in range(30)) + "." for name in "abc"]
    grounding = pack(candidates(*texts), lambda text: awkward(text) if len(text) > 5 else 0, 110)
    assert [source.number for source in grounding.sent] == [1]
    assert grounding.tokens <= 110


@pytest.mark.parametrize("budget", [40, 100, 1000])
def test_passages_side_by_side_become_one(tmp_path: Path, budget: int) -> None:
    paragraphs = "\n\n".join(f"Paragraph {n} speaks of zeppelins at length. " + "More words. " * 60 for n in range(6))
    with Library(tmp_path / "l.sqlite3") as library:
        library.add([write_tree(tmp_path / "docs", {"long.txt": paragraphs})])
        grounding = pack(gather(library, "zeppelins"), words, budget)
        spans = sorted((source.start, source.start + len(source.text)) for source in grounding.sent)
    assert spans
    assert all(first[1] <= second[0] for first, second in pairwise(spans))
