"""What makes a model better, and what a mixture of two is."""

from pathlib import Path

import mlx.core as mx
import numpy as np
import numpy.typing as npt
import pytest

from mlx_mixer.checkpoint import load_language_model
from mlx_mixer.documents.check import SCALES
from mlx_mixer.personal.contest import RanksBySystem, best_scale, compare
from mlx_mixer.personal.mixture import write_mixture
from tests.tiny import tiny_model_folder


def ranks(words: npt.NDArray[np.int64], alone: npt.NDArray[np.int64], fused: npt.NDArray[np.int64]) -> RanksBySystem:
    return {"words": words, "meaning": alone, **dict.fromkeys(SCALES, fused)}


def ones(count: int, share: float, elsewhere: int = 4) -> npt.NDArray[np.int64]:
    """Ranks of which a share is 1."""
    return np.where(np.arange(count) < share * count, 1, elsewhere)


@pytest.mark.parametrize(
    ("alone", "fused", "is_better"),
    [(0.5, 0.9, True), (0.9, 0.5, True), (0.9, 0.48, False), (0.5, 0.5, False), (0.51, 0.51, False), (0.2, 0.9, True)],
)
def test_a_model_is_better_if_searches_find_more_or_it_does_at_no_cost_to_them(
    alone: float, fused: float, is_better: bool
) -> None:
    words = ones(200, 0.4)
    old = ranks(words, ones(200, 0.5), ones(200, 0.5))
    new = ranks(words, ones(200, alone), ones(200, fused))
    outcome = compare(old, new, old_scale=1.0, new_scale=1.0, chunks=9)
    assert outcome.is_better == is_better
    assert outcome.gain_fused.top1.mean == pytest.approx(fused - 0.5)
    assert outcome.gain_fused.mrr.mean == pytest.approx(0.75 * (fused - 0.5))
    assert (outcome.questions, outcome.chunks) == (200, 9)


def test_a_model_that_gets_no_weight_is_not_better() -> None:
    words = ones(200, 0.5)
    new = ranks(words, ones(200, 0.9), ones(200, 0.3))
    assert best_scale(new) == 0.0
    outcome = compare(ranks(words, words, words), new, old_scale=1.0, new_scale=0.0, chunks=9)
    assert outcome.gain_alone.mrr.low > 0
    assert not outcome.is_better


def test_the_smallest_of_equally_good_weights_is_taken() -> None:
    words = ones(50, 0.5)
    assert best_scale(ranks(words, words, words)) == 0.0
    assert best_scale({**ranks(words, words, words), 1.5: ones(50, 0.6), 2.0: ones(50, 0.6)}) == 1.5


def test_a_mixture_lies_between_its_models(tmp_path: Path) -> None:
    folders = [tiny_model_folder(tmp_path / str(seed), seed=seed, pooling="token_weighted") for seed in (1, 2)]
    old, new = (load_language_model(folder, as_stored=False) for folder in folders)
    for share in (0.25, 1.0):
        out = tmp_path / f"mixed{share}"
        out.mkdir()
        write_mixture(*folders, share, out)
        mixed = load_language_model(out, as_stored=False).embed_tokens.weight
        expected = (1 - share) * old.embed_tokens.weight + share * new.embed_tokens.weight
        assert mx.allclose(mixed, expected, atol=2e-3)
        assert (out / "tokenizer.json").read_bytes() == (folders[0] / "tokenizer.json").read_bytes()
