"""Every kind of config is read back as what it was, and refuses what cannot be."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlx.utils import tree_flatten

from mlx_mixer.config_fields import Provenance
from mlx_mixer.errors import ConfigError, MixerError, UnsupportedModelError
from mlx_mixer.model_configs.kinds import config_from_dict
from tests.tiny import tiny_config
from tests.tiny_kinds import CONFIGS, autoencoding_config, bidirectional_config, model_of, retrieval_config


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_survives_being_written(name: str) -> None:
    assert config_from_dict(CONFIGS[name].to_dict()) == CONFIGS[name]


def test_so_does_that_of_a_language_mixer_and_where_it_came_from() -> None:
    provenance = Provenance(source="run", sha256={"a": "b"}, hints={"c": 1})
    for config in (tiny_config(provenance=provenance), retrieval_config(provenance=provenance)):
        assert config_from_dict(config.to_dict()) == config


@pytest.mark.parametrize("name", CONFIGS)
def test_the_config_counts_every_parameter(name: str) -> None:
    parameters = tree_flatten(model_of(CONFIGS[name]).parameters())
    assert sum(array.size for _, array in parameters) == CONFIGS[name].num_parameters


@pytest.mark.parametrize("named", ["llama", None, ["x"], 3])
def test_a_kind_that_is_not_ours_is_named_beside_those_that_are(named: Any) -> None:
    with pytest.raises(UnsupportedModelError, match=r"'language_mixer', 'autoencoding_mixer', 'retrieval_mixer'"):
        config_from_dict({"model_type": named})


@pytest.mark.parametrize(
    ("make", "changes", "message"),
    [
        (autoencoding_config, {"num_layers": 0}, "num_layers is 0"),
        (autoencoding_config, {"num_decoder_layers": -1}, "num_decoder_layers is -1"),
        (autoencoding_config, {"token_mixing": "projected"}, "must be one of flat, headed"),
        (autoencoding_config, {"decoder_input": "loop"}, "must be one of repeat, unroll"),
        (autoencoding_config, {"embedding_position": 0}, "embedding_position is 0"),
        (autoencoding_config, {"compressed_size": 0}, "compressed_size is 0"),
        (autoencoding_config, {"num_heads": 2}, "has no heads"),
        (autoencoding_config, {"padding_side": None}, "padding_side is None"),
        (autoencoding_config, {"pad_token_id": 64}, "pad_token_id is 64"),
        (autoencoding_config, {"num_decoder_layers": 0, "decoder_input": "unroll"}, "belong to a decoder"),
        (autoencoding_config, {"hidden_size": 1, "decoder_input": "unroll"}, "at least 2"),
        (
            autoencoding_config,
            {"num_decoder_layers": 1024, "hidden_size": 1 << 16, "intermediate_size": 1 << 12},
            "parameters; at most",
        ),
        (retrieval_config, {"context_length": 1}, "context_length is 1; it must be a whole number from 2"),
        (retrieval_config, {"norm_eps": -1}, "norm_eps is -1"),
        (bidirectional_config, {"padding_side": "middle"}, "must be one of left, right"),
        (bidirectional_config, {"tie_word_embeddings": "yes"}, "must be true or false"),
        (bidirectional_config, {"eos_token_id": 64}, "eos_token_id is 64"),
    ],
)
def test_a_bad_value_is_refused_by_name(make: Any, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make(**changes)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_keys_of_another_kind_are_unknown() -> None:
    with pytest.raises(ConfigError, match="unknown key 'num_heads'"):
        config_from_dict({**retrieval_config().to_dict(), "num_heads": 2})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.parametrize("name", ["autoencoding_compressed", "retrieval", "bidirectional"])
@given(data=st.data())
def test_whatever_json_holds_gives_a_config_or_one_clear_error(name: str, data: st.DataObject) -> None:
    values = CONFIGS[name].to_dict()
    changes = data.draw(st.dictionaries(st.sampled_from([*values, "provenance"]), json_values, max_size=3))
    with suppress(MixerError):
        assert config_from_dict({**values, **changes}).num_parameters > 0
