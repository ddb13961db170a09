"""Token vectors against a dense singular value decomposition."""

import numpy as np
import pytest

from mlx_mixer.errors import MixerError
from mlx_mixer.training.token_vectors import cooccurrence_vectors


def topics(count: int = 400, vocab: int = 60) -> list[list[int]]:
    """Texts about one of six topics of ten tokens each, so that six directions stand out."""
    rng = np.random.default_rng(0)
    return [
        (rng.integers(0, 10, rng.integers(5, 30)) + 10 * rng.integers(0, vocab // 10)).tolist() for _ in range(count)
    ]


def dense(texts: list[list[int]], vocab: int) -> np.ndarray:
    counts = np.array([np.bincount(text, minlength=vocab) for text in texts], np.float64)
    idf = np.log((len(texts) + 1) / ((counts > 0).sum(axis=0) + 1))
    weighted = np.where(counts > 0, 1 + np.log(np.maximum(counts, 1)), 0) * idf
    return weighted / np.linalg.norm(weighted, axis=1, keepdims=True)


def test_products_of_vectors_are_those_of_the_truncated_decomposition() -> None:
    texts, dims = topics(), 6
    got = cooccurrence_vectors(texts, 60, dims).vectors.astype(np.float64)
    _, values, right = np.linalg.svd(dense(texts, 60))
    exact = right[:dims].T * np.sqrt(values[:dims])
    exact /= np.sqrt((exact**2).sum(axis=1).mean())
    # Vectors are unique up to a rotation; their products are unique.
    np.testing.assert_allclose(got @ got.T, exact @ exact.T, atol=2e-4)


def test_rare_tokens_weigh_more() -> None:
    idf = cooccurrence_vectors([[0, 1], [0, 2], [0, 0], [0, 1]], 4, 2).idf
    np.testing.assert_allclose(idf, np.log([5 / 5, 5 / 3, 5 / 2, 5 / 1]), rtol=1e-6)


def test_an_empty_text_and_an_unseen_token_do_no_harm() -> None:
    found = cooccurrence_vectors([[0, 1], [], [1, 2], [0]], 5, 2)
    assert np.isfinite(found.vectors).all()
    np.testing.assert_allclose(found.vectors[4], 0, atol=1e-6)


def test_too_few_texts_are_refused() -> None:
    with pytest.raises(MixerError, match="1 texts and 5 token ids are too few for vectors of 2"):
        cooccurrence_vectors([[0, 1]], 5, 2)
