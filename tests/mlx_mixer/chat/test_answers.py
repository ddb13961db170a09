from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_mixer.chat.answers import answer, until_stop
from mlx_mixer.chat.prompt import STOPS, prepare
from mlx_mixer.chat.writers import LmWriter, MixerWriter
from mlx_mixer.sampling import SamplingSettings
from mlx_mixer.text import GenerationChunk


def chunks(*texts: str) -> Iterator[GenerationChunk]:
    for number, text in enumerate(texts, 1):
        yield GenerationChunk(text, number, 1, number, 1.0, 1, 9, 0, "length" if number == len(texts) else None)


def read(*texts: str) -> tuple[str, str | None]:
    shown = list(until_stop(chunks(*texts), STOPS))
    assert all(chunk.finish_reason is None for chunk in shown[:-1])
    return "".join(chunk.text for chunk in shown), shown[-1].finish_reason


@pytest.mark.parametrize(
    ("texts", "text", "reason"),
    [
        ((" A", " day", "."), "A day.", "length"),
        ((" A day.", "\nQues", "tion: And", " then?"), "A day.", "stop"),
        ((" A day.\n\n", "\nAns", "wer: no"), "A day.", "stop"),
        ((" A\nQuestion", " of taste."), "A\nQuestion of taste.", "length"),
        ((" A\nQues",), "A\nQues", "length"),
        (("\nQuestion: why",), "", "stop"),
        (("", "", "x"), "x", "length"),
    ],
)
def test_an_answer_ends_where_the_next_question_would_begin(texts: tuple[str, ...], text: str, reason: str) -> None:
    assert read(*texts) == (text, reason)


@given(st.lists(st.text(alphabet="\nQuestion: A", max_size=4), min_size=1, max_size=30))
def test_how_a_text_is_cut_into_chunks_changes_nothing(texts: list[str]) -> None:
    whole = "".join(texts)
    stops = [at for stop in STOPS if (at := whole.find(stop)) >= 0]
    expected = whole[: min(stops)].rstrip().lstrip() if stops else whole.lstrip()
    assert read(*texts) == (expected, "stop" if stops else "length")


@pytest.mark.parametrize("kind", ["mixer", "llama"])
def test_an_answer_is_no_longer_than_the_room_that_was_kept(kind: str, mixer: MixerWriter, llama: LmWriter) -> None:
    writer = mixer if kind == "mixer" else llama
    prompt = prepare(writer, "Why?", max_tokens=40)
    shown = list(answer(writer, prompt, SamplingSettings(max_tokens=1000, seed=1)))
    assert 1 <= shown[-1].generation_tokens <= 40
    assert shown[-1].finish_reason in ("stop", "length")
    assert shown[-1].window_slides == 0
