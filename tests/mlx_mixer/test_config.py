"""An invalid config cannot exist, and every refusal says what to do."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_mixer.config import LanguageMixerConfig
from mlx_mixer.config_fields import Provenance
from mlx_mixer.errors import ConfigError, MixerError
from tests.tiny import FORMS, tiny_config

STATIC: dict[str, Any] = {"pooling": "static", "embedding_size": 8}
CONTEXTUAL: dict[str, Any] = {
    "pooling": "contextual",
    "embedding_size": 8,
    "embedding_layers": 2,
    "embedding_intermediate_size": 12,
    "embedding_heads": 2,
}


@pytest.mark.parametrize("form", FORMS)
def test_a_config_survives_being_written(form: str) -> None:
    provenance = Provenance(
        source="run/checkpoint-10", family="flat", sha256={"model.safetensors": "00"}, hints={"a": 1}
    )
    config = tiny_config(**FORMS[form], padding_side="left", pad_token_id=1, temperature=0.02, provenance=provenance)
    assert LanguageMixerConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize("words", [None, 5])
def test_a_config_of_contextual_pooling_survives_and_names_its_blocks(words: int | None) -> None:
    config = tiny_config(**CONTEXTUAL, word_vocab_size=words, norm_eps=1e-3, activation="silu")
    assert LanguageMixerConfig.from_dict(config.to_dict()) == config
    assert config.embedding_parts == (8,)
    # Nothing of the blocks that write is theirs but the window.
    assert config.embedding_blocks == LanguageMixerConfig(
        vocab_size=words or 64,
        hidden_size=8,
        num_layers=2,
        context_length=24,
        intermediate_size=12,
        token_mixing="headed",
        num_heads=2,
    )
    assert tiny_config(**STATIC).embedding_blocks is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vocab_size": 0}, "vocab_size is 0"),
        ({"hidden_size": 2.5}, "hidden_size is 2.5"),
        ({"num_layers": True}, "num_layers is True"),
        ({"context_length": 1 << 40}, "context_length is 1099511627776"),
        ({"token_mixing": "attention"}, "must be one of flat, expanded, headed, projected"),
        ({"kernel_size": 3, "token_mixing": "expanded"}, "has no kernel"),
        ({"num_heads": 2}, "has no heads"),
        ({"num_heads": 3, "token_mixing": "headed"}, "does not divide into 3 heads"),
        ({"token_expansion": 2.0}, "belong to 'expanded' token mixing"),
        ({"token_expansion": float("inf"), "token_mixing": "expanded"}, "must be a number above 0"),
        ({"eos_token_id": 64}, "eos_token_id is 64; it must be a whole number from 0 to 63"),
        ({"embedding_position": -25}, "embedding_position is -25"),
        ({"pooling": "static"}, "embedding_size is None"),
        ({"embedding_size": 8}, "only 'static' and 'contextual' pooling has it; pooling is 'position'"),
        ({"word_vocab_size": 8}, "word_vocab_size is 8, but only 'static' and 'contextual' pooling"),
        ({"embedding_heads": 2}, "embedding_heads is 2, but only 'contextual' pooling has it"),
        ({**STATIC, "embedding_layers": 1}, "embedding_layers is 1, but only 'contextual' pooling has it"),
        ({**CONTEXTUAL, "embedding_size": None}, "embedding_size is None; it must be a whole number from 1"),
        (
            {**CONTEXTUAL, "embedding_layers": None},
            "embedding_layers is None; it must be a whole number from 1 to 1024",
        ),
        ({**CONTEXTUAL, "embedding_layers": 1025}, "embedding_layers is 1025"),
        ({**CONTEXTUAL, "embedding_intermediate_size": 0}, "embedding_intermediate_size is 0"),
        ({**CONTEXTUAL, "embedding_heads": 0}, "embedding_heads is 0"),
        ({**CONTEXTUAL, "embedding_heads": 3}, "embedding_size 8 does not divide into 3 heads; embedding_heads must"),
        ({**CONTEXTUAL, "word_vocab_size": 0}, "word_vocab_size is 0"),
        ({**CONTEXTUAL, "word_embedding_size": 8}, "word_embedding_size is 8, but only 'static' pooling has it"),
        ({**CONTEXTUAL, "embedding_layers": 1024, "embedding_size": 1 << 16}, "parameters; at most"),
        ({"pooling": "static", "embedding_size": 8, "word_vocab_size": 8}, "word_embedding_size is None"),
        ({"pooling": "static", "embedding_size": 8, "word_embedding_size": 8}, "word_vocab_size is None"),
        ({"norm_eps": 0}, "norm_eps is 0"),
        ({"fold_case": 1}, "fold_case is 1; it must be true or false"),
        ({"vocab_size": 1 << 20, "hidden_size": 1 << 20, "num_layers": 1}, "parameters; at most"),
    ],
)
def test_a_bad_value_is_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        tiny_config(**changes)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_key_names_the_nearest_one() -> None:
    with pytest.raises(
        ConfigError, match=r"unknown key 'contex_length' in config\.json; did you mean 'context_length'"
    ):
        LanguageMixerConfig.from_dict({**tiny_config().to_dict(), "contex_length": 3})


def test_missing_keys_are_all_named() -> None:
    with pytest.raises(ConfigError, match="lacks hidden_size, num_layers"):
        LanguageMixerConfig.from_dict({"vocab_size": 3, "context_length": 3, "intermediate_size": 3})


def test_another_model_type_is_refused() -> None:
    with pytest.raises(ConfigError, match="model_type is 'llama'"):
        LanguageMixerConfig.from_dict({"model_type": "llama"})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.dictionaries(
        st.sampled_from([*tiny_config().to_dict(), "provenance", "temperature", "pad_token_id"]), json_values
    )
)
def test_whatever_json_holds_gives_a_config_or_one_clear_error(values: dict[str, Any]) -> None:
    with suppress(MixerError):
        assert LanguageMixerConfig.from_dict({**tiny_config().to_dict(), **values}).num_parameters > 0
