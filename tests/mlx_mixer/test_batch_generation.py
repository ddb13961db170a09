"""Continuations made together are those made alone."""

from itertools import islice

import mlx.core as mx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_mixer.batch_generation import generate_batch
from mlx_mixer.generation import generate_tokens
from mlx_mixer.models.language import LanguageMixer
from tests.tiny import FORMS, tiny_model

MODEL = tiny_model()


def greedy(logprobs: mx.array) -> mx.array:
    return mx.argmax(logprobs, axis=-1)


def alone(model: LanguageMixer, prompt: list[int], count: int) -> list[int]:
    return [step.token_id for step in islice(generate_tokens(model, prompt, sampler=greedy), count)]


def together(model: LanguageMixer, prompts: list[list[int]], count: int) -> list[list[int]]:
    steps = list(islice(generate_batch(model, prompts, sampler=greedy), count))
    return [[step[index] for step in steps] for index in range(len(prompts))]


@pytest.mark.parametrize("form", FORMS)
def test_prompts_of_any_length_continue_as_if_alone(form: str) -> None:
    """Across slides too: 30 tokens do not fit a window of 24."""
    model = tiny_model(**FORMS[form])
    prompts = [[3, 1, 4], [1, 5], [9, 2, 6], [5] * 23, [3, 1, 4]]
    assert together(model, prompts, 30) == [alone(model, prompt, 30) for prompt in prompts]


@given(prompts=st.lists(st.lists(st.integers(0, 63), min_size=1, max_size=40), min_size=1, max_size=5))
@settings(max_examples=8, deadline=None)
def test_any_prompts_can_be_batched(prompts: list[list[int]]) -> None:
    assert together(MODEL, prompts, 8) == [alone(MODEL, prompt, 8) for prompt in prompts]


def test_samples_of_one_prompt_differ_and_repeat_with_the_seed() -> None:
    def samples() -> list[list[int]]:
        mx.random.seed(5)
        steps = islice(generate_batch(MODEL, [[1, 2, 3]] * 4, sampler=lambda p: mx.random.categorical(p)), 12)
        return list(steps)

    first = samples()
    assert first == samples()
    assert len(set(map(tuple, zip(*first, strict=True)))) > 1


def test_equal_prompts_are_read_once() -> None:
    read = []
    hidden_states = MODEL.hidden_states

    def counted(ids: mx.array, cache: object) -> mx.array:
        read.append(ids.shape)
        return hidden_states(ids, cache)

    MODEL.hidden_states = counted
    try:
        together(MODEL, [[1, 2, 3]] * 5, 2)
    finally:
        MODEL.hidden_states = hidden_states
    assert read == [(1, 3)]
