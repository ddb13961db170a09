"""How fast single tokens come, against the memory limit, a transformer, and the length of the text."""

from collections.abc import Callable, Iterator
from functools import partial

import mlx.core as mx
from mlx import nn
from mlx_lm.generate import generate_step
from mlx_lm.models.llama import Model as Llama
from mlx_lm.models.llama import ModelArgs

from mlx_mixer.batch_generation import generate_batch
from mlx_mixer.benchmarks.launches import count_launches
from mlx_mixer.benchmarks.reference_model import (
    SIZES,
    MemoryLimit,
    bytes_per_token,
    random_model,
    seconds,
)
from mlx_mixer.benchmarks.timing import Figure, summarise
from mlx_mixer.generation import generate_tokens
from mlx_mixer.models.language import LanguageMixer

ROUNDS = 7
WARM_UP = 2
STEPS = 32
SAMPLES = 16
PROMPT = [1] * 8


def decode_figures() -> dict[str, Figure]:
    """Figures of single-sequence decoding, each pair measured in turns within this run."""
    model = random_model()
    return {
        **_against_memory(model),
        **_against_llama(model),
        **_along_the_text(model),
        **_batch(model),
        **_host(model),
    }


def long_context_figures() -> dict[str, Figure]:
    """Decoding late in a window of 4,096 positions, and at position 8,000 of a structured mixer."""
    long = random_model(hidden_size=256, num_layers=4, intermediate_size=1024, context_length=4096)
    structured = random_model(
        hidden_size=256,
        num_layers=4,
        intermediate_size=1024,
        context_length=8192,
        token_mixing="mixed_heads",
        num_heads=4,
        block_order="channel_then_token",
        activation="silu",
        use_projections=True,
    )
    state = structured.make_cache()
    mx.eval(structured(mx.array([PROMPT]), state))
    bytes_each = state[0].nbytes
    return {
        "decode_4096_late": _late_share(long, early=100, late=4000, goal=">= 0.9"),
        "structured_late": _late_share(structured, early=100, late=8000, goal=">= 0.95"),
        "structured_state_bytes": summarise([bytes_each], "B/layer", "O(d)"),
    }


def _against_memory(model: LanguageMixer) -> dict[str, Figure]:
    limit = MemoryLimit()
    shares, rates = [], []
    for turn in range(WARM_UP + 3 * ROUNDS):
        steps = generate_tokens(model, PROMPT, sampler=_greedy)
        next(steps)
        before = limit.measure()
        rate = STEPS / seconds(partial(_take, steps))
        bandwidth = (before + limit.measure()) / 2
        if turn >= WARM_UP:
            rates.append(rate)
            shares.append(rate * bytes_per_token(model) / bandwidth)
    return {
        "decode_tokens": summarise(rates, "tokens/s"),
        "decode_memory_share": summarise(shares, "x", ">= 0.85"),
    }


def _against_llama(model: LanguageMixer) -> dict[str, Figure]:
    llama = Llama(
        ModelArgs(
            model_type="llama",
            hidden_size=SIZES["hidden_size"],
            num_hidden_layers=SIZES["num_layers"],
            intermediate_size=SIZES["intermediate_size"],
            num_attention_heads=4,
            rms_norm_eps=1e-5,
            vocab_size=SIZES["vocab_size"],
            tie_word_embeddings=False,
        )
    )
    mx.eval(llama.parameters())

    def theirs() -> None:
        for _ in generate_step(mx.array(PROMPT), llama, max_tokens=STEPS):
            pass

    def ours() -> None:
        _take(generate_tokens(model, PROMPT, sampler=_greedy))

    ratios = _ratios(ours, theirs)
    return {"decode_vs_llama": summarise(ratios, "x", ">= 2")}


def _along_the_text(model: LanguageMixer) -> dict[str, Figure]:
    return {"decode_late": _late_share(model, early=32, late=480, goal=">= 0.9")}


def _late_share(model: LanguageMixer, *, early: int, late: int, goal: str) -> Figure:
    """Speed around a late position over that around an early one, a whole block of 32 steps at each."""
    ratios = []
    for turn in range(WARM_UP + ROUNDS):
        decoders = [_Decoder(model, position - STEPS // 2) for position in (early, late)]
        early_seconds, late_seconds = (seconds(partial(decoder.run, STEPS)) for decoder in decoders)
        if turn >= WARM_UP:
            ratios.append(early_seconds / late_seconds)
    return summarise(ratios, "x", goal)


def _batch(model: LanguageMixer) -> dict[str, Figure]:
    def samples(count: int) -> Callable[[], None]:
        def run() -> None:
            _take(generate_batch(model, [PROMPT] * count, sampler=_greedy))

        return run

    return {f"batch_{SAMPLES}_time": summarise(_ratios(samples(1), samples(SAMPLES)), "x", "<= 3")}


def _host(model: LanguageMixer) -> dict[str, Figure]:
    """What decides on fast GPUs: operations that launch work, and the time Python needs to put a step together."""
    decoder = _Decoder(model, len(PROMPT))
    decoder.run(2)
    times, counts = [], []
    for _ in range(STEPS // 2):
        times.append(1e6 * seconds(decoder.schedule))
        counts.append(decoder.launches())
        decoder.wait()
    return {"launches": summarise(counts, "per token"), "host_time": summarise(times, "us/token")}


def _ratios(ours: Callable[[], None], theirs: Callable[[], None]) -> list[float]:
    """Time of `theirs` over time of `ours`, in turns."""
    ratios = []
    for turn in range(WARM_UP + ROUNDS):
        our_seconds, their_seconds = seconds(ours), seconds(theirs)
        if turn >= WARM_UP:
            ratios.append(their_seconds / our_seconds)
    return ratios


def _take(steps: Iterator[object]) -> None:
    for _ in range(STEPS):
        next(steps)


def _greedy(logprobs: mx.array) -> mx.array:
    return mx.argmax(logprobs, axis=-1)


class _Decoder:
    """Greedy decoding from a prompt of given length, step by step."""

    def __init__(self, model: nn.Module, prompt_tokens: int) -> None:
        self._model = model
        self._cache = model.make_cache()
        logits = model(mx.ones((1, max(1, prompt_tokens)), mx.int32), self._cache)[:, -1]
        self._token = _greedy(logits)
        mx.eval(self._token)
        self.run(1)

    def schedule(self) -> None:
        self._token = _greedy(self._model(self._token[:, None], self._cache)[:, -1])

    def launches(self) -> int:
        """Of the step that was scheduled: each layer's new row is among what its token comes from."""
        return count_launches(self._token)

    def wait(self) -> None:
        mx.eval(self._token)

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.schedule()
            self.wait()
