"""SentencePiece: learning the pieces, and encoding texts for training."""

import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import sentencepiece
from tokenizers import Tokenizer

from mlx_mixer.errors import CheckpointError, MixerError, ModelNotFoundError

UNK_ID, BOS_ID, EOS_ID = 0, 1, 2
# The three control tokens, and a token for every byte.
SMALLEST_VOCABULARY = 3 + 256 + 1
# Longer lines are cut by SentencePiece without a word; nothing in prose comes near.
_LONGEST_LINE = 1 << 16

Encode = Callable[[Sequence[str]], list[list[int]]]


def train_tokenizer(texts: Sequence[str], vocab_size: int) -> bytes:
    """Learn byte-pair pieces from texts, losslessly: no normalisation, no lost spaces, every byte has a token.

    Deterministic. Ids are 0 unknown, 1 beginning, 2 end of text; there is no padding token. Lines are learned from one
    by one, so a line break is always the byte token of its own.

    Args:
        texts: What to learn from.
        vocab_size: Number of pieces, the 259 fixed ones included.

    Returns:
        The bytes of a SentencePiece `tokenizer.model`.

    Raises:
        MixerError: If the texts cannot fill the vocabulary.
    """
    if vocab_size < SMALLEST_VOCABULARY:
        raise MixerError(f"a vocabulary of {vocab_size} is too small; give at least {SMALLEST_VOCABULARY}")
    out = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=_lines(texts),
            model_writer=out,
            vocab_size=vocab_size,
            model_type="bpe",
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            allow_whitespace_only_pieces=True,
            add_dummy_prefix=True,
            byte_fallback=True,
            split_digits=True,
            character_coverage=0.9995,
            unk_id=UNK_ID,
            bos_id=BOS_ID,
            eos_id=EOS_ID,
            pad_id=-1,
            max_sentence_length=_LONGEST_LINE,
            minloglevel=2,
        )
    except (RuntimeError, OSError) as error:
        raise MixerError(
            f"no vocabulary of {vocab_size} pieces can be learned from these texts; give more text or a smaller "
            f"--vocab-size ({' '.join(str(error).split())[:200]})"
        ) from error
    return out.getvalue()


def load_encoder(folder: Path) -> Encode:
    """The tokenizer of a folder as a function from texts to token ids, without special tokens.

    Raises:
        ModelNotFoundError: If the folder has neither `tokenizer.model` nor `tokenizer.json`.
        CheckpointError: If the file is damaged.
    """
    model, fast = folder / "tokenizer.model", folder / "tokenizer.json"
    try:
        if model.is_file():
            processor = sentencepiece.SentencePieceProcessor(model_file=str(model))
            return lambda texts: processor.encode(list(texts))
        if fast.is_file():
            tokenizer = Tokenizer.from_file(str(fast))
            tokenizer.no_padding()
            tokenizer.no_truncation()
            return lambda texts: [
                encoding.ids for encoding in tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
            ]
    except Exception as error:  # both libraries raise bare RuntimeError or Exception for a damaged file
        raise CheckpointError(f"the tokenizer in {folder} cannot be read: {' '.join(str(error).split())}") from error
    raise ModelNotFoundError(
        f"{folder} holds no tokenizer.model and no tokenizer.json; make one with: mlx-mixer train tokenizer"
    )


def vocabulary_size(folder: Path) -> int:
    """Number of token ids of a folder's tokenizer; see `load_encoder` for what is raised."""
    load_encoder(folder)
    if (folder / "tokenizer.model").is_file():
        return int(sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model")).get_piece_size())
    return int(Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab_size())


def _lines(texts: Sequence[str]) -> Iterator[str]:
    return (line for text in texts for line in text.splitlines() if line.strip())
