"""Anything a user can type becomes a query that SQLite runs and that means what it says."""

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_mixer.documents.lexical import search_words
from mlx_mixer.documents.library import Library
from mlx_mixer.documents.query import MAX_TERMS, Query, is_identifier, parse_query


def test_words_are_lowered_and_common_ones_dropped() -> None:
    query = parse_query("How is the Cache trimmed?")
    assert query.terms == ("cache", "trimmed")
    assert query.match_expression() == '"cache" OR "trimmed"'
    assert query.text == "How is the Cache trimmed?"


def test_common_words_count_where_there_is_nothing_else() -> None:
    assert parse_query("to be").terms == ("to", "be")


def test_names_are_searched_whole_and_in_parts() -> None:
    query = parse_query("MixerCache.trim_by max-depth getUserName")
    assert query.terms == ("mixercache trim by", "max depth", "getusername")
    assert query.parts == ("mixer", "cache", "trim", "max", "depth", "get", "user", "name")
    assert query.is_exact


def test_phrases_are_required_and_other_words_only_add() -> None:
    query = parse_query('"sliding window" cache')
    assert query.phrases == ("sliding window",)
    assert query.match_expression() == '("sliding window") AND ("sliding window" OR "cache")'
    assert query.is_exact


def test_exclusions_are_kept_from_the_embedder() -> None:
    query = parse_query('cache -trim -"old one" - -- -!')
    assert query.excluded == ("trim", "old one")
    assert query.text == "cache"
    assert query.match_expression() == '("cache") NOT ("trim" OR "old one")'


def test_a_contraction_is_no_name() -> None:
    assert parse_query("the model's weights don't load").terms == ("model", "weights", "don", "load")


def test_the_last_word_may_be_unfinished() -> None:
    assert parse_query("trim the cac", prefix=True).prefix == "cac"
    assert parse_query("trim the cac", prefix=True).match_expression() == '"trim" OR "cac" OR "cac" *'
    assert parse_query("trim the cac ", prefix=True).prefix is None
    assert parse_query('trim "the cac', prefix=True).prefix is None
    assert parse_query("trim the cac").prefix is None


@pytest.mark.parametrize("text", ["", "   ", '""', "-", "-only", "!?", "\0", "- - -", '"', "🙂"])
def test_a_query_without_a_word_is_empty(text: str) -> None:
    assert parse_query(text).is_empty


@pytest.mark.parametrize("word", ["snake_case", "getName", "a.b", "kebab-case", "std::vector", "HTTPServer", "run()"])
def test_identifiers_are_recognised(word: str) -> None:
    assert is_identifier(word)


@pytest.mark.parametrize("word", ["cache", "Cache", "end.", "NASA", "what?", "don't"])
def test_ordinary_words_are_no_identifiers(word: str) -> None:
    assert not is_identifier(word)


def test_a_question_with_one_name_in_it_is_still_a_question() -> None:
    assert not parse_query("what does load_model do").is_exact


def test_the_number_of_terms_is_capped() -> None:
    query = parse_query(" ".join(f"w{number} a{number}B" for number in range(500)))
    assert len(query.terms) == len(query.parts) == MAX_TERMS


# Characters that mean something to FTS5, and some that mean trouble anywhere.
HOSTILE = "\"*:^(){}[]-+,\\/'.NEAR AND OR NOT \0\x02\x1b\ud800\ufeff語é́🙂%_\n\t"


def run(library: Library, query: Query) -> None:
    if not query.is_empty:
        search_words(library._connections.get(), query, 10)


def test_ten_thousand_random_strings_are_queries(library: Library) -> None:
    random.seed(1)
    started = time.monotonic()
    for _ in range(10_000):
        letters = random.choices([*HOSTILE, "cache", "a", " ", " "], k=random.randint(0, 30))
        run(library, parse_query("".join(letters), prefix=random.random() < 0.5))
    assert time.monotonic() - started < 30


@given(st.text())
@settings(max_examples=200)
def test_any_text_parses_and_terms_hold_no_spaces_at_their_ends(text: str) -> None:
    query = parse_query(text)
    assert all(term and term == term.strip() for term in (*query.terms, *query.parts))
    assert query.is_empty or query.match_expression()
