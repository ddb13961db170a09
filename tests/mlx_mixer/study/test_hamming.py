"""The measure of input recovery, beside a slow twin."""

import numpy as np

from mlx_mixer.study.hamming import nearest_tokens, normalised_hamming


def slow_hamming(wanted: list[int], found: list[list[int]]) -> float:
    right = 0
    for token, guesses in zip(wanted, found, strict=True):
        if token in guesses:
            right += 1
    return (len(wanted) - right) / len(wanted)


def test_the_metric_is_the_share_of_positions_without_the_token_among_the_guesses() -> None:
    rng = np.random.default_rng(0)
    wanted, found = rng.integers(0, 6, (20, 9)), rng.integers(0, 6, (20, 9, 3))
    slow = [slow_hamming(list(row), [list(cell) for cell in cells]) for row, cells in zip(wanted, found, strict=True)]
    assert 0 < min(slow) < max(slow)
    np.testing.assert_allclose(normalised_hamming(wanted, found), slow)
    one = [slow_hamming(list(row), [[cell[0]] for cell in cells]) for row, cells in zip(wanted, found, strict=True)]
    np.testing.assert_allclose(normalised_hamming(wanted, found[..., 0]), one)


def test_the_pseudo_inverse_names_the_token_of_its_own_vector() -> None:
    table = np.random.default_rng(1).standard_normal((40, 64)).astype(np.float32)
    ids = np.random.default_rng(2).integers(0, 40, (3, 7))
    near = table[ids] + 0.01 * np.random.default_rng(3).standard_normal((3, 7, 64)).astype(np.float32)
    guesses = nearest_tokens(near, table, 5)
    assert guesses.shape == (3, 7, 5)
    assert (guesses[..., 0] == ids).all()
    # The first guess is the least-squares solution's largest coefficient.
    coefficients = np.linalg.lstsq(table.T.astype(np.float64), near[0, 0].astype(np.float64), rcond=None)[0]
    assert list(guesses[0, 0]) == list(np.argsort(-coefficients)[:5])
