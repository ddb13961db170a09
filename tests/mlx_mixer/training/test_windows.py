"""Properties of cutting texts into windows and of batching them."""

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_mixer.training.windows import LENGTH_STEP, batch_order, cut_windows, gather

EOS = 2
TEXTS = st.lists(st.lists(st.integers(3, 50), max_size=90), max_size=12)


@settings(max_examples=60, deadline=None)
@given(TEXTS, st.integers(2, 40))
def test_every_token_but_a_texts_first_is_a_target_once(texts: list[list[int]], length: int) -> None:
    windows = cut_windows(texts, length, EOS)
    targets = [token for window in windows.ids for token in window[1:]]
    assert targets == [token for text in texts for token in [*text, EOS][1:]]
    assert all(2 <= len(window) <= length for window in windows.ids)


@settings(max_examples=60, deadline=None)
@given(TEXTS, st.integers(2, 40))
def test_packed_windows_are_the_same_pieces_side_by_side(texts: list[list[int]], length: int) -> None:
    plain, packed = (cut_windows(texts, length, EOS, pack=pack).ids for pack in (False, True))
    assert [token for window in packed for token in window] == [token for window in plain for token in window]
    assert all(2 <= len(window) <= length for window in packed)
    # What stands in the next window did not fit in this one.
    assert all(len(first) + len(second) > length for first, second in pairwise(packed))


@settings(max_examples=60, deadline=None)
@given(TEXTS, st.integers(0, 5))
def test_every_window_is_in_one_batch_of_an_epoch(texts: list[list[int]], seed: int) -> None:
    windows = cut_windows(texts, 32, EOS)
    order = batch_order(windows, 64, seed)
    assert sorted(row for batch in order for row in batch.tolist()) == list(range(len(windows.ids)))
    for batch in order:
        ids, labels = gather(windows, batch)
        assert ids.size <= 64 or len(batch) == 1
        assert ids.shape[1] % LENGTH_STEP == 0 or ids.shape[1] == 32
        for row, window in enumerate(batch):
            real = windows.ids[window]
            np.testing.assert_array_equal(ids[row, : len(real)], real)
            np.testing.assert_array_equal(labels[row, : len(real)], real)
            assert (labels[row, len(real) :] == -100).all()


def test_seeds_change_the_order_and_repeat_it() -> None:
    windows = cut_windows([[5] * length for length in range(1, 60)], 32, EOS)
    first, again, other = (batch_order(windows, 64, seed) for seed in (0, 0, 1))
    assert [batch.tolist() for batch in first] == [batch.tolist() for batch in again]
    assert [batch.tolist() for batch in first] != [batch.tolist() for batch in other]
