r"""Texts to vectors, with the model that also writes or with one made for it.

How the states of a text's tokens become one vector is named by the model's config and lives in
`mlx_mixer.text_pooling`; this file turns texts into batches of tokens and back. A model may have vectors of words
beside those of tokens: with :math:`u` the sum of either,

.. math:: v = \frac{1}{\sqrt 2} \left( \frac{u_{tokens}}{\lVert u_{tokens} \rVert},
    \frac{u_{words}}{\lVert u_{words} \rVert} \right)

so that a cosine is the mean of both cosines: two that were learned apart find more than either. A model with
"contextual" pooling may have vectors of words in place of those of tokens; then it makes a vector of words alone.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import mlx.core as mx
import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from mlx_mixer.attribution import TokenShare, token_shares
from mlx_mixer.checkpoint import WEIGHTS_NAME, load_model, resolve_model, tokenizer_file
from mlx_mixer.config import LanguageMixerConfig
from mlx_mixer.errors import CheckpointError
from mlx_mixer.model_configs.kinds import ModelConfig
from mlx_mixer.models.language import LanguageMixer
from mlx_mixer.text_pooling import (
    EmbeddingModel,
    Pooling,
    SumPooling,
    embedding_model,
    embedding_parts,
    make_pooling,
    word_pooling,
)
from mlx_mixer.text_tokenizer import PieceTokenizer, TextTokenizer
from mlx_mixer.word_tokenizer import WORDS_NAME, WordTokenizer, load_word_tokenizer

TextKind = Literal["document", "query"]
# Rows of one forward pass: large enough for the matmul to be efficient, small enough to stay in tens of megabytes.
TOKENS_PER_BATCH = 4096
# How long each of two unit vectors is in a unit vector of both.
_ONE_OF_TWO = 0.5**0.5


@dataclass(frozen=True)
class _Part:
    """What makes one part of a vector: a pooling, the ids it wants, its length, and how many ids it sees at once."""

    pooling: Pooling
    tokenizer: TextTokenizer
    dims: int
    context_length: int

    def sums(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """That part of the vectors of texts, ``(N, D)``, not normalised; zeros for a text without tokens."""
        sums = np.zeros((len(texts), self.dims), np.float32)
        for batch in _batches(list(self._windows(self.tokenizer.encode(texts)))):
            np.add.at(sums, [text for text, _ in batch], _pool_batch(batch, self.pooling))
        return sums

    def shares(self, text: str, query: npt.NDArray[np.float32]) -> list[TokenShare]:
        """The share of each token in the product of `query` and that part of a text's vector, normalised."""
        placed = self.tokenizer.encode_placed(text)
        ids = [number for token in placed for number in token.ids]
        if not ids:
            return []
        shares = token_shares(self.pooling, ids, query, self.context_length)
        first = np.cumsum([0, *(len(token.ids) for token in placed[:-1])])
        # A single state depends on the tokens of its window alone.
        sums = np.add.reduceat(shares, first[first < len(shares)])
        return [TokenShare(token.start, token.end, float(share)) for token, share in zip(placed, sums, strict=False)]

    def _windows(self, ids: list[list[int]]) -> Iterator[tuple[int, list[int]]]:
        """(index of the text, up to `context_length` of its tokens)."""
        for text, tokens in enumerate(ids):
            # A single state stands for a text: there is nothing to add up over windows.
            stop = len(tokens) if isinstance(self.pooling, SumPooling) else min(len(tokens), 1)
            for start in range(0, stop, self.context_length):
                yield text, tokens[start : start + self.context_length]


class Embedder:
    """Turns texts into L2-normalised vectors.

    Attributes:
        dims: Length of a vector, D.
        context_length: Tokens the model sees at once.
        fingerprint: Identifies weights, tokenizer and pooling; vectors of different fingerprints must not be compared.

    Args:
        model: Makes the vectors.
        tokenizer: Makes the ids it wants of texts.
        fingerprint: See above.
        words: Makes the ids of words, for a model that has vectors of those, beside or in place of those of tokens.

    Raises:
        CheckpointError: If the model needs padding and its config has no id for it, or embeds words alone and `words`
            is omitted.
    """

    def __init__(
        self, model: EmbeddingModel, tokenizer: TextTokenizer, fingerprint: str, words: WordTokenizer | None = None
    ) -> None:
        self.model = model
        self.dims = sum(embedding_parts(model))
        self.context_length = model.config.context_length
        self.fingerprint = fingerprint
        sizes = embedding_parts(model)
        first: TextTokenizer = tokenizer
        if embeds_words_alone(model.config):
            if words is None:
                raise CheckpointError("this model embeds words, and nothing was given that makes the ids of words")
            first = words
        self._parts = [_Part(make_pooling(model), first, sizes[0], self.context_length)]
        of_words = word_pooling(model)
        if of_words is not None and words is not None:
            self._parts.append(_Part(of_words, words, sizes[1], self.context_length))

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
        return _unit(np.concatenate([_unit(part.sums(texts)) for part in self._parts], axis=1))

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Number of tokens of each text; of words for a model that has vectors of those alone."""
        return [len(tokens) for tokens in self._parts[0].tokenizer.encode(texts)]

    def attribute(self, text: str, query: npt.NDArray[np.float32]) -> list[TokenShare]:
        """Split the cosine of a text and a query over the text's tokens.

        Args:
            text: A text of any length.
            query: ``(D,)`` vector of the query, as `embed` returns it.

        Returns:
            The share of each token that the text's vector depends on, in order, with its place in `text`. Where
            vectors are sums over tokens the shares add up to the cosine; where they are one state each share is how
            much the cosine would change, to first order, without the token. Of a model with vectors of words, the share
            of each word with the tokens in it.
        """
        ends = np.cumsum([part.dims for part in self._parts]).tolist()
        found = [part.shares(text, query[end - part.dims : end]) for part, end in zip(self._parts, ends, strict=True)]
        present = [shares for shares in found if shares]
        if len(present) < 2:
            return present[0] if present else []
        return _joined(*present)


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
    pieces = PieceTokenizer(tokenizer, fold_case=model.config.fold_case)
    words = word_tokenizer(folder, model.config)
    files = [tokenizer_json] if words is None else [tokenizer_json, folder / WORDS_NAME]
    return Embedder(model, pieces, _fingerprint(folder, files, model), words)


def word_tokenizer(folder: Path, config: ModelConfig) -> WordTokenizer | None:
    """What makes the ids of words for a model that has vectors of those; None for another.

    Raises:
        ModelNotFoundError: If its folder has no list of words.
        CheckpointError: If that list does not fit.
    """
    count = config.word_vocab_size if isinstance(config, LanguageMixerConfig) else None
    return None if count is None else load_word_tokenizer(folder, count)


def embeds_words_alone(config: ModelConfig) -> bool:
    """Whether the ids that a model embeds are those of words, and none of tokens."""
    return isinstance(config, LanguageMixerConfig) and config.pooling == "contextual" and bool(config.word_vocab_size)


def _fingerprint(folder: Path, tokenizer_files: Sequence[Path], model: EmbeddingModel) -> str:
    digest = hashlib.sha256()
    for file in (*sorted(folder.glob(WEIGHTS_NAME.replace(".", "*."))), *tokenizer_files):
        digest.update(file.read_bytes())
    config = model.config
    pooling = model.config.pooling if isinstance(model, LanguageMixer) else config.model_type
    digest.update(
        repr((pooling, config.padding_side, config.embedding_position, config.pad_token_id, config.fold_case)).encode()
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


def _pool_batch(batch: list[tuple[int, list[int]]], pooling: Pooling) -> npt.NDArray[np.float32]:
    """Pool one batch; ids after a text's end are 0, which no earlier position of a causal model sees."""
    lengths = np.array([len(tokens) for _, tokens in batch])
    ids = np.full((len(batch), lengths.max()), pooling.pads_left or 0, np.int32)
    for row, (_, tokens) in enumerate(batch):
        start = 0 if pooling.pads_left is None else ids.shape[1] - len(tokens)
        ids[row, start : start + len(tokens)] = tokens
    return np.array(pooling(mx.array(ids), mx.array(lengths)).astype(mx.float32))


def _joined(tokens: list[TokenShare], words: list[TokenShare]) -> list[TokenShare]:
    """Shares of two parts of a vector as shares of the whole: each word with the tokens that lie in it."""
    ends = [word.end for word in words]
    sums = [word.share for word in words]
    outside = []
    for token in tokens:
        at = bisect_right(ends, token.start)
        if at < len(words) and words[at].start < token.end:
            sums[at] += token.share
        else:
            outside.append(token)
    inside = [TokenShare(word.start, word.end, share) for word, share in zip(words, sums, strict=True)]
    together = sorted([*inside, *outside], key=lambda token: (token.start, token.end))
    return [TokenShare(token.start, token.end, token.share * _ONE_OF_TWO) for token in together]


def _unit(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, norms, out=vectors, where=norms > 0)
