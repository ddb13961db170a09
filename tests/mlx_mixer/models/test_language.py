"""The whole model: its loss, its head, and what it refuses."""

import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_flatten

from mlx_mixer.models.language import LanguageMixer, next_token_loss
from tests.tiny import FORMS, tiny_config, tiny_model

IDS = mx.random.randint(0, 64, (3, 24), key=mx.random.key(7))


@pytest.mark.parametrize("form", FORMS)
def test_the_config_counts_every_parameter(form: str) -> None:
    blocks = {"embedding_layers": 3, "embedding_intermediate_size": 24, "embedding_heads": 5}
    contextual = {"pooling": "contextual", "embedding_size": 40, **blocks}
    for pooling in (
        {},
        {"pooling": "token_weighted"},
        {"pooling": "static", "embedding_size": 40},
        contextual,
        {**contextual, "word_vocab_size": 9},
    ):
        config = tiny_config(**FORMS[form], **pooling)
        model = LanguageMixer(config)
        assert sum(array.size for _, array in tree_flatten(model.parameters())) == config.num_parameters


def test_the_loss_is_the_mean_over_counted_targets() -> None:
    model = tiny_model()
    labels = np.array(IDS)
    labels[:, 5:9] = -100
    logits = np.array(model(IDS), np.float64)
    losses = []
    for row in range(3):
        for t in range(23):
            if labels[row, t + 1] != -100:
                scores = logits[row, t]
                losses.append(np.log(np.exp(scores - scores.max()).sum()) + scores.max() - scores[labels[row, t + 1]])
    assert next_token_loss(model, IDS, mx.array(labels)).item() == pytest.approx(np.mean(losses), rel=1e-5)


def test_the_loss_without_a_target_is_zero_and_not_nan() -> None:
    labels = mx.full(IDS.shape, -100)
    assert next_token_loss(tiny_model(), IDS, labels).item() == 0


def test_a_tied_head_is_the_embedding_matrix() -> None:
    model = tiny_model(tie_word_embeddings=True)
    hidden = np.array(model.hidden_states(IDS))
    np.testing.assert_allclose(
        np.array(model(IDS)), hidden @ np.array(model.embed_tokens.weight).T, rtol=1e-5, atol=1e-5
    )


def test_the_last_residual_state_is_what_the_head_sees() -> None:
    model = tiny_model()
    states = model.residual_states(IDS)
    assert len(states) == 3
    np.testing.assert_array_equal(np.array(states[-1]), np.array(model.hidden_states(IDS)))
    np.testing.assert_array_equal(np.array(states[0]), np.array(model.embed_tokens(IDS)))


@pytest.mark.parametrize("form", FORMS)
def test_a_shorter_text_gives_the_same_first_outputs(form: str) -> None:
    model = tiny_model(**FORMS[form])
    np.testing.assert_allclose(np.array(model(IDS[:, :9])), np.array(model(IDS))[:, :9], rtol=2e-5, atol=2e-5)


def test_a_text_longer_than_the_context_is_refused_with_both_lengths() -> None:
    with pytest.raises(ValueError, match="25 tokens after 0 do not fit a context of 24"):
        tiny_model()(mx.zeros((1, 25), mx.int32))
