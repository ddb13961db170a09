"""A SentencePiece model as a `tokenizer.json` that produces the same ids.

SentencePiece normalises the whole text, then segments it; the `tokenizers` library does the same in replaceable steps.
Each function below builds one step. What cannot be expressed exactly is refused, because ids that differ from those of
training are noise to a model.

A few differences remain and are accepted: where two overlapping merges make the same piece, SentencePiece takes the
left one and a `tokenizer.json` the one listed first; unigram segmentations of equal probability ("-----" as 2 + 3 or
3 + 2) are told apart by rounding; a unigram model without a piece for "<" reads "<s>" in a text as the token; and
`tokenizers` applies a normalisation table to whole grapheme clusters, so a few rare ones come out differently under
"nmt_nfkc".
"""

import base64
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # its stubs are a package of their own
from sentencepiece import sentencepiece_model_pb2

from mlx_mixer.errors import ConversionError

SPACE = "▁"
# Every cut of a piece is looked at. The trainer's own limit is 16, and pieces that a user names are short too.
MAX_PIECE = 512

# Values of the enums TrainerSpec.ModelType and ModelProto.SentencePiece.Type.
UNIGRAM, BPE = 1, 2
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6

# Log-probability that keeps a unigram model from reading "<s>" or "<0x41>" in a text as the piece of that name.
NEVER_CHOSEN = -1000.0


def sentencepiece_to_tokenizer_json(model_path: Path) -> dict[str, Any]:
    """Translate a SentencePiece `tokenizer.model` (BPE or unigram).

    Returns:
        The content of a `tokenizer.json`: same pieces at the same ids, same normalisation, no special tokens added to a
        text. Its decoder is one that mlx-lm recognises and streams in linear time.

    Raises:
        ConversionError: If the file is not a SentencePiece model, or uses something a `tokenizer.json` cannot express.
    """
    model = _read(model_path)
    _refuse_what_has_no_twin(model)
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        # An added token would be found in a text: "</s>" in a user's file is four characters, not the end of it.
        "added_tokens": [],
        "normalizer": {"type": "Sequence", "normalizers": list(_normalizers(model.normalizer_spec))},
        "pre_tokenizer": _pre_tokenizer(model),
        "post_processor": None,
        "decoder": {"type": "Sequence", "decoders": list(_decoders(model.normalizer_spec))},
        "model": _bpe(model) if model.trainer_spec.model_type == BPE else _unigram(model),
    }


def sentencepiece_tokenizer_config(model_path: Path) -> dict[str, Any]:
    """Return the `tokenizer_config.json` that belongs to the result of `sentencepiece_to_tokenizer_json`."""
    model = _read(model_path)
    names = {index: piece.piece for index, piece in enumerate(model.pieces) if piece.type in (UNKNOWN, CONTROL)}
    spec = model.trainer_spec
    ids = {"bos_token": spec.bos_id, "eos_token": spec.eos_id, "unk_token": spec.unk_id, "pad_token": spec.pad_id}
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        # transformers adds the tokens named here when it loads them, and must not look for them in a text either.
        "split_special_tokens": True,
        **{name: names[index] for name, index in ids.items() if index in names},
    }


def _read(path: Path) -> Any:  # the generated protobuf classes carry no types
    model = sentencepiece_model_pb2.ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except DecodeError as error:
        raise ConversionError(f"{path.name} is not a SentencePiece model ({error})") from error
    if not model.pieces:
        raise ConversionError(f"{path.name} is not a SentencePiece model (it holds no pieces)")
    # protobuf hands out text that is not UTF-8 as bytes.
    if not all(isinstance(piece.piece, str) for piece in model.pieces):
        raise ConversionError(f"{path.name} is damaged: the SentencePiece model has a piece that is no text")
    if not all(0 < len(piece.piece) <= MAX_PIECE for piece in model.pieces):
        raise ConversionError(f"{path.name} is damaged: a piece of it is empty or longer than {MAX_PIECE} characters")
    if not all(math.isfinite(piece.score) for piece in model.pieces):
        raise ConversionError(f"{path.name} is damaged: a piece of it has a score that is no number")
    return model


def _refuse_what_has_no_twin(model: Any) -> None:
    spec, normalizer = model.trainer_spec, model.normalizer_spec
    names = [piece.piece for piece in model.pieces]
    kinds = [piece.type for piece in model.pieces]
    if spec.model_type not in (UNIGRAM, BPE):
        raise ConversionError("the SentencePiece model is of the word or character kind; BPE and unigram are supported")
    if spec.treat_whitespace_as_suffix or not normalizer.escape_whitespaces:
        raise ConversionError("the SentencePiece model marks spaces in a way that cannot be converted")
    if UNUSED in kinds:
        raise ConversionError("the SentencePiece model has pieces marked as unused; that cannot be converted")
    if len(set(names)) != len(names):
        raise ConversionError("the SentencePiece model has the same piece twice")
    if kinds.count(UNKNOWN) != 1:
        raise ConversionError("the SentencePiece model must have exactly one unknown piece")
    if spec.byte_fallback and kinds.count(BYTE) != 256:
        raise ConversionError("the SentencePiece model falls back to bytes but does not hold all 256 of them")


def _normalizers(spec: Any) -> Iterator[dict[str, Any]]:
    if spec.precompiled_charsmap:
        table = base64.b64encode(spec.precompiled_charsmap).decode("ascii")
        yield {"type": "Precompiled", "precompiled_charsmap": table}
    if spec.remove_extra_whitespaces:
        yield _replace({"Regex": r"\A +"}, "")
        yield _replace({"Regex": rf"[ {SPACE}]+\z"}, "")
        yield _replace({"Regex": " {2,}"}, " ")
    if spec.add_dummy_prefix:
        yield {"type": "Prepend", "prepend": SPACE}
    yield _replace({"String": " "}, SPACE)


def _replace(pattern: dict[str, str], content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": pattern, "content": content}


def _pre_tokenizer(model: Any) -> dict[str, Any] | None:
    # SentencePiece finds a user-defined symbol before it segments; one with a plain space never occurs in escaped text.
    symbols = [piece.piece for piece in model.pieces if piece.type == USER_DEFINED and " " not in piece.piece]
    if symbols:
        return _split("|".join(re.escape(symbol) for symbol in sorted(symbols, key=len, reverse=True)))
    if any(re.search(rf"[^{SPACE}]{SPACE}", piece.piece) for piece in model.pieces):
        return None
    # No piece reaches from a word into the space after it: cut there, so that equal words are segmented only once.
    return _split(rf"{SPACE}*[^{SPACE}]+|{SPACE}+")


def _split(pattern: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def _decoders(spec: Any) -> Iterator[dict[str, Any]]:
    # mlx-lm picks its linear-time SentencePiece detokenizer by comparing with exactly this list.
    yield _replace({"String": SPACE}, " ")
    yield {"type": "ByteFallback"}
    yield {"type": "Fuse"}
    if spec.add_dummy_prefix:
        yield {"type": "Strip", "content": " ", "start": 1, "stop": 0}


def _bpe(model: Any) -> dict[str, Any]:
    unknown = next(piece.piece for piece in model.pieces if piece.type == UNKNOWN)
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": unknown,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": True,
        "byte_fallback": bool(model.trainer_spec.byte_fallback),
        "ignore_merges": any(piece.type == USER_DEFINED for piece in model.pieces),
        "vocab": {piece.piece: index for index, piece in enumerate(model.pieces)},
        "merges": _merges(model.pieces),
    }


def _merges(pieces: Sequence[Any]) -> list[list[str]]:
    """List every pair of pieces that makes a piece, best piece first: the order in which SentencePiece merges."""
    normal = {piece.piece: float(piece.score) for piece in pieces if piece.type == NORMAL}
    ranked = sorted((piece for piece in normal if len(piece) > 1), key=lambda piece: -normal[piece])
    return [
        [piece[:cut], piece[cut:]]
        for piece in ranked
        for cut in range(len(piece) - 1, 0, -1)
        if piece[:cut] in normal and piece[cut:] in normal
    ]


def _unigram(model: Any) -> dict[str, Any]:
    readable = (NORMAL, USER_DEFINED)
    lowest = min((piece.score for piece in model.pieces if piece.type in readable), default=0.0)
    never = float(lowest) + NEVER_CHOSEN
    pieces = [[piece.piece, float(piece.score) if piece.type in readable else never] for piece in model.pieces]
    unknown = next(index for index, piece in enumerate(model.pieces) if piece.type == UNKNOWN)
    return {
        "type": "Unigram",
        "unk_id": unknown,
        "vocab": pieces,
        "byte_fallback": bool(model.trainer_spec.byte_fallback),
    }
