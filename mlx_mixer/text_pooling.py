"""How the states of a text's tokens become its one vector.

Sums over tokens add up over the windows of a long text, so no part of it is dropped. A single state stands for the
first window alone.
"""

import mlx.core as mx

from mlx_mixer.errors import CheckpointError, UnsupportedModelError
from mlx_mixer.layers.pooling import ContextualPooling, StaticPooling, TokenWeightedPooling
from mlx_mixer.models.autoencoding import AutoencodingMixer
from mlx_mixer.models.kinds import Model
from mlx_mixer.models.language import LanguageMixer
from mlx_mixer.remembered_padding import RememberedPadding, TextEncoder

EmbeddingModel = LanguageMixer | AutoencodingMixer


class WeightedSum:
    """A sum over tokens with learned weights and layer gates; see `mlx_mixer.layers.pooling`."""

    pads_left: int | None = None

    def __init__(self, model: LanguageMixer, pooling: TokenWeightedPooling) -> None:
        self._model = model
        self._pooling = pooling
        # With every gate but the first at 0 the blocks add nothing, and running them is nine tenths of the work.
        self._blocks_count = bool(pooling.layer_gate[1:].any())

    def __call__(self, ids: mx.array, lengths: mx.array) -> mx.array:
        """Pool the first `lengths` tokens of each row: ``(B, L)`` ids to ``(B, D)``, not normalised."""
        sums, _ = self._pooling(self._states(ids), ids, _is_real(ids, lengths))
        return sums

    def token_vectors(self, ids: mx.array) -> mx.array:
        """What each token adds to the sum, ``(B, L, D)``."""
        return self._pooling.token_vectors(self._states(ids), ids)

    def _states(self, ids: mx.array) -> list[mx.array]:
        return self._model.residual_states(ids) if self._blocks_count else [self._model.embed_tokens(ids)]


class SearchSum:
    """A sum of vectors that serve search alone, with or without blocks; see `mlx_mixer.layers.pooling`."""

    pads_left: int | None = None

    def __init__(self, pooling: StaticPooling | ContextualPooling) -> None:
        self._pooling = pooling

    def __call__(self, ids: mx.array, lengths: mx.array) -> mx.array:
        """Pool the first `lengths` tokens of each row: ``(B, L)`` ids to ``(B, E)``, not normalised."""
        return self._pooling(ids, _is_real(ids, lengths))

    def token_vectors(self, ids: mx.array) -> mx.array:
        """What each token adds to the sum, ``(B, L, E)``."""
        return self._pooling.parts(ids)


class PlainSum:
    """The sum of the last hidden states, which is their mean once it is normalised."""

    pads_left: int | None = None

    def __init__(self, model: LanguageMixer) -> None:
        self._model = model

    def __call__(self, ids: mx.array, lengths: mx.array) -> mx.array:
        """Pool the first `lengths` tokens of each row: ``(B, L)`` ids to ``(B, D)``, not normalised."""
        return (self._model.hidden_states(ids) * _is_real(ids, lengths)[:, :, None]).sum(axis=1)

    def token_vectors(self, ids: mx.array) -> mx.array:
        """What each token adds to the sum, ``(B, L, D)``."""
        return self._model.hidden_states(ids)


class StateInText:
    """The state at one position of the real tokens, which stand at the start of the window.

    Padding on the right changes nothing before it and is left out.

    Args:
        encoder: Makes the states.
        position: Index among a text's tokens, from the end if negative; the nearest one there is in a short text.
    """

    pads_left: int | None = None

    def __init__(self, encoder: TextEncoder, position: int) -> None:
        self.encoder = encoder
        self._position = position

    def __call__(self, ids: mx.array, lengths: mx.array) -> mx.array:
        """States of ``(B, L)`` ids whose rows have `lengths` tokens, ``(B, D)``."""
        return self.state_of(self.encoder.embed_tokens(ids), lengths)

    def state_of(self, vectors: mx.array, lengths: mx.array) -> mx.array:
        """The state for ``(B, L, D)`` token vectors, ``(B, D)``."""
        states = self.encoder.hidden_from_vectors(vectors)
        position = self._position
        index = mx.maximum(lengths + position, 0) if position < 0 else mx.minimum(lengths - 1, position)
        return mx.take_along_axis(states, index[:, None, None], axis=1).squeeze(1)


class StateInPaddedWindow:
    """The state at one position of a full window at whose end the text stands, after padding.

    The padding is the same for every text, so what a layer remembers of it is computed once, and a text costs its own
    tokens.

    Args:
        encoder: Makes the states.
        position: Index in the window, from the end if negative.
        context_length: Length of the window.
        pad_token_id: Id of the padding.
    """

    def __init__(self, encoder: TextEncoder, position: int, context_length: int, pad_token_id: int) -> None:
        self.encoder = encoder
        self.pads_left: int | None = pad_token_id
        self._from_end = -position if position < 0 else context_length - position
        self._padding = RememberedPadding(encoder, context_length, pad_token_id)

    def __call__(self, ids: mx.array, lengths: mx.array) -> mx.array:
        """States of ``(B, L)`` ids that are the last positions of a window, ``(B, D)``."""
        return self.state_of(self.encoder.embed_tokens(ids), lengths)

    def state_of(self, vectors: mx.array, _: mx.array) -> mx.array:
        """The state for ``(B, L, D)`` token vectors, ``(B, D)``."""
        batch, count, dims = vectors.shape
        if count < self._from_end:
            pads = mx.broadcast_to(self._padding.vector, (batch, self._from_end - count, dims))
            vectors, count = mx.concatenate([pads, vectors], axis=1), self._from_end
        states = self.encoder.hidden_from_vectors(vectors, self._padding.before(count, batch))
        return states[:, count - self._from_end]


SumPooling = WeightedSum | SearchSum | PlainSum
StatePooling = StateInText | StateInPaddedWindow
Pooling = SumPooling | StatePooling


def embedding_model(model: Model) -> EmbeddingModel:
    """The model, if it is of a kind that embeds texts.

    Raises:
        UnsupportedModelError: If it is not.
    """
    if isinstance(model, LanguageMixer | AutoencodingMixer):
        return model
    raise UnsupportedModelError(
        f"a model of type {model.config.model_type!r} makes no vectors of texts; embed with a language mixer or an "
        "autoencoding mixer"
    )


def word_pooling(model: EmbeddingModel) -> SearchSum | None:
    """The sum of vectors of words that a model's embeddings hold beside what `make_pooling` makes, if they do."""
    pooling = model.get("word_pooling")
    return SearchSum(pooling) if isinstance(pooling, StaticPooling) else None


def embedding_parts(model: EmbeddingModel) -> tuple[int, ...]:
    """Lengths of the parts of a text's vector; see `word_pooling` for the second."""
    return model.config.embedding_parts if isinstance(model, LanguageMixer) else (model.config.hidden_size,)


def make_pooling(model: EmbeddingModel) -> Pooling:
    """How a model's config says that its states become a vector.

    Raises:
        CheckpointError: If it needs padding and has no id for it.
    """
    config = model.config
    if isinstance(model, LanguageMixer):
        if isinstance(pooling := model.get("pooling"), TokenWeightedPooling):
            return WeightedSum(model, pooling)
        if isinstance(pooling, StaticPooling | ContextualPooling):
            return SearchSum(pooling)
        if model.config.pooling == "mean":
            return PlainSum(model)
    encoder: TextEncoder = model.encoder if isinstance(model, AutoencodingMixer) else model
    position = config.embedding_position
    if config.padding_side != "left":
        return StateInText(encoder, -1 if position is None else position)
    if config.pad_token_id is None:
        raise CheckpointError("this model was trained on left-padded text, but its config.json has no pad_token_id")
    # A left-padded language model never trained the state of the last position.
    return StateInPaddedWindow(
        encoder, -2 if position is None else position, config.context_length, config.pad_token_id
    )


def _is_real(ids: mx.array, lengths: mx.array) -> mx.array:
    return mx.arange(ids.shape[1])[None] < lengths[:, None]
