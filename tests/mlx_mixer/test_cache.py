"""Decoding from a cache equals one full pass, for every form, dtype and way of cutting the text."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx_lm.models.cache as mlx_lm_cache
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlx.utils import tree_map

from mlx_mixer.cache import GROWTH, MixerCache, RowMixing, register_with_mlx_lm
from mlx_mixer.models.language import LanguageMixer
from tests.tiny import FORMS, tiny_model

# float32 differs by the order of summation alone; half precisions by a few units in their last place.
TOLERANCE = {mx.float32: 2e-5, mx.float16: 2e-2, mx.bfloat16: 1.5e-1}
MODELS = {(form, dtype): tiny_model(dtype=dtype, **changes) for form, changes in FORMS.items() for dtype in TOLERANCE}
IDS = mx.random.randint(0, 64, (3, 24), key=mx.random.key(7))

lengths = st.lists(st.integers(1, 24), min_size=1, max_size=12)


def pieces(splits: list[int], total: int = 24) -> Iterator[tuple[int, int]]:
    start = 0
    while start < total:
        stop = min(total, start + (splits.pop(0) if splits else 1))
        yield start, stop
        start = stop


def decode(model: LanguageMixer, ids: mx.array, splits: list[int], cache: list[MixerCache] | None = None) -> mx.array:
    cache = cache or model.make_cache()
    return mx.concatenate(
        [model(ids[:, start:stop], cache) for start, stop in pieces(list(splits), ids.shape[1])], axis=1
    )


def assert_close(got: mx.array, expected: mx.array, dtype: mx.Dtype) -> None:
    assert got.dtype == dtype
    tolerance = TOLERANCE[dtype]
    np.testing.assert_allclose(
        np.array(got.astype(mx.float32)), np.array(expected.astype(mx.float32)), rtol=tolerance, atol=tolerance
    )


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("form", FORMS)
@given(splits=lengths)
@settings(max_examples=12, deadline=None)
def test_prefill_and_decode_equal_one_full_pass(form: str, dtype: mx.Dtype, splits: list[int]) -> None:
    model = MODELS[form, dtype]
    assert_close(decode(model, IDS, splits), model(IDS), dtype)


@pytest.mark.parametrize("form", FORMS)
@given(splits=lengths, seen=st.integers(1, 24), forgotten=st.integers(0, 30))
@settings(max_examples=10, deadline=None)
def test_a_trimmed_cache_continues_as_if_the_rest_had_never_been(
    form: str, splits: list[int], seen: int, forgotten: int
) -> None:
    model = MODELS[form, mx.float32]
    cache = model.make_cache()
    other = mx.random.randint(0, 64, (3, seen), key=mx.random.key(8))
    kept = max(0, seen - forgotten)
    prefix = mx.concatenate([IDS[:, :kept], other[:, kept:]], axis=1)
    mx.eval(model(prefix, cache))
    trimmed = mlx_lm_cache.trim_prompt_cache(cache, forgotten)
    assert trimmed == min(seen, forgotten)
    assert cache[0].offset == kept
    if kept < 24:
        assert_close(decode(model, IDS[:, kept:], splits, cache), model(IDS)[:, kept:], mx.float32)


@pytest.mark.parametrize("form", FORMS)
def test_mlx_lm_saves_and_loads_the_cache(form: str, tmp_path: Path) -> None:
    register_with_mlx_lm(mlx_lm_cache)
    model = MODELS[form, mx.float32]
    cache = mlx_lm_cache.make_prompt_cache(model)
    mx.eval(model(IDS[:, :15], cache))
    mlx_lm_cache.save_prompt_cache(str(tmp_path / "cache.safetensors"), cache, {"about": "a test"})
    loaded, about = mlx_lm_cache.load_prompt_cache(str(tmp_path / "cache.safetensors"), return_metadata=True)
    assert about == {"about": "a test"}
    assert [entry.offset for entry in loaded] == [15, 15]
    assert_close(model(IDS[:, 15:], loaded), model(IDS)[:, 15:], mx.float32)


def test_an_empty_cache_survives_saving(tmp_path: Path) -> None:
    register_with_mlx_lm(mlx_lm_cache)
    model = MODELS["expanded", mx.float32]
    mlx_lm_cache.save_prompt_cache(str(tmp_path / "cache.safetensors"), model.make_cache())
    loaded = mlx_lm_cache.load_prompt_cache(str(tmp_path / "cache.safetensors"))
    assert all(entry.empty() for entry in loaded)
    assert_close(model(IDS, loaded), model(IDS), mx.float32)


def test_a_copied_cache_goes_its_own_way() -> None:
    model = MODELS["flat", mx.float32]
    cache = model.make_cache()
    mx.eval(model(IDS[:, :10], cache))
    branch = copy.deepcopy(cache)
    mx.eval(model(IDS[:, :5], branch))
    assert_close(model(IDS[:, 10:], cache), model(IDS)[:, 10:], mx.float32)


def test_the_protocol_counts_tokens_and_bytes() -> None:
    cache = MixerCache(num_buffers=2)
    assert cache.empty()
    assert cache.nbytes == 0
    assert cache.is_trimmable()
    cache.mix(0, RowMixing(mx.ones((1, 1, 5, 5)), None), mx.ones((1, 3, 8)))
    cache.advance(3)
    assert cache.size() == 3
    assert not cache.empty()
    assert cache.nbytes == GROWTH * 8 * 4
    assert cache.state[1] is None


@pytest.mark.parametrize("form", ["flat", "expanded", "headed"])
@pytest.mark.parametrize("length", [31, 32, 33, 64, 100])
def test_blocks_of_any_alignment_decode_exactly(form: str, length: int) -> None:
    """Prompts that end before, at and after block boundaries, windows that are no multiple of a block."""
    model = tiny_model(**FORMS[form], context_length=length)
    ids = mx.random.randint(0, 64, (2, length), key=mx.random.key(9))
    expected = model(ids)
    for prompt in (1, 30, 31, 32, 33, 63, 64, 65):
        if prompt < length:
            splits = [prompt] + [1] * (length - prompt)
            assert_close(decode(model, ids, splits), expected, mx.float32)


def test_what_lies_ahead_is_never_read() -> None:
    """Rows of later positions that a trimmed cache still holds are poisoned; one read of them would show."""
    model = tiny_model(context_length=70)
    ids = mx.random.randint(0, 64, (1, 70), key=mx.random.key(9))
    cache = model.make_cache()
    mx.eval(model(ids, cache))
    for entry in cache:
        entry.trim(30)
        entry._rows = [mx.where(mx.arange(rows.shape[1])[:, None] < 40, rows, mx.nan) for rows in entry._rows]
    assert_close(decode(model, ids[:, 40:], [], cache), model(ids)[:, 40:], mx.float32)


def test_one_graph_serves_every_position() -> None:
    model = tiny_model(context_length=100)
    traced = 0
    mx.eval(decode(model, IDS[:, :2], [1]))
    step_of_model = model._decode_step
    trace = step_of_model.trace
    step_of_model._compiled.clear()

    def counted(*arguments: Any) -> Any:
        nonlocal traced
        traced += 1
        return trace(*arguments)

    step_of_model.trace = counted
    mx.eval(decode(model, IDS[:, :1], [1]), decode(model, mx.tile(IDS, (1, 4))[:, :90], []))
    assert traced == 1


def test_weights_that_change_after_a_step_count_in_the_next() -> None:
    model = tiny_model()
    mx.eval(decode(model, IDS, []))
    model.update(tree_map(lambda weight: weight * 0.5, model.parameters()))
    assert_close(decode(model, IDS, []), model(IDS), mx.float32)


def test_more_tokens_than_the_context_are_refused_with_their_number() -> None:
    model = MODELS["flat", mx.float32]
    cache = model.make_cache()
    mx.eval(model(IDS, cache))
    with pytest.raises(ValueError, match="1 tokens after 24 do not fit a context of 24"):
        model(IDS[:, :1], cache)
