"""The autoencoder against its equations, one position and one feature at a time."""

import mlx.core as mx
import numpy as np
import numpy.typing as npt
import pytest

from mlx_mixer.models.autoencoding import AutoencodingMixer, reconstruction_loss
from mlx_mixer.models.language import LanguageMixer
from tests.tiny_kinds import AUTOENCODERS, autoencoding_config, model_of

IDS = mx.random.randint(0, 64, (3, 24), key=mx.random.key(7))
DECODING = [name for name in AUTOENCODERS if name != "encoder"]


def autoencoder(name: str) -> AutoencodingMixer:
    model: AutoencodingMixer = model_of(autoencoding_config(**AUTOENCODERS[name]))
    return model


def linear(layer: object, x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    weight, bias = (np.array(getattr(layer, part), np.float64) for part in ("weight", "bias"))
    return np.asarray(x @ weight.T + bias)


@pytest.mark.parametrize("name", DECODING)
def test_the_decoder_input_follows_its_equation(name: str) -> None:
    model = autoencoder(name)
    dims = model.config.hidden_size
    vector = np.random.default_rng(0).normal(size=dims)
    v = vector
    if model.config.compressed_size is not None:
        v = linear(model.expand, linear(model.compress, v))
    rows = []
    for t in range(24):
        if model.config.decoder_input == "repeat":
            rows.append(v)
        else:
            rows.append(linear(model.unroll, np.array([v[(t + m) % dims] for m in range(dims // 2)])))
    got = model.decoder_input(mx.array(vector[None].astype(np.float32)), 24)
    np.testing.assert_allclose(np.array(got)[0], rows, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", AUTOENCODERS)
def test_the_encoder_is_a_language_mixer_without_its_head(name: str) -> None:
    model = autoencoder(name)
    twin = LanguageMixer(model.config.stack_config())
    twin.embed_tokens, twin.layers = model.encoder.embed_tokens, model.encoder.layers
    states = twin.hidden_states(IDS)
    np.testing.assert_array_equal(np.array(model.encoder(IDS)), np.array(states))
    np.testing.assert_array_equal(np.array(model.embeddings(IDS)), np.array(states[:, model.config.embedding_position]))


@pytest.mark.parametrize("name", DECODING)
def test_everything_goes_through_the_one_vector(name: str) -> None:
    """A token that the vector does not depend on changes no logit; any other changes the first."""
    model = autoencoder(name)
    before = np.array(model(IDS))
    last = np.array(IDS)
    last[:, -1] = (last[:, -1] + 1) % 64
    first = np.array(IDS)
    first[:, 0] = (first[:, 0] + 1) % 64
    assert np.array_equal(np.array(model(mx.array(last))), before) == (model.config.embedding_position == -2)
    assert not np.allclose(np.array(model(mx.array(first)))[:, 0], before[:, 0])


def test_the_decoder_is_causal() -> None:
    model = autoencoder("unroll")
    vectors = model.embeddings(IDS)
    whole, part = model.decoder_input(vectors, 24), model.decoder_input(vectors, 9)
    for layer in model.decoder:
        whole, part = layer(whole), layer(part)
    np.testing.assert_allclose(np.array(whole)[:, :9], np.array(part), rtol=2e-5, atol=2e-5)


def test_the_loss_has_no_shift_and_counts_what_counts() -> None:
    model = autoencoder("compressed")
    labels = np.array(IDS)
    labels[:, 5:9] = -100
    logits = np.array(model(IDS), np.float64)
    losses = [
        np.log(np.exp(logits[row, t]).sum()) - logits[row, t, labels[row, t]]
        for row in range(3)
        for t in range(24)
        if labels[row, t] != -100
    ]
    assert reconstruction_loss(model, IDS, mx.array(labels)).item() == pytest.approx(np.mean(losses), rel=1e-5)


def test_prefilled_in_parts_the_encoder_computes_the_same() -> None:
    model = autoencoder("headed")
    cache = model.encoder.make_cache()
    parts = [model.encoder.hidden_states(IDS[:, start:stop], cache) for start, stop in ((0, 5), (5, 6), (6, 24))]
    np.testing.assert_allclose(
        np.array(mx.concatenate(parts, axis=1)), np.array(model.encoder(IDS)), rtol=2e-5, atol=2e-5
    )


def test_a_text_longer_than_the_context_is_refused_with_both_lengths() -> None:
    model = autoencoder("repeat")
    with pytest.raises(ValueError, match="25 tokens after 0 do not fit a context of 24"):
        model(mx.zeros((1, 25), mx.int32))


def test_gradients_reach_every_parameter_and_stay_below_the_diagonal() -> None:
    model = autoencoder("compressed_unroll")
    _, gradients = mx.value_and_grad(lambda p: (model.update(p), reconstruction_loss(model, IDS))[1])(
        model.trainable_parameters()
    )
    mixing = np.array(gradients["decoder"][0]["token_mixing"]["weight"])[0]
    assert not np.triu(mixing, 1).any()
    for part in ("compress", "expand", "unroll", "lm_head"):
        assert np.array(gradients[part]["weight"]).any()
    assert np.array(gradients["encoder"]["layers"][0]["channel_mixing"]["up"]["weight"]).any()
