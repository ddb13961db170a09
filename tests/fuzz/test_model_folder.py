"""Damaged model folders: refused in one line before anything large is made, or loaded as the model they describe."""

import json
import random
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest
from mlx.utils import tree_flatten

from mlx_mixer.checkpoint import load_model
from mlx_mixer.config_fields import MAX_PARAMETERS
from mlx_mixer.errors import MixerError
from tests.fuzz import campaign
from tests.fuzz.guard import forget_peak, give_back_memory, peak_bytes, watched
from tests.fuzz.mutate import LIMITS, damage_bytes, mutated_json, pick
from tests.tiny import tiny_model_folder

SIZES = (
    "vocab_size",
    "hidden_size",
    "num_layers",
    "context_length",
    "intermediate_size",
    "kernel_size",
    "num_heads",
    "token_expansion",
)
TINY = {"vocab_size": 11, "hidden_size": 4, "num_layers": 1, "context_length": 6, "intermediate_size": 8}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_model_folder(tmp_path / "in", **TINY, eos_token_id=None)


def test_configs(folder: Path, tmp_path: Path) -> None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))

    def make(generator: random.Random) -> bytes:
        def damaged() -> Any:
            value = json.loads(json.dumps(config))
            if generator.random() < 0.5:
                value[pick(generator, SIZES)] = pick(generator, LIMITS)
            if generator.random() < 0.2:
                value["token_mixing"] = pick(generator, ("headed", "row", "toeplitz", "parallel_heads", "expanded"))
            return value

        choice = generator.random()
        if choice < 0.3:
            return json.dumps(damaged()).encode()
        return (
            damage_bytes(generator, json.dumps(config).encode()) if choice < 0.5 else mutated_json(generator, damaged)
        )

    def read(_raw: bytes) -> bool:
        return is_sound(folder)

    assert read(b"")
    tally = campaign.run("config", make, read, tmp_path, place=(folder / "config.json").write_bytes)
    assert tally.accepted > tally.inputs // 100
    assert tally.refused > tally.inputs // 4


def test_weights(folder: Path, tmp_path: Path) -> None:
    """The header is damaged, so that what MLX would read is what the config does not say."""
    whole = (folder / "model.safetensors").read_bytes()
    length = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + length])

    def make(generator: random.Random) -> bytes:
        if generator.random() < 0.3:
            # Values only: any bytes are numbers.
            return whole[: 8 + length] + generator.randbytes(len(whole) - 8 - length)
        raw = mutated_json(generator, lambda: json.loads(json.dumps(header)))
        raw = len(raw).to_bytes(8, "little") + raw + whole[8 + length :]
        return damage_bytes(generator, raw, 0, len(raw)) if generator.random() < 0.2 else raw

    def read(_raw: bytes) -> bool:
        return is_sound(folder)

    tally = campaign.run("weights", make, read, tmp_path, place=(folder / "model.safetensors").write_bytes)
    assert tally.accepted > tally.inputs // 10
    assert tally.refused > tally.inputs // 2


def is_sound(folder: Path) -> bool:
    model = load_model(folder)
    described = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    parameters = dict(tree_flatten(model.parameters()))
    assert sum(array.size for array in parameters.values()) <= 4096
    assert model.config.vocab_size == described["vocab_size"]
    mx.eval(model(mx.array([[0]])))
    return True


# Sizes that are refused one by one, and sizes that are allowed one by one and absurd together.
ABSURD: dict[str, dict[str, Any]] = {
    **{f"{name} of a billion": {name: 10**9} for name in SIZES},
    **{f"{name} of minus one": {name: -1} for name in SIZES},
    **{f"{name} of 2**63": {name: 2**63} for name in ("vocab_size", "hidden_size", "context_length", "num_layers")},
    "sizes that make terabytes": {"vocab_size": 1 << 20, "hidden_size": 1 << 20, "num_layers": 1000},
    "a square of terabytes": {"context_length": 1 << 20, "num_layers": 1000},
    "gigabytes that the weights do not hold": {"vocab_size": 1 << 20, "hidden_size": 1 << 12},
    "a square of gigabytes": {"context_length": 1 << 16},
    "a thousand layers": {"num_layers": 1000},
    "taps without end": {"kernel_size": 1 << 16},
    "heads without end": {"token_mixing": "headed", "hidden_size": 1 << 16, "num_heads": 1 << 16},
    "an expansion without end": {"token_mixing": "expanded", "token_expansion": 1e5},
    "an infinite expansion": {"token_mixing": "expanded", "token_expansion": 1e999},
    "a norm of nothing": {"norm_eps": float("nan")},
    "a width that is text": {"hidden_size": "4"},
    "a width that is a fraction": {"hidden_size": 4.5},
    "a width that is true": {"hidden_size": True},
    "no width": {"hidden_size": None},
    "a list of widths": {"hidden_size": [4, 4]},
    "an unknown mixing": {"token_mixing": "attention"},
    "an unknown setting": {"trust_remote_code": True},
    "code to load": {"auto_map": {"AutoModel": "evil.py"}},
    "a position outside": {"embedding_position": 10**6},
    "an id outside": {"eos_token_id": 10**6},
    "a provenance of lists": {"provenance": [[[]]]},
    "a provenance without a source": {"provenance": {"family": "flat"}},
    "a clip of one number": {"decay_clip": [0.9]},
    "a clip of terabytes": {"decay_clip": [1e308, 1e309]},
}


@pytest.mark.parametrize("name", ABSURD)
def test_absurd_configs_are_refused_before_anything_is_allocated(name: str, folder: Path) -> None:
    assert len(ABSURD) >= 30
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(config | ABSURD[name]), encoding="utf-8")
    give_back_memory()
    forget_peak()
    before = peak_bytes()
    # A tenth of a second on the processor for each, and a layer's worth of memory.
    with watched(None, 0.1), pytest.raises(MixerError) as caught:
        load_model(folder)
    assert peak_bytes() - before < 32 << 20
    assert str(caught.value).isprintable()


def test_the_limit_of_parameters_is_below_what_any_machine_holds() -> None:
    assert MAX_PARAMETERS * 4 < 1 << 40
