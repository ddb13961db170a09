"""Words become the numbers of their stems, whatever else is in a text."""

import subprocess
import sys
import threading
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_mixer.word_tokenizer import WordTokenizer, commonest_stems, stems_of

WORDS = ["run", "databas", "user", "name", "get"]


@pytest.mark.parametrize(
    ("word", "stems"),
    [
        ("Running", ["run"]),
        ("databases", ["databas"]),
        ("getUserName", ["getusernam", "get", "user", "name"]),
        ("HTTPServer", ["httpserver", "http", "server"]),
        ("NASA", ["nasa"]),
        ("größe", ["größe"]),
        ("日本語", ["日本", "本語"]),
        ("Python語", ["python", "語"]),
        ("x2", ["x2"]),
    ],
)
def test_a_word_is_its_stem_and_those_of_its_parts(word: str, stems: list[str]) -> None:
    assert stems_of(word) == stems


def test_known_stems_have_a_number_and_others_share_two() -> None:
    tokenizer = WordTokenizer(WORDS, 1000)
    assert tokenizer.vocab_size == 1005
    known, other, same, third = tokenizer.encode(["Run, databases; USERS!", "zebra", "Zebras", "giraffe"])
    assert known == [0, 1, 2]
    assert len(other) == 2
    assert min(other) >= 5
    assert other == same
    assert set(other).isdisjoint(third)


def test_hardly_two_words_share_both_numbers() -> None:
    tokenizer = WordTokenizer([], 256)
    numbers = tokenizer.encode(f"word{count}" for count in range(3000))
    # Of 3,000 * 2,999 / 2 pairs, one in 256 * 256 by chance: 69; twice as many with both in the other order.
    assert 3000 - len({tuple(pair) for pair in numbers}) < 120
    assert len({pair[0] for pair in numbers}) == len({pair[1] for pair in numbers}) == 256


@given(st.lists(st.text()))
def test_a_text_has_the_numbers_of_its_words_in_order_beside_any_other(texts: list[str]) -> None:
    tokenizer = WordTokenizer(WORDS, 50)
    together = tokenizer.encode(texts)
    for text, ids in zip(texts, together, strict=True):
        assert WordTokenizer(WORDS, 50).encode([text]) == [ids]
        placed = tokenizer.encode_placed(text)
        assert [number for word in placed for number in word.ids] == ids
        assert all(text[word.start : word.end].replace("_", "x").isalnum() for word in placed)
        assert all(before.end <= after.start for before, after in pairwise(placed))
        assert all(0 <= number < 55 for number in ids)


def test_numbers_are_the_same_in_every_process() -> None:
    here = str(WordTokenizer(["a"], 999).encode(["zebra Ω x"]))
    program = "from mlx_mixer.word_tokenizer import *; print(WordTokenizer(['a'], 999).encode(['zebra Ω x']))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == here == "[[707, 692, 764, 850, 558, 170]]"


def test_threads_get_what_one_gets() -> None:
    texts = [" ".join(f"Word{number * 7 % 501}s" for number in range(start, start + 500)) for start in range(4)]
    expected = [WordTokenizer(WORDS, 50).encode([text])[0] for text in texts]
    tokenizer, found = WordTokenizer(WORDS, 50), {}
    threads = [
        threading.Thread(target=lambda at=at: found.update({at: tokenizer.encode([texts[at]])[0]})) for at in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[at] for at in range(4)] == expected


def test_forgetting_words_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    text = " ".join(f"word{number}" for number in range(50)) * 2
    expected = WordTokenizer(WORDS, 50).encode([text])
    monkeypatch.setattr("mlx_mixer.word_tokenizer._MOST_REMEMBERED", 8)
    assert WordTokenizer(WORDS, 50).encode([text]) == expected


def test_the_commonest_stems_are_those_of_the_most_texts() -> None:
    texts = ["runs running run", "A cat runs", "the cat", "The CATS and the catFish", "zebra"]
    # In alphabetical order where texts are equally many; a name's parts count too.
    assert commonest_stems(texts, 4) == ["cat", "run", "the", "a"]
    assert set(commonest_stems(texts, 100)) == {"run", "a", "cat", "the", "and", "catfish", "fish", "zebra"}
