"""Embedders whose vectors of words, or of pieces, go through blocks of their own."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from mlx import nn

from mlx_mixer.checkpoint import load_config, load_language_model, load_model, save_model
from mlx_mixer.embedding import Embedder, load_embedder
from mlx_mixer.errors import CheckpointError, ModelNotFoundError
from mlx_mixer.layers.pooling import ContextualPooling
from mlx_mixer.quantization import quantize_model
from mlx_mixer.training.embed import embed_windows
from mlx_mixer.word_tokenizer import WordTokenizer
from tests.commands import run_here
from tests.tiny import byte_tokenizer, tiny_model_folder

WORDS = ["the", "cat", "sat", "index", "of"]
LONG = "The cats sat of an index, the zebra HTTPServer beside. " * 6
TEXTS = ["The cats sat; the INDEX of zebras.", "Zebra", "", "?!", LONG]
SIZES: dict[str, Any] = {
    "pooling": "contextual",
    "embedding_size": 32,
    "embedding_layers": 2,
    "embedding_intermediate_size": 48,
    "embedding_heads": 2,
}


def word_folder(folder: Path, words: Sequence[str] = WORDS, **changes: Any) -> Path:
    tiny_model_folder(folder, **{**SIZES, "word_vocab_size": 12, **changes})
    (folder / "words.txt").write_text("".join(f"{word}\n" for word in words), encoding="utf-8")
    return folder


def word_embedder(folder: Path, words: Sequence[str] = WORDS, **changes: Any) -> Embedder:
    return load_embedder(word_folder(folder, words, **changes))


def expected(folder: Path, ids: list[int]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The vector of one text, window after window."""
    pooling = load_language_model(folder).pooling
    assert isinstance(pooling, ContextualPooling)
    windows = [ids[start : start + 24] for start in range(0, len(ids), 24)]
    total = sum((np.array(pooling(mx.array([window])))[0] for window in windows), np.zeros(32, np.float32))
    return total / np.linalg.norm(total) if ids else total


def test_a_text_is_the_sum_over_windows_of_its_words(tmp_path: Path) -> None:
    found = word_embedder(tmp_path)
    vectors = found.embed(TEXTS)
    tokenizer = WordTokenizer(WORDS, 7)
    ids = tokenizer.encode(TEXTS)
    assert len(ids[-1]) > 2 * 24
    assert vectors.shape == (5, found.dims) == (5, 32)
    for numbers, vector in zip(ids, vectors, strict=True):
        np.testing.assert_allclose(vector, expected(tmp_path, numbers), rtol=1e-4, atol=1e-5)
    assert found.count_tokens(TEXTS) == [len(numbers) for numbers in ids]
    # What words say depends on where they stand, and not on their case.
    there, back, shouted = found.embed(["cat sat index", "index sat cat", "CAT SAT INDEX"])
    assert abs(there @ back) < 0.999
    np.testing.assert_allclose(there, shouted, atol=1e-6)


def test_a_text_is_the_sum_over_windows_of_its_pieces(tmp_path: Path) -> None:
    found = load_embedder(tiny_model_folder(tmp_path, **SIZES))
    for text, vector in zip(TEXTS, found.embed(TEXTS), strict=True):
        np.testing.assert_allclose(vector, expected(tmp_path, byte_tokenizer().encode(text).ids), rtol=1e-4, atol=1e-5)
    assert found.count_tokens(["abc"]) == [3]


def test_vectors_of_a_run_are_those_that_users_get(tmp_path: Path) -> None:
    found = word_embedder(tmp_path)
    ids = [np.array(numbers, np.int64) for numbers in WordTokenizer(WORDS, 7).encode(TEXTS)]
    model = load_language_model(tmp_path)
    np.testing.assert_allclose(embed_windows(model, ids), found.embed(TEXTS), atol=1e-5)


@pytest.mark.parametrize("text", [TEXTS[0], LONG])
def test_shares_add_up_to_the_cosine(tmp_path: Path, text: str) -> None:
    found = word_embedder(tmp_path)
    vector, query = found.embed([text, "the zebra of cats"])
    shares = found.attribute(text, query)
    assert sum(share.share for share in shares) == pytest.approx(float(vector @ query), abs=1e-5)
    words = [text[share.start : share.end] for share in shares]
    assert words[:3] == ["The", "cats", "sat"]
    assert all(word.isalnum() for word in words)


def test_other_words_are_another_fingerprint_and_none_are_an_error(tmp_path: Path) -> None:
    found = word_embedder(tmp_path)
    before = found.fingerprint
    with pytest.raises(CheckpointError, match="this model embeds words"):
        Embedder(found.model, found._parts[0].tokenizer, before)
    assert word_embedder(tmp_path).fingerprint == before
    assert word_embedder(tmp_path, [*WORDS[:-1], "at"]).fingerprint != before
    (tmp_path / "words.txt").unlink()
    with pytest.raises(ModelNotFoundError, match=r"holds no words\.txt"):
        load_embedder(tmp_path)


WIDE = {"hidden_size": 128, "embedding_size": 128, "embedding_intermediate_size": 128}


def test_a_model_is_quantised_saved_and_read_again(tmp_path: Path) -> None:
    folder = word_folder(tmp_path / "m", **WIDE)
    want = load_embedder(folder).embed(TEXTS)
    model = load_model(folder, as_stored=True)
    quantize_model(model, 8)
    save_model(folder, model)
    held = load_language_model(folder, as_stored=True)
    assert held.config.quantization is not None
    assert held.config.quantization.group_size == 128
    assert isinstance(held.pooling, ContextualPooling)
    first = held.pooling.layers[0]
    for module in (held.pooling.table, first.channel_mixing.up):
        assert isinstance(module, nn.QuantizedEmbedding | nn.QuantizedLinear)
    assert "scales" not in first.token_mixing
    ids = mx.array([WordTokenizer(WORDS, 7).encode([LONG])[0][:24]])
    unpacked = load_language_model(folder, as_stored=False)
    np.testing.assert_allclose(np.array(held.pooling(ids)), np.array(unpacked.pooling(ids)), rtol=1e-3, atol=1e-3)
    assert (load_embedder(folder).embed(TEXTS) * want).sum(axis=1) == pytest.approx([1, 1, 0, 0, 1], abs=1e-3)


def test_a_model_is_converted_with_its_words(tmp_path: Path) -> None:
    folder, out = word_folder(tmp_path / "m", **WIDE), tmp_path / "out"
    done = run_here("convert", folder, "--out", out, "--quantize", "8", "--dtype", "float16")
    assert done.returncode == 0, done.stderr
    assert (out / "words.txt").read_bytes() == (folder / "words.txt").read_bytes()
    config = load_config(out)
    assert config.quantization is not None
    assert config.to_dict()["embedding_layers"] == 2
    want = load_embedder(folder).embed(TEXTS)
    assert (load_embedder(out).embed(TEXTS) * want).sum(axis=1) == pytest.approx([1, 1, 0, 0, 1], abs=2e-3)
    assert load_language_model(out).config.num_parameters == load_language_model(folder).config.num_parameters
