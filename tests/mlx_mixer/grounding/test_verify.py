"""Verified means: it is there. Checked on real stored documents, with slices and alterations drawn at random."""

import os
import time
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mlx_mixer.documents.library import Library
from mlx_mixer.documents.passages import StoredDocument
from mlx_mixer.grounding.candidates import gather
from mlx_mixer.grounding.pack import Grounding, pack
from mlx_mixer.grounding.verify import CheckedQuote, check_quotes, locate
from tests.mlx_mixer.grounding.conftest import BREAD, CODE

TEXTS = (BREAD, CODE, Path(__file__).read_text(encoding="utf-8"), "naïve café — „ruhen“ don’t\r\n\t\u00a0x y" * 3)
NOWHERE = "\u2603"


@pytest.fixture
def grounding(library: Library) -> Grounding:
    return pack(gather(library, "let the dough rest overnight"), lambda text: len(text.split()), 500)


def only(answer: str, grounding: Grounding, library: Library) -> CheckedQuote:
    (quote,) = check_quotes(answer, grounding.sources, library)
    return quote


@given(st.sampled_from(TEXTS), st.data())
def test_a_slice_of_a_document_always_verifies(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    assume(text[start:end].strip())
    span = locate(text[start:end], text)
    assert span is not None
    # The words are equal, and up to white space at its ends so is everything.
    assert text[slice(*span)].split() == text[start:end].split()


@given(st.sampled_from(TEXTS), st.data())
def test_a_slice_with_one_alteration_never_does(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    piece = text[start:end].strip()
    assume(piece)
    at = data.draw(st.integers(0, len(piece) - 1))
    how = data.draw(st.sampled_from(["replace", "insert", "case", "drop"]))
    match how:
        case "replace":
            altered = piece[:at] + NOWHERE + piece[at + 1 :]
        case "insert":
            altered = piece[:at] + NOWHERE + piece[at:]
        case "case":
            altered = piece[:at] + piece[at].swapcase() + piece[at + 1 :]
        case _:
            altered = piece[:at] + piece[at + 1 :]
    folded, wanted = " ".join(text.split()), " ".join(altered.split())
    assume(wanted)
    # Another place may hold what an alteration happens to give; nothing else makes it true.
    assert (locate(altered, text) is not None) == (wanted in folded)
    if NOWHERE in altered:
        assert locate(altered, text) is None


def test_a_verified_quotation_knows_its_place(grounding: Grounding, library: Library, tree: Path) -> None:
    answer = 'The dough should "rest overnight in a cool place" [1].'
    quote = only(answer, grounding, library)
    assert (quote.verified, quote.source, quote.in_passage) == (True, 1, True)
    assert (quote.path, quote.line, quote.page) == (str(tree / "cooking.md"), 5, None)
    stored = library.stored_document(grounding.sources[0].content).text
    assert stored[quote.stored_start : quote.stored_end] == quote.text
    assert Path(quote.path).read_text().splitlines()[quote.line - 1].count(quote.text) == 1


@pytest.mark.parametrize(
    "answer",
    [
        'It should "rest over night in a cool place" [1].',
        'It should "Rest overnight in a cool place" [1].',
        'It should "rest overnight in a cool place for a day" [1].',
        "It should “rest overnight … cool place” [1].",
        'It should "rest overnight in a cool, place" [1].',
    ],
)
def test_what_is_nearly_right_is_not_verified(answer: str, grounding: Grounding, library: Library) -> None:
    quote = only(answer, grounding, library)
    assert (quote.verified, quote.path, quote.cites_another) == (False, "", False)


def test_a_line_break_may_be_quoted_as_a_space_and_more_lines_are_counted(
    grounding: Grounding, library: Library
) -> None:
    quote = only('"The crust should sing when it cools."', grounding, library)
    assert (quote.verified, quote.line) == (True, 6)
    stored = library.stored_document(grounding.sources[0].content).text
    assert stored[quote.stored_start : quote.stored_end] == "The crust should sing\nwhen it cools."


def test_the_last_comma_belongs_to_the_answer(grounding: Grounding, library: Library) -> None:
    assert only('"Let it," it says: "bake it in a hot oven,"'[15:], grounding, library).verified
    assert not only('Then "bake, it in a hot oven"', grounding, library).verified


def test_code_spans_and_block_quotations_are_checked_too(library: Library) -> None:
    grounding = pack(gather(library, "hydration water flour"), len, 5000)
    answer = "Use `return water / flour`.\n\n> Mix flour, water and salt, and let the\n\n```\nif flour < 0:\n```\n"
    assert [(quote.kind, quote.verified) for quote in check_quotes(answer, grounding.sources, library)] == [
        ("code", True),
        ("block", True),
        ("code", False),
    ]


def test_a_true_quotation_with_the_wrong_number_says_so(library: Library) -> None:
    grounding = pack(gather(library, "hydration dough flour"), len, 5000)
    bread = next(source.number for source in grounding.sent if source.path.endswith("cooking.md"))
    code = next(source.number for source in grounding.sent if source.path.endswith("baking.py"))
    assert only(f'"let the dough rest" [{code}]', grounding, library).cites_another
    assert not only(f'"let the dough rest" [{bread}]', grounding, library).cites_another


def test_the_rest_of_a_document_counts_and_is_told_apart(library: Library) -> None:
    grounding = pack(gather(library, "dough rest"), lambda text: len(text.split()), 40)
    quote = only('"Onions first, slowly"', grounding, library)
    assert (quote.verified, quote.in_passage) == (True, False)


def test_what_was_not_sent_is_not_looked_at(library: Library) -> None:
    grounding = pack(gather(library, "dough"), len, 5000, without={1, 2, 3})
    assert not grounding.sent
    assert not only('"let the dough rest"', grounding, library).verified


def test_a_file_that_changed_or_went_since_is_told(grounding: Grounding, library: Library, tree: Path) -> None:
    answer = '"rest overnight"'
    assert only(answer, grounding, library).file == "same"
    (tree / "cooking.md").write_text(BREAD.replace("overnight", "all night"))
    changed = only(answer, grounding, library)
    assert (changed.verified, changed.file) == (True, "changed")
    (tree / "cooking.md").unlink()
    assert only(answer, grounding, library).file == "gone"


def test_a_document_that_was_forgotten_verifies_nothing(grounding: Grounding, library: Library, tree: Path) -> None:
    library.remove(tree)
    assert not only('"rest overnight"', grounding, library).verified


def test_page_and_line_come_from_the_chunk_that_holds_the_offset(library: Library, grounding: Grounding) -> None:
    document = library.stored_document(grounding.sources[0].content)
    assert isinstance(document, StoredDocument)
    for offset, line in ((0, 1), (BREAD.index("Mix"), 5), (BREAD.index("when it"), 7), (len(BREAD) - 1, 11)):
        assert document.place(offset)[0] == line == BREAD.count("\n", 0, offset) + 1


def test_a_fifo_in_place_of_the_file_does_not_hang(library: Library, tree: Path) -> None:
    path = tree / "cooking.md"
    path.unlink()
    os.mkfifo(path)
    assert library.file_state(str(path), b"", now_ns=time.time_ns()) == "changed"
