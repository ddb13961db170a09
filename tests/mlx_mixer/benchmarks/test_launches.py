"""Launches are counted in the graph that MLX itself draws."""

import mlx.core as mx

from mlx_mixer.benchmarks.launches import count_launches


def test_operations_count_and_views_do_not() -> None:
    x, y = mx.ones((2, 3)), mx.ones((3, 2))
    mx.eval(x, y)
    assert count_launches(x) == 0
    assert count_launches((x @ y).reshape(4)) == 1
    assert count_launches(mx.exp(x @ y).sum()) == 3


def test_what_a_compilation_fuses_counts_once() -> None:
    x = mx.ones((2, 3))
    mx.eval(x)
    assert count_launches(mx.tanh(mx.exp(mx.abs(x)))) == 3
    assert count_launches(mx.compile(lambda x: mx.tanh(mx.exp(mx.abs(x))))(x)) == 1
