"""Texts to vectors with the model that also writes.

Three ways to pool the hidden states of one text, named by the config:

- "token_weighted": a mean over tokens with learned weights and layer gates (`mlx_mixer.layers.pooling`). A text
longer than the window is
  read in windows whose weighted sums are added, so no part of it is dropped.
- "mean": the plain mean of the last hidden states, in windows likewise.
- "position": the hidden state at one position, as the paper's retrieval models use it. Left-padded checkpoints see a
  text at the end of the full window. The padding before it is the same for every text, so what a layer remembers of it
  is computed once, and a text costs its own tokens. Others see a text at the start of the window, where padding on the
  right changes nothing and is left out.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import mlx.core as mx
import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from mlx_mixer.checkpoint import WEIGHTS_NAME, load_model, resolve_model, tokenizer_file
from mlx_mixer.errors import CheckpointError
from mlx_mixer.models.language import LanguageMixer

TextKind = Literal["document", "query"]
Pool = Callable[[mx.array, mx.array], mx.array]
# Rows of one forward pass: large enough for the matmul to be efficient, small enough to stay in tens of megabytes.
TOKENS_PER_BATCH = 4096


class Embedder:
    """Turns texts into L2-normalised vectors.

    Attributes:
        dims: Length of a vector, D.
        context_length: Tokens the model sees at once.
        fingerprint: Identifies weights, tokenizer and pooling; vectors of different fingerprints must not be compared.
    """

    def __init__(self, model: LanguageMixer, tokenizer: Tokenizer, fingerprint: str) -> None:
        self.model = model
        self.dims = model.config.hidden_size
        self.context_length = model.config.context_length
        self.fingerprint = fingerprint
        self._tokenizer = tokenizer
        self._remembered_padding: list[tuple[mx.array, ...]] | None = None
        self._blocks_count = model.config.pooling == "token_weighted" and bool(model.pooling.layer_gate[1:].any())

    def embed(self, texts: Sequence[str], kind: TextKind = "document") -> npt.NDArray[np.float32]:
        """Embed texts.

        Args:
            texts: Any number of texts of any length.
            kind: What the texts are. One model serves both sides alike; the argument is for models that tell them
                apart.

        Returns:
            ``(N, D)`` float32, each row of length 1; a row of zeros for a text without tokens.
        """
        del kind  # no supported checkpoint distinguishes the two
        vectors = np.zeros((len(texts), self.dims), np.float32)
        ids = self._encode(texts)
        pool, pads_left = self._pooling()
        for batch in _batches(list(self._windows(ids))):
            np.add.at(vectors, [text for text, _ in batch], _pool_batch(batch, pool, pads_left=pads_left))
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.divide(vectors, norms, out=vectors, where=norms > 0)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Number of tokens of each text."""
        return [len(tokens) for tokens in self._encode(texts)]

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        # Lone surrogates (from file names) are no text for the tokenizer.
        clean = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
        if self.model.config.fold_case:
            clean = [fold(text) for text in clean]
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(clean, add_special_tokens=False)]

    def _windows(self, ids: list[list[int]]) -> Iterator[tuple[int, list[int]]]:
        """(index of the text, up to `context_length` of its tokens)."""
        for text, tokens in enumerate(ids):
            # A single state stands for a text: there is nothing to add up over windows.
            stop = min(len(tokens), 1) if self.model.config.pooling == "position" else len(tokens)
            for start in range(0, stop, self.context_length):
                yield text, tokens[start : start + self.context_length]

    def _pooling(self) -> tuple[Pool, int | None]:
        """How a batch becomes vectors, and the id its rows are padded with on the left (`None`: on the right)."""
        config = self.model.config
        if config.pooling == "token_weighted":
            return self._weighted_sums, None
        if config.pooling == "mean":
            return self._plain_sums, None
        if config.padding_side != "left":
            return self._states_at, None
        if config.pad_token_id is None:
            raise CheckpointError("this model was trained on left-padded text, but its config.json has no pad_token_id")
        return self._states_at_the_end, config.pad_token_id

    def _weighted_sums(self, ids: mx.array, lengths: mx.array) -> mx.array:
        is_real = mx.arange(ids.shape[1])[None] < lengths[:, None]
        # With every gate but the first at 0 the blocks add nothing, and running them is nine tenths of the work.
        states = self.model.residual_states(ids) if self._blocks_count else [self.model.embed_tokens(ids)]
        sums, _ = self.model.pooling(states, ids, is_real)
        return sums

    def _plain_sums(self, ids: mx.array, lengths: mx.array) -> mx.array:
        is_real = mx.arange(ids.shape[1])[None] < lengths[:, None]
        return (self.model.hidden_states(ids) * is_real[:, :, None]).sum(axis=1)

    def _states_at(self, ids: mx.array, lengths: mx.array) -> mx.array:
        states = self.model.hidden_states(ids)
        index = (
            mx.maximum(lengths + self._position, 0) if self._position < 0 else mx.minimum(lengths - 1, self._position)
        )
        return mx.take_along_axis(states, index[:, None, None], axis=1).squeeze(1)

    @property
    def _position(self) -> int:
        config = self.model.config
        if config.embedding_position is not None:
            return config.embedding_position
        # A left-padded language model never trained the state of the last position.
        return -2 if config.padding_side == "left" else -1

    def _states_at_the_end(self, ids: mx.array, _: mx.array) -> mx.array:
        """States of a left-padded window of which `ids` are the last positions."""
        length, position = self.context_length, self._position
        from_end = -position if position < 0 else length - position
        if ids.shape[1] < from_end:
            ids = mx.pad(ids, [(0, 0), (from_end - ids.shape[1], 0)], constant_values=self.model.config.pad_token_id)
        batch, count = ids.shape
        before = length - count
        cache = self.model.make_cache()
        if before:
            for layer_cache, rows in zip(cache, self._pad_rows(), strict=True):
                layer_cache.state = [mx.broadcast_to(row[:, :before], (batch, before, row.shape[2])) for row in rows]
        return self.model.hidden_states(ids, cache)[:, count - from_end]

    def _pad_rows(self) -> list[tuple[mx.array, ...]]:
        """What every layer remembers of a window of padding, ``(1, L - 1, D)`` for each of its products."""
        if self._remembered_padding is None:
            cache = self.model.make_cache()
            pads = mx.full((1, self.context_length - 1), self.model.config.pad_token_id)
            mx.eval(self.model.hidden_states(pads, cache))
            rows = [tuple(row for row in layer_cache.state if row is not None) for layer_cache in cache]
            mx.eval(rows)
            self._remembered_padding = rows
        return self._remembered_padding


def fold(text: str) -> str:
    """Lower-case a text and make one space of every run of white space: how it looks says little about what it means.

    Pieces of "Memory Management", of "MEMORY" at a line's start and of "memory management" have nothing in common
    otherwise, which costs a small embedder more than half of its hits on headings.
    """
    return " ".join(text.lower().split())


def load_embedder(path: str | Path | None = None) -> Embedder:
    """Load the embedder of a model folder.

    Args:
        path: See `mlx_mixer.checkpoint.resolve_model`; the bundled model if omitted.

    Raises:
        ModelNotFoundError: If there is no such model or it has no tokenizer.
        CheckpointError: If the folder is damaged.
    """
    folder = resolve_model(path)
    tokenizer_json = tokenizer_file(folder)
    model = load_model(folder)
    try:
        tokenizer = Tokenizer.from_file(str(tokenizer_json))
    except Exception as error:  # the Rust library raises bare Exception
        raise CheckpointError(f"{tokenizer_json} cannot be read: {error}") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    # "</s>" in somebody's file is four characters, not the end of the text.
    tokenizer.encode_special_tokens = True
    return Embedder(model, tokenizer, _fingerprint(folder, tokenizer_json, model))


def _fingerprint(folder: Path, tokenizer_json: Path, model: LanguageMixer) -> str:
    digest = hashlib.sha256()
    for file in (*sorted(folder.glob(WEIGHTS_NAME.replace(".", "*."))), tokenizer_json):
        digest.update(file.read_bytes())
    config = model.config
    digest.update(
        repr(
            (config.pooling, config.padding_side, config.embedding_position, config.pad_token_id, config.fold_case)
        ).encode()
    )
    return digest.hexdigest()[:32]


def _batches(windows: list[tuple[int, list[int]]]) -> Iterator[list[tuple[int, list[int]]]]:
    """Windows by length, so that next to nothing in a batch is padding."""
    batch: list[tuple[int, list[int]]] = []
    for window in sorted(windows, key=lambda item: len(item[1])):
        if batch and len(window[1]) * (len(batch) + 1) > TOKENS_PER_BATCH:
            yield batch
            batch = []
        batch.append(window)
    if batch:
        yield batch


def _pool_batch(batch: list[tuple[int, list[int]]], pool: Pool, *, pads_left: int | None) -> npt.NDArray[np.float32]:
    """Pool one batch; ids after a text's end are 0, which no earlier position of a causal model sees."""
    lengths = np.array([len(tokens) for _, tokens in batch])
    ids = np.full((len(batch), lengths.max()), pads_left or 0, np.int32)
    for row, (_, tokens) in enumerate(batch):
        start = 0 if pads_left is None else ids.shape[1] - len(tokens)
        ids[row, start : start + len(tokens)] = tokens
    return np.array(pool(mx.array(ids), mx.array(lengths)).astype(mx.float32))
