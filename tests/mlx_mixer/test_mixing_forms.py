"""Fields that belong to some kinds of token mixing are refused for the others."""

from typing import Any, get_args

import mlx.core as mx
import pytest
from mlx.utils import tree_flatten

from mlx_mixer.config import LanguageMixerConfig
from mlx_mixer.errors import ConfigError
from mlx_mixer.mixing_forms import MIXING_FORMS, TokenMixingKind
from mlx_mixer.models.language import LanguageMixer
from tests.tiny import STRUCTURED, TOEPLITZ, tiny_config

FORMS = {**STRUCTURED, **TOEPLITZ}


def test_every_kind_has_a_form() -> None:
    assert set(MIXING_FORMS) == set(get_args(TokenMixingKind))


@pytest.mark.parametrize("form", FORMS)
def test_a_config_survives_being_written(form: str) -> None:
    config = tiny_config(**FORMS[form], decay_clip=(0.95, 0.99), use_norms=False, final_activation="relu")
    assert LanguageMixerConfig.from_dict(config.to_dict()) == config
    as_json = {**config.to_dict(), "decay_clip": [0.95, 0.99]}
    assert LanguageMixerConfig.from_dict(as_json) == config
    assert hash(config) == hash(LanguageMixerConfig.from_dict(as_json))


@pytest.mark.parametrize("changes", [{}, {"use_norms": False}, {"intermediate_size": 0}], ids=str)
@pytest.mark.parametrize("form", FORMS)
def test_the_config_counts_every_parameter(form: str, changes: dict[str, Any]) -> None:
    config = tiny_config(**{**FORMS[form], **changes})
    model = LanguageMixer(config)
    assert sum(array.size for _, array in tree_flatten(model.parameters())) == config.num_parameters
    assert mx.isfinite(model(mx.zeros((1, 24), mx.int32))).all().item()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"token_mixing": "row", "kernel_size": 2}, "'row' token mixing has no kernel; use 1"),
        ({"token_mixing": "row", "num_heads": 2}, "'row' token mixing has no heads; use 1"),
        ({"token_mixing": "mixed_heads", "num_heads": 1}, "needs an even number of heads"),
        ({"token_mixing": "mixed_heads", "num_heads": 6}, "does not divide into 6 heads"),
        ({"decay": True}, "'flat' token mixing has none"),
        ({"token_mixing": "col_heads", "num_heads": 4, "decay": True}, "'col_heads' token mixing has none"),
        ({"token_mixing": "toeplitz", "decay": True}, "'toeplitz' token mixing has none"),
        ({"token_mixing": "row", "decay": 1}, "decay is 1; it must be true or false"),
        ({"token_mixing": "row", "decay_constant": 0}, "decay_constant is 0"),
        ({"token_mixing": "row", "decay_clip": (0.9,)}, "must be two numbers"),
        ({"token_mixing": "row", "decay_clip": "ab"}, "must be two numbers"),
        ({"token_mixing": "row", "decay_clip": (0.9, 1.1)}, "must rise and not exceed 1"),
        ({"token_mixing": "row", "decay_clip": (0.9, 0.8)}, "must rise and not exceed 1"),
        ({"token_mixing": "row", "decay_clip": (0.0, 0.8)}, "decay_clip is 0.0"),
        ({"token_mixing": "row", "use_projections": False}, "belongs to mixed_heads and parallel_heads"),
        ({"block_order": "both"}, "must be one of token_then_channel, channel_then_token"),
        ({"activation": "tanh"}, "must be one of gelu, silu"),
        ({"final_activation": "gelu"}, "must be one of relu"),
        ({"intermediate_size": -1}, "intermediate_size is -1; it must be a whole number from 0"),
    ],
)
def test_a_bad_value_is_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        tiny_config(**changes)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
