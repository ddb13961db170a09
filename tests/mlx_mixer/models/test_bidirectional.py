"""What the two streams see, and that the head sees their sum."""

import mlx.core as mx
import numpy as np
import pytest

from mlx_mixer.models.bidirectional import BidirectionalMixer, both_sides_loss
from tests.tiny_kinds import bidirectional_config, model_of

IDS = mx.random.randint(0, 64, (2, 24), key=mx.random.key(7))


def double(**changes: object) -> BidirectionalMixer:
    model: BidirectionalMixer = model_of(bidirectional_config(**changes))
    return model


def positions_changed(model: BidirectionalMixer, stream: str, position: int) -> set[int]:
    """Where a stream's states differ when one token is another."""
    other = np.array(IDS)
    other[:, position] = (other[:, position] + 1) % 64
    before, after = (np.array(getattr(model, stream)(ids)) for ids in (IDS, mx.array(other)))
    return set(np.flatnonzero((before != after).any(axis=(0, 2))).tolist())


@pytest.mark.parametrize("position", [0, 1, 11, 23])
def test_the_streams_see_everything_but_the_token_that_they_predict(position: int) -> None:
    model = double()
    assert positions_changed(model, "forward_states", position) == set(range(position, 24))
    # The position itself is there because both streams start as the token's own vector.
    assert positions_changed(model, "reverse_states", position) == {*range(position - 1), position}
    assert position - 1 not in positions_changed(model, "hidden_states", position)


def test_what_lies_outside_the_masks_does_not_count() -> None:
    model, poisoned = double(), double()
    for layer in poisoned.layers:
        rows = np.arange(24)
        reverse, forward = np.array(layer.reverse_mixing.weight), np.array(layer.forward_mixing.weight)
        reverse[rows[None] < rows[:, None] + 2] = 9.0
        forward[:, rows[None] > rows[:, None]] = 9.0
        layer.reverse_mixing.weight, layer.forward_mixing.weight = mx.array(reverse), mx.array(forward)
    np.testing.assert_array_equal(np.array(model(IDS)), np.array(poisoned(IDS)))


@pytest.mark.parametrize("is_tied", [False, True])
def test_the_head_reads_the_sum_of_both_streams(is_tied: bool) -> None:
    model = double(tie_word_embeddings=is_tied)
    head = np.array(model.embed_tokens.weight if is_tied else model.lm_head.weight)
    forward, reverse = np.array(model.forward_states(IDS)), np.array(model.reverse_states(IDS))
    np.testing.assert_allclose(np.array(model(IDS)), (forward + reverse) @ head.T, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(np.array(model(IDS, forward_only=True)), forward @ head.T, rtol=1e-4, atol=1e-4)


def test_the_forward_stream_alone_is_causal() -> None:
    model = double()
    np.testing.assert_allclose(
        np.array(model(IDS[:, :9], forward_only=True)),
        np.array(model(IDS, forward_only=True))[:, :9],
        rtol=2e-5,
        atol=2e-5,
    )


def test_the_loss_is_that_of_the_next_token() -> None:
    model = double()
    logits = np.array(model(IDS), np.float64)
    losses = [
        np.log(np.exp(logits[row, t]).sum()) - logits[row, t, int(IDS[row, t + 1].item())]
        for row in range(2)
        for t in range(23)
    ]
    assert both_sides_loss(model, IDS).item() == pytest.approx(np.mean(losses), rel=1e-5)


def test_gradients_stay_inside_the_masks() -> None:
    model = double()
    gradients = mx.grad(lambda p: (model.update(p), both_sides_loss(model, IDS))[1])(model.trainable_parameters())
    layer = gradients["layers"][0]
    reverse, forward = np.array(layer["reverse_mixing"]["weight"]), np.array(layer["forward_mixing"]["weight"])[0]
    assert reverse.any()
    np.testing.assert_array_equal(reverse, np.triu(reverse, 2))
    np.testing.assert_array_equal(forward, np.tril(forward))


def test_a_text_longer_than_the_context_is_refused_with_both_lengths() -> None:
    with pytest.raises(ValueError, match="25 tokens do not fit a context of 24"):
        double()(mx.zeros((1, 25), mx.int32))
