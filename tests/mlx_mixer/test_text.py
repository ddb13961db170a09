"""Words around the generator."""

from itertools import count
from typing import Any

import mlx.core as mx
import pytest

from mlx_mixer.checkpoint import load
from mlx_mixer.errors import UsageError
from mlx_mixer.sampling import SamplingSettings
from mlx_mixer.text import GenerationChunk, stream_generate, warm_up
from tests.tiny import tiny_model_folder

GREEDY = SamplingSettings(temperature=0, repetition_penalty=1, max_tokens=12)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    return load(tiny_model_folder(tmp_path_factory.mktemp("model")))


def chunks(pair: tuple[Any, Any], prompt: Any, **options: Any) -> list[GenerationChunk]:
    return list(stream_generate(*pair, prompt, **{"settings": GREEDY, **options}))


def continuation(pair: tuple[Any, Any], prompt: str, result: list[GenerationChunk]) -> str:
    """What decoding prompt and new tokens at once adds to the prompt."""
    tokenizer = pair[1]
    ids = [chunk.token_id for chunk in result if chunk.token_id not in (None, *tokenizer.eos_token_ids)]
    start = tokenizer.encode(prompt, add_special_tokens=False)
    return str(tokenizer.decode([*start, *ids]))[len(tokenizer.decode(start)) :]


def test_the_space_before_the_first_new_word_is_kept(pair: tuple[Any, Any]) -> None:
    model, tokenizer = pair
    space = tokenizer.encode(" ")[0]
    bias = mx.where(mx.arange(257) == space, 100.0, 0.0)
    head = model.lm_head
    model.lm_head = lambda hidden: head(hidden) + bias
    try:
        result = chunks(pair, "word")
    finally:
        model.lm_head = head
    assert "".join(chunk.text for chunk in result) == " " * 12


def test_the_texts_add_up_to_the_decoded_tokens(pair: tuple[Any, Any]) -> None:
    """Random weights give bytes that are no characters; streaming must agree with decoding all at once."""
    for prompt in ("The package", "ends with a space ", "", " ", "naïve caf\u00e9"):
        result = chunks(pair, prompt)
        assert "".join(chunk.text for chunk in result) == continuation(pair, prompt, result)


def test_only_the_last_chunk_says_why_it_ended(pair: tuple[Any, Any]) -> None:
    result = chunks(pair, "abc")
    assert [chunk.finish_reason for chunk in result] == [None] * 11 + ["length"]
    assert [chunk.generation_tokens for chunk in result] == list(range(1, 13))
    assert result[-1].prompt_tokens == 3


def test_the_end_token_stops_and_is_not_shown(pair: tuple[Any, Any]) -> None:
    model, _ = pair
    second = chunks(pair, "abc")[1].token_id
    config = model.config
    object.__setattr__(config, "eos_token_id", second)
    try:
        result = chunks(pair, "abc")
    finally:
        object.__setattr__(config, "eos_token_id", 256)
    assert result[-1].finish_reason == "stop"
    assert result[-1].token_id == second
    assert "".join(chunk.text for chunk in result) == continuation(pair, "abc", result[:-1])


def test_cancelling_keeps_what_was_written(pair: tuple[Any, Any]) -> None:
    calls = count()
    result = chunks(pair, "abc", is_cancelled=lambda: next(calls) >= 4)
    assert result[-1].finish_reason == "cancelled"
    assert result[-1].generation_tokens == 4
    assert "".join(chunk.text for chunk in result) == continuation(pair, "abc", result)


def test_a_seed_repeats_a_continuation(pair: tuple[Any, Any]) -> None:
    warm = SamplingSettings(temperature=2, seed=7, max_tokens=20)
    first = [chunk.token_id for chunk in chunks(pair, "abc", settings=warm)]
    assert first == [chunk.token_id for chunk in chunks(pair, "abc", settings=warm)]
    other = SamplingSettings(temperature=2, seed=8, max_tokens=20)
    assert first != [chunk.token_id for chunk in chunks(pair, "abc", settings=other)]


def test_the_window_slides_visibly_and_leaves_the_past_alone(pair: tuple[Any, Any]) -> None:
    long = SamplingSettings(temperature=0, repetition_penalty=1, max_tokens=40)
    result = chunks(pair, "abc", settings=long)
    assert result[-1].window_slides > 0
    before = [chunk.token_id for chunk in result if chunk.window_slides == 0]
    assert before[:12] == [chunk.token_id for chunk in chunks(pair, "abc")]


def test_warming_up_changes_nothing_that_is_written(pair: tuple[Any, Any]) -> None:
    before = [chunk.token_id for chunk in chunks(pair, "abc")]
    warm_up(*pair)
    assert [chunk.token_id for chunk in chunks(pair, "abc")] == before


def test_an_empty_text_starts_from_the_end_token(pair: tuple[Any, Any]) -> None:
    assert chunks(pair, "")[0].prompt_tokens == 1


def test_token_ids_outside_the_vocabulary_are_refused(pair: tuple[Any, Any]) -> None:
    with pytest.raises(UsageError, match="token id 300 is outside the model's vocabulary of 257"):
        chunks(pair, [1, 300])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -1),
        ("temperature", float("nan")),
        ("top_p", 1.5),
        ("max_tokens", 0),
        ("top_k", 2.5),
        ("seed", -1),
    ],
)
def test_settings_outside_their_range_are_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"{name} is .*; it must be a"):
        SamplingSettings(**{name: value})  # type: ignore[arg-type]
