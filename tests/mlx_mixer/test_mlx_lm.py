"""The real mlx-lm runs our models unchanged."""

from itertools import islice
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx_lm
import pytest
from mlx_lm.models.cache import make_prompt_cache, trim_prompt_cache
from mlx_lm.sample_utils import make_sampler

from mlx_mixer.checkpoint import load
from mlx_mixer.generation import generate_tokens
from tests.tiny import FORMS, tiny_model_folder

# Every form once: the protocol does not depend on sizes.
FAMILIES = [form for form in FORMS if form != "tied"]


END = 256


@pytest.fixture(scope="module", params=FAMILIES)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    # A seed whose greedy continuations run on for a while in every form.
    return load(tiny_model_folder(tmp_path_factory.mktemp("model"), seed=4, **FORMS[request.param]))


def ours(pair: tuple[Any, Any], prompt: list[int], count: int) -> list[int]:
    steps = generate_tokens(pair[0], prompt, sampler=lambda logprobs: mx.argmax(logprobs, axis=-1))
    ids = [step.token_id for step in islice(steps, count)]
    return ids[: ids.index(END) + 1] if END in ids else ids


def test_stream_generate_gives_our_tokens(pair: tuple[Any, Any]) -> None:
    model, tokenizer = pair
    responses = list(mlx_lm.stream_generate(model, tokenizer, "The package", max_tokens=12))
    expected = ours(pair, tokenizer.encode("The package"), 12)
    assert [int(response.token) for response in responses] == expected
    assert responses[-1].finish_reason == ("stop" if expected[-1] == END else "length")


def test_generate_gives_our_text(pair: tuple[Any, Any]) -> None:
    model, tokenizer = pair
    text = mlx_lm.generate(model, tokenizer, "The package", max_tokens=12)
    expected = [token for token in ours(pair, tokenizer.encode("The package"), 12) if token != END]
    # Its detokenizer drops a space at the start of a continuation.
    assert text == tokenizer.decode(expected).removeprefix(" ")


def test_prefill_in_small_steps_changes_nothing(pair: tuple[Any, Any]) -> None:
    model, tokenizer = pair
    prompt = tokenizer.encode("The package")
    got = mlx_lm.stream_generate(model, tokenizer, prompt, max_tokens=8, prefill_step_size=3)
    assert [int(response.token) for response in got] == ours(pair, prompt, 8)


def test_a_prompt_cache_is_continued_after_trimming(pair: tuple[Any, Any]) -> None:
    model, tokenizer = pair
    cache = make_prompt_cache(model)
    prompt = tokenizer.encode("abcdef")
    first = [int(r.token) for r in mlx_lm.stream_generate(model, tokenizer, prompt, max_tokens=6, prompt_cache=cache)]
    # The last token was chosen but not read.
    trim_prompt_cache(cache, cache[0].offset - len(prompt))
    assert cache[0].offset == len(prompt)
    again = [
        int(r.token) for r in mlx_lm.stream_generate(model, tokenizer, first[:1], max_tokens=5, prompt_cache=cache)
    ]
    assert again == first[1:]


def test_its_speculative_decoding_accepts_our_draft(pair: tuple[Any, Any]) -> None:
    model, tokenizer = pair
    got = mlx_lm.stream_generate(model, tokenizer, "abc", max_tokens=10, draft_model=model, num_draft_tokens=3)
    assert [int(response.token) for response in got] == ours(pair, tokenizer.encode("abc"), 10)


def test_its_samplers_and_our_settings_agree_on_a_seed(pair: tuple[Any, Any]) -> None:
    model, tokenizer = pair
    sampler = make_sampler(temp=0.9, top_p=0.9)
    mx.random.seed(3)
    first = [int(r.token) for r in mlx_lm.stream_generate(model, tokenizer, "abc", max_tokens=8, sampler=sampler)]
    mx.random.seed(3)
    steps = generate_tokens(model, tokenizer.encode("abc"), sampler=sampler)
    # mlx-lm draws one token ahead of the one it yields, so draws and tokens stay in the same order.
    assert first == [step.token_id for step in islice(steps, len(first))]


def test_the_bundled_folder_layout_is_what_mlx_lm_loads(tmp_path: Path) -> None:
    folder = tiny_model_folder(tmp_path / "model")
    _, tokenizer = load(folder)
    assert tokenizer.decode(tokenizer.encode("naïve café — ok\n")) == "naïve café — ok\n"
    assert set(tokenizer.eos_token_ids) == {256}
