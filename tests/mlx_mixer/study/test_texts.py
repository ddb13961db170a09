"""Windows of real text."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mlx_mixer.errors import MixerError
from mlx_mixer.study.pairs import docstring_pairs, pair_ids, study_pairs
from mlx_mixer.study.settings import RetrievalSettings, StudySettings
from mlx_mixer.study.texts import even_windows, random_windows, study_texts, tokenised, window_batches
from mlx_mixer.training.data import Pair
from mlx_mixer.training.tokenizer import EOS_ID

WORDS = "red green blue warm cold old new near far long short high low deep".split()  # noqa: SIM905


def texts_of(count: int) -> list[str]:
    rng = np.random.default_rng(0)
    return [f"Text {number}: " + " ".join(rng.choice(WORDS, 80)) for number in range(count)]


def test_every_text_is_in_one_part_and_ends_with_the_end_token(tmp_path: Path) -> None:
    settings = StudySettings(vocab_size=300)
    texts = texts_of(60)
    found = tokenised(texts, settings, tmp_path)
    streams = (found.train, found.choose, found.report)
    assert sum(int((stream == EOS_ID).sum()) for stream in streams) == 60
    assert all(stream[-1] == EOS_ID for stream in streams)
    alone = {text: np.asarray([*ids, EOS_ID]) for text, ids in zip(texts, found.encode(texts), strict=True)}
    in_part = [
        {t for t, ids in alone.items() if ids.tobytes() in stream.astype(np.int64).tobytes()} for stream in streams
    ]
    assert sum(map(len, in_part)) == 60 == len(set().union(*in_part))
    reported = sum(len(text.encode()) for text in in_part[2])
    assert found.bytes_per_token == pytest.approx(reported / len(found.report))
    # The tokenizer is kept, and is what comes back.
    again = tokenised(texts, settings, tmp_path)
    assert np.array_equal(again.train, found.train)


def test_no_more_text_than_asked_for_is_used(tmp_path: Path) -> None:
    settings = StudySettings(vocab_size=300, characters=12_000)
    found = tokenised(texts_of(100), settings, tmp_path)
    count = sum(int((part == EOS_ID).sum()) for part in (found.train, found.choose, found.report))
    assert 12 <= count < 40


def test_windows_are_pieces_of_the_stream_and_depend_on_seed_and_step_alone() -> None:
    stream = np.arange(1000, dtype=np.int32)
    windows = random_windows(stream, 16, 8, seed=3, step=5)
    assert (np.diff(windows, axis=1) == 1).all()
    assert np.array_equal(windows, random_windows(stream, 16, 8, seed=3, step=5))
    assert not np.array_equal(windows, random_windows(stream, 16, 8, seed=3, step=6))
    (batch,), tokens = window_batches(stream, 16, StudySettings(tokens_per_batch=128))(0)
    assert batch.shape == (8, 16)
    assert tokens == 128
    even = even_windows(stream, 16, 160)
    assert even.shape == (10, 16)
    assert even[0, 0] == 0
    assert len({start // 16 for start in even[:, 0]}) == 10
    with pytest.raises(MixerError, match="has 1000 tokens, fewer than a window of 2000"):
        even_windows(stream, 2000, 4000)


def test_the_standard_library_is_text_that_is_always_there() -> None:
    texts = study_texts([])
    assert sum(map(len, texts)) > 3_000_000
    assert any("class TestCase" in text for text in texts)


def test_pairs_from_docstrings_have_neither_the_docstring_nor_the_name_in_the_passage() -> None:
    source = '''
class Shelf:
    """Keep books in order.

    Long story.
    """

    def tallest_book_of_all(self):
        """Return the book that
        stands out most.
        """
        candidates = sorted(self.books, key=lambda book: book.height, reverse=True)
        return candidates[0] if candidates else None

    def no(self):
        """Too short."""
        return 1
'''
    found = {pair.queries[0]: pair.passage for pair in docstring_pairs([source, "def broken(:"])}
    assert list(found) == ["Keep books in order.", "Return the book that stands out most."]
    passage = found["Return the book that stands out most."]
    assert passage.startswith("        candidates = sorted(")
    assert "tallest_book_of_all" not in passage
    assert "stands out" not in passage


def test_pairs_are_divided_without_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    # Each hundredth file of a thousand and more is enough to divide, and parsing all of them takes ten seconds.
    sources = study_texts([])
    monkeypatch.setattr("mlx_mixer.study.pairs.study_texts", lambda _: sources[::4])
    pairs = study_pairs([], [], RetrievalSettings(candidates=(32,)))
    parts = [{pair.passage for pair in part} for part in (pairs.train, pairs.choose, pairs.report)]
    assert len(parts[2]) == 512
    assert sum(map(len, parts)) == len(set().union(*parts))
    asked = [pair.queries[0] for pair in pairs.report]
    assert len(set(asked)) == len(asked)


def test_files_of_held_out_pairs_are_reported_on(tmp_path: Path) -> None:
    settings = RetrievalSettings(candidates=(32,))
    data, valid = tmp_path / "data.jsonl", tmp_path / "valid.jsonl"
    data.write_text("".join(f'{{"passage": "passage {n}", "query": "query {n}"}}\n' for n in range(200)))
    valid.write_text("".join(f'{{"passage": "other {n}", "query": "question {n}"}}\n' for n in range(80)))
    given = study_pairs([data], [valid], settings)
    assert len(given.report) == 80
    assert len(given.train) + len(given.choose) == 200
    with pytest.raises(MixerError, match="are too few"):
        study_pairs([valid], [], settings)


def test_pairs_are_cut_and_filled_and_know_where_they_end() -> None:
    settings = replace(RetrievalSettings(), query_length=3, context_length=6)
    pairs = [Pair(f"passage {number}", (f"query {number}",)) for number in range(3)]
    lengths = iter([2, 5, 0, 4, 5, 9])
    found = pair_ids(pairs, lambda texts: [list(range(10, 10 + next(lengths))) for _ in texts], settings)
    assert found.queries.tolist() == [[10, 11, EOS_ID], [10, 11, 12], [EOS_ID, EOS_ID, EOS_ID]]
    assert found.query_ends.tolist() == [1, 2, 0]
    # One position less than the window: its last one is never trained to predict.
    assert found.passages.shape == (3, 5)
    assert found.passage_ends.tolist() == [3, 4, 4]
