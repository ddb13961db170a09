"""Properties of a tokenizer learned from a few lines."""

from pathlib import Path

import pytest
import sentencepiece
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mlx_mixer.errors import CheckpointError, MixerError, ModelNotFoundError
from mlx_mixer.training.tokenizer import EOS_ID, load_encoder, train_tokenizer, vocabulary_size

TEXTS = [f"The package number {number} provides a library for sorting files.\nIt is small." for number in range(200)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    (folder / "tokenizer.model").write_bytes(train_tokenizer(TEXTS, 360))
    return folder


def test_learning_repeats_itself() -> None:
    assert train_tokenizer(TEXTS, 300) == train_tokenizer(TEXTS, 300)


def test_frequent_words_are_one_piece_and_digits_stay_apart(folder: Path) -> None:
    processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    assert processor.encode("library 42", out_type=str) == ["▁library", "▁", "4", "2"]
    assert processor.eos_id() == EOS_ID
    assert vocabulary_size(folder) == 360


@settings(max_examples=80, deadline=None)
@given(st.text(max_size=60).filter(lambda text: "\x00" not in text and "▁" not in text))
@example("  two  spaces ")
def test_every_text_comes_back(folder: Path, text: str) -> None:
    processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    assert processor.decode(load_encoder(folder)([text])[0]) == text


@pytest.mark.parametrize(("size", "message"), [(100, "too small"), (5000, "no vocabulary of 5000 pieces")])
def test_sizes_that_cannot_be_are_one_clear_line(size: int, message: str) -> None:
    with pytest.raises(MixerError, match=message) as error:
        train_tokenizer(TEXTS, size)
    assert "\n" not in str(error.value)


def test_missing_and_damaged_tokenizers_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="no tokenizer"):
        load_encoder(tmp_path)
    (tmp_path / "tokenizer.model").write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_encoder(tmp_path)
