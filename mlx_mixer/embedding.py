"""Texts to vectors, with the model that also writes or with one made for it.

How the states of a text's tokens become one vector is named by the model's config and lives in
`mlx_mixer.text_pooling`; this file turns texts into batches of tokens and back.
"""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import mlx.core as mx
import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from mlx_mixer.attribution import TokenShare, token_shares
from mlx_mixer.checkpoint import WEIGHTS_NAME, load_model, resolve_model, tokenizer_file
from mlx_mixer.errors import CheckpointError
from mlx_mixer.folding import Folded, fold_with_origins
from mlx_mixer.folding import fold as fold
from mlx_mixer.models.language import LanguageMixer
from mlx_mixer.text_pooling import EmbeddingModel, Pooling, SumPooling, embedding_dims, embedding_model, make_pooling

TextKind = Literal["document", "query"]
# Rows of one forward pass: large enough for the matmul to be efficient, small enough to stay in tens of megabytes.
TOKENS_PER_BATCH = 4096


class Embedder:
    """Turns texts into L2-normalised vectors.

    Attributes:
        dims: Length of a vector, D.
        context_length: Tokens the model sees at once.
        fingerprint: Identifies weights, tokenizer and pooling; vectors of different fingerprints must not be compared.

    Raises:
        CheckpointError: If the model needs padding and its config has no id for it.
    """

    def __init__(self, model: EmbeddingModel, tokenizer: Tokenizer, fingerprint: str) -> None:
        self.model = model
        self.dims = embedding_dims(model)
        self.context_length = model.config.context_length
        self.fingerprint = fingerprint
        self._tokenizer = tokenizer
        self._pooling = make_pooling(model)

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
        for batch in _batches(list(self._windows(ids))):
            np.add.at(vectors, [text for text, _ in batch], _pool_batch(batch, self._pooling))
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.divide(vectors, norms, out=vectors, where=norms > 0)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Number of tokens of each text."""
        return [len(tokens) for tokens in self._encode(texts)]

    def attribute(self, text: str, query: npt.NDArray[np.float32]) -> list[TokenShare]:
        """Split the cosine of a text and a query over the text's tokens.

        Args:
            text: A text of any length.
            query: ``(D,)`` vector of the query, as `embed` returns it.

        Returns:
            The share of each token that the text's vector depends on, in order, with its place in `text`. Where
            vectors are sums over tokens the shares add up to the cosine; where they are one state each share is how
            much the cosine would change, to first order, without the token.
        """
        clean = _tokenizable(text)
        folded = fold_with_origins(clean) if self.model.config.fold_case else None
        encoding = self._tokenizer.encode(clean if folded is None else folded.text, add_special_tokens=False)
        if not encoding.ids:
            return []
        shares = token_shares(self._pooling, encoding.ids, query, self.context_length)
        spans = [_span(clean, folded, *offsets) for offsets in encoding.offsets[: len(shares)]]
        return [TokenShare(start, end, float(share)) for (start, end), share in zip(spans, shares, strict=True)]

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        clean = [_tokenizable(text) for text in texts]
        if self.model.config.fold_case:
            clean = [fold(text) for text in clean]
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(clean, add_special_tokens=False)]

    def _windows(self, ids: list[list[int]]) -> Iterator[tuple[int, list[int]]]:
        """(index of the text, up to `context_length` of its tokens)."""
        for text, tokens in enumerate(ids):
            # A single state stands for a text: there is nothing to add up over windows.
            stop = len(tokens) if isinstance(self._pooling, SumPooling) else min(len(tokens), 1)
            for start in range(0, stop, self.context_length):
                yield text, tokens[start : start + self.context_length]


def load_embedder(path: str | Path | None = None) -> Embedder:
    """Load the embedder of a model folder.

    Args:
        path: See `mlx_mixer.checkpoint.resolve_model`; the bundled model if omitted.

    Raises:
        ModelNotFoundError: If there is no such model or it has no tokenizer.
        UnsupportedModelError: If it is of a kind that makes no vectors of texts.
        CheckpointError: If the folder is damaged.
    """
    folder = resolve_model(path)
    model = embedding_model(load_model(folder))
    tokenizer_json = tokenizer_file(folder)
    try:
        tokenizer = Tokenizer.from_file(str(tokenizer_json))
    except Exception as error:  # the Rust library raises bare Exception
        raise CheckpointError(f"{tokenizer_json} cannot be read: {error}") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    # "</s>" in somebody's file is four characters, not the end of the text.
    tokenizer.encode_special_tokens = True
    return Embedder(model, tokenizer, _fingerprint(folder, tokenizer_json, model))


def _fingerprint(folder: Path, tokenizer_json: Path, model: EmbeddingModel) -> str:
    digest = hashlib.sha256()
    for file in (*sorted(folder.glob(WEIGHTS_NAME.replace(".", "*."))), tokenizer_json):
        digest.update(file.read_bytes())
    config = model.config
    pooling = model.config.pooling if isinstance(model, LanguageMixer) else config.model_type
    digest.update(
        repr((pooling, config.padding_side, config.embedding_position, config.pad_token_id, config.fold_case)).encode()
    )
    return digest.hexdigest()[:32]


def _tokenizable(text: str) -> str:
    # Lone surrogates (from file names) are no text for the tokenizer; each becomes one question mark.
    return text.encode("utf-8", "replace").decode("utf-8")


def _span(text: str, folded: Folded | None, start: int, end: int) -> tuple[int, int]:
    """The characters that a token stands for, without white space at their ends."""
    if folded is not None:
        start, end = folded.span(start, end)
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    return start, end


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


def _pool_batch(batch: list[tuple[int, list[int]]], pooling: Pooling) -> npt.NDArray[np.float32]:
    """Pool one batch; ids after a text's end are 0, which no earlier position of a causal model sees."""
    lengths = np.array([len(tokens) for _, tokens in batch])
    ids = np.full((len(batch), lengths.max()), pooling.pads_left or 0, np.int32)
    for row, (_, tokens) in enumerate(batch):
        start = 0 if pooling.pads_left is None else ids.shape[1] - len(tokens)
        ids[row, start : start + len(tokens)] = tokens
    return np.array(pooling(mx.array(ids), mx.array(lengths)).astype(mx.float32))
