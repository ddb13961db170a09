"""The generator against a loop that runs the whole model for every token."""

from itertools import islice

import mlx.core as mx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_mixer.generation import TokenStep, generate_tokens
from mlx_mixer.models.language import LanguageMixer
from tests.tiny import FORMS, tiny_model

MODEL = tiny_model()
LIMIT = 24
KEPT = 18


def greedy(logprobs: mx.array) -> mx.array:
    return mx.argmax(logprobs, axis=-1)


def run(model: LanguageMixer, prompt: list[int], count: int) -> list[TokenStep]:
    return list(islice(generate_tokens(model, prompt, sampler=greedy), count))


def slow_greedy(model: LanguageMixer, prompt: list[int], count: int) -> list[int]:
    """No cache: one full pass for every token, over the window the policy describes."""
    window = prompt if len(prompt) < LIMIT else prompt[-KEPT:]
    chosen = []
    for _ in range(count):
        token = int(mx.argmax(model(mx.array([window]))[0, -1]).item())
        chosen.append(token)
        window = [*window, token]
        if len(window) >= LIMIT:
            window = window[-KEPT:]
    return chosen


@pytest.mark.parametrize("form", FORMS)
def test_decoding_chooses_what_full_passes_choose_across_slides(form: str) -> None:
    model = tiny_model(**FORMS[form])
    assert [step.token_id for step in run(model, [3, 1, 4], 40)] == slow_greedy(model, [3, 1, 4], 40)


@given(prompt=st.lists(st.integers(0, 63), min_size=1, max_size=60))
@settings(max_examples=20, deadline=None)
def test_any_prompt_is_continued(prompt: list[int]) -> None:
    steps = run(MODEL, prompt, 30)
    assert [step.token_id for step in steps] == slow_greedy(MODEL, prompt, 30)
    assert all(1 <= step.window_used <= LIMIT for step in steps)


def test_slides_are_counted_when_they_happen() -> None:
    steps = run(MODEL, [1] * 10, 21)
    assert [step.window_slides for step in steps] == [0] * 14 + [1] * 6 + [2]
    assert [step.window_used for step in steps] == [*range(11, 25), *range(19, 25), 19]


def test_a_prompt_that_fills_the_window_counts_as_a_slide() -> None:
    assert run(MODEL, [1] * 23, 1)[0] == TokenStep(run(MODEL, [1] * 23, 1)[0].token_id, 24, 0)
    assert run(MODEL, [1] * 24, 1)[0].window_slides == 1
    assert run(MODEL, [1] * 24, 1)[0].window_used == KEPT + 1


def test_processors_see_every_id_and_change_the_choice() -> None:
    seen: list[list[int]] = []

    def forbid_token_of_first_choice(ids: mx.array, logits: mx.array) -> mx.array:
        seen.append(ids.tolist())
        return mx.where(mx.arange(64)[None] == first, -1e9, logits)

    first = run(MODEL, [5, 6], 1)[0].token_id
    steps = list(
        islice(generate_tokens(MODEL, [5, 6], sampler=greedy, logits_processors=[forbid_token_of_first_choice]), 3)
    )
    assert first not in [step.token_id for step in steps]
    assert seen[0] == [5, 6]
    assert seen[2] == [5, 6, steps[0].token_id, steps[1].token_id]
