"""Decoding from a state equals one full pass, and its memory does not grow."""

import copy
from itertools import islice
from pathlib import Path

import mlx.core as mx
import mlx_lm
import mlx_lm.models.cache as mlx_lm_cache
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_mixer.cache import register_with_mlx_lm
from mlx_mixer.checkpoint import load
from mlx_mixer.generation import generate_tokens
from mlx_mixer.kernels.recurrence import CHUNK
from mlx_mixer.state_cache import StateCache
from tests.mlx_mixer.test_cache import TOLERANCE, assert_close, decode
from tests.tiny import STRUCTURED, TOEPLITZ, tiny_model, tiny_model_folder

FORMS = {**STRUCTURED, **TOEPLITZ}
MODELS = {(form, dtype): tiny_model(dtype=dtype, **changes) for form, changes in FORMS.items() for dtype in TOLERANCE}
IDS = mx.random.randint(0, 64, (3, 24), key=mx.random.key(7))


@pytest.mark.parametrize("dtype", [mx.float32, mx.float16], ids=str)
@pytest.mark.parametrize("form", FORMS)
@given(splits=st.lists(st.integers(1, 24), min_size=1, max_size=12))
@settings(max_examples=8, deadline=None)
def test_prefill_and_decode_equal_one_full_pass(form: str, dtype: mx.Dtype, splits: list[int]) -> None:
    model = MODELS[form, dtype]
    expected = model(IDS)
    # Logits of these models reach 70, and float16 knows no more than 0.03 of that.
    scale = max(1.0, float(mx.abs(expected.astype(mx.float32)).max().item()) / 10)
    got = decode(model, IDS, splits)
    assert_close(
        (got.astype(mx.float32) / scale).astype(dtype), (expected.astype(mx.float32) / scale).astype(dtype), dtype
    )


@pytest.mark.parametrize("form", ["row_decay", "mixed_heads", "kernel_col_decay"])
def test_memory_per_token_is_constant_over_8192_positions(form: str) -> None:
    model = tiny_model(context_length=8192, num_layers=1, **STRUCTURED[form])
    ids = mx.random.randint(0, 64, (1, 8192), key=mx.random.key(9))
    cache = model.make_cache()
    sizes = []
    last = None
    for start, stop in ((0, 10), (10, 11), (11, 4000), (4000, 8000), (8000, 8191), (8191, 8192)):
        last = model.hidden_states(ids[:, start:stop], cache)
        mx.eval(last)
        sizes.append(cache[0].nbytes)
    assert sizes == [16 * 4] * 6
    assert cache[0].offset == 8192
    assert last is not None
    full = np.array(model.hidden_states(ids)[:, -1])
    np.testing.assert_allclose(np.array(last)[:, -1], full, rtol=0, atol=2e-5 * max(1.0, np.abs(full).max()))


def test_combined_mixing_keeps_two_rows() -> None:
    model = MODELS["combined_decay", mx.float32]
    cache = model.make_cache()
    mx.eval(model(IDS, cache))
    assert cache[0].state[0].shape == (3, 2, 16)


@pytest.mark.parametrize("form", STRUCTURED)
def test_mlx_lm_saves_and_loads_the_cache(form: str, tmp_path: Path) -> None:
    register_with_mlx_lm(mlx_lm_cache)
    model = MODELS[form, mx.float32]
    cache = mlx_lm_cache.make_prompt_cache(model)
    mx.eval(model(IDS[:, :15], cache))
    mlx_lm_cache.save_prompt_cache(str(tmp_path / "cache.safetensors"), cache)
    loaded = mlx_lm_cache.load_prompt_cache(str(tmp_path / "cache.safetensors"))
    assert [entry.offset for entry in loaded] == [15, 15]
    assert_close(model(IDS[:, 15:], loaded), model(IDS)[:, 15:], mx.float32)


def test_an_empty_cache_survives_saving(tmp_path: Path) -> None:
    register_with_mlx_lm(mlx_lm_cache)
    model = MODELS["row", mx.float32]
    mlx_lm_cache.save_prompt_cache(str(tmp_path / "cache.safetensors"), model.make_cache())
    loaded = mlx_lm_cache.load_prompt_cache(str(tmp_path / "cache.safetensors"))
    assert all(entry.empty() for entry in loaded)
    assert_close(model(IDS, loaded), model(IDS), mx.float32)


def test_a_copied_cache_goes_its_own_way() -> None:
    model = MODELS["mixed_heads_decay", mx.float32]
    cache = model.make_cache()
    mx.eval(model(IDS[:, :10], cache))
    branch = copy.deepcopy(cache)
    mx.eval(model(IDS[:, :1], branch))
    assert_close(model(IDS[:, 10:], cache), model(IDS)[:, 10:], mx.float32)


def test_the_protocol_says_that_nothing_can_be_taken_back() -> None:
    cache = StateCache()
    assert cache.empty()
    assert cache.nbytes == 0
    assert not cache.is_trimmable()
    assert mlx_lm_cache.trim_prompt_cache([cache], 3) == 0
    cache.advance(3)
    assert cache.size() == 3
    assert not cache.empty()


@pytest.mark.parametrize("form", ["row", "mixed_heads_decay", "combined_decay"])
def test_mlx_lm_generates_our_tokens(form: str, tmp_path: Path) -> None:
    model, tokenizer = load(tiny_model_folder(tmp_path / "model", seed=4, **STRUCTURED[form]))
    prompt = tokenizer.encode("The package")
    steps = generate_tokens(model, prompt, sampler=lambda logprobs: mx.argmax(logprobs, axis=-1))
    expected = [step.token_id for step in islice(steps, 12)]
    for prefill_step_size in (2048, 3):
        responses = mlx_lm.stream_generate(model, tokenizer, prompt, max_tokens=12, prefill_step_size=prefill_step_size)
        got = [int(response.token) for response in responses]
        assert got == expected[: len(got)]
        assert len(got) == 12 or got[-1] == 256
    assert isinstance(mlx_lm.generate(model, tokenizer, "The package", max_tokens=4), str)


def test_toeplitz_mixing_decodes_across_blocks_that_do_not_fill_the_context() -> None:
    model = tiny_model(context_length=75, **TOEPLITZ["toeplitz"])
    ids = mx.random.randint(0, 64, (2, 75), key=mx.random.key(11))
    assert_close(decode(model, ids, [30]), model(ids), mx.float32)
    assert_close(decode(model, ids, [1, 1, 63, 2]), model(ids), mx.float32)


def test_states_cross_the_chunks_of_a_long_prefill() -> None:
    length = 2 * CHUNK + 9
    model = tiny_model(context_length=length, num_layers=1, **STRUCTURED["mixed_heads_decay"])
    ids = mx.random.randint(0, 64, (2, length), key=mx.random.key(12))
    assert_close(decode(model, ids, [CHUNK - 3, 7, 1, CHUNK + 1, 1]), model(ids), mx.float32)
