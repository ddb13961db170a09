"""SentencePiece models for fuzzing, small enough to be taken in a thousand times."""

import random
from typing import Any

from sentencepiece import sentencepiece_model_pb2 as pb

from tests.fuzz.mutate import LIMITS, TEXTS, damage_bytes, pick

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
LETTERS = "▁abcdehilnorstuwxy.,Tq"
SCORES = (0.0, -1.0, 1e30, -1e38, float("inf"), float("-inf"), float("nan"))


def model(generator: random.Random) -> Any:
    """A BPE or unigram model of a few pieces, half of the time with all bytes."""
    proto = pb.ModelProto()
    spec, normalizer = proto.trainer_spec, proto.normalizer_spec
    spec.model_type = generator.choice((1, 2))
    spec.byte_fallback = generator.random() < 0.3
    spec.unk_id, spec.bos_id, spec.eos_id, spec.pad_id = 0, 1, 2, -1
    normalizer.add_dummy_prefix = generator.random() < 0.5
    normalizer.remove_extra_whitespaces = generator.random() < 0.5
    normalizer.escape_whitespaces = True
    pieces = [("<unk>", 0.0, UNKNOWN), ("<s>", 0.0, CONTROL), ("</s>", 0.0, CONTROL)]
    if spec.byte_fallback:
        pieces += [(f"<0x{value:02X}>", 0.0, BYTE) for value in range(256)]
    pieces += [(piece, -float(place), NORMAL) for place, piece in enumerate(("th", "the", "▁the", "in", "er", "▁a"))]
    pieces += [(letter, -float(10 + place), NORMAL) for place, letter in enumerate(LETTERS)]
    for piece, score, kind in pieces:
        proto.pieces.add(piece=piece, score=score, type=kind)
    return proto


def make(generator: random.Random) -> bytes:
    proto = model(generator)
    for _ in range(generator.choice((0, 1, 1, 2, 3))):
        _damage(generator, proto)
    raw: bytes = proto.SerializeToString()
    return damage_bytes(generator, raw) if generator.random() < 0.3 else raw


def _damage(generator: random.Random, proto: Any) -> None:
    piece = proto.pieces[generator.randrange(len(proto.pieces))]
    spec, normalizer = proto.trainer_spec, proto.normalizer_spec
    match generator.randrange(13):
        case 0:
            piece.score = pick(generator, SCORES)
        case 1:
            piece.type = generator.randrange(1, 7)
        case 2:
            piece.piece = pick(generator, [text for text in TEXTS if text.isprintable()] + ["\x00", "a\nb", "▁" * 99])
        case 3:
            piece.piece = generator.choice((piece.piece * 2, "the" * 400, proto.pieces[0].piece, " x", "<0x41>"))
        case 4:
            proto.pieces.add(piece=piece.piece, score=piece.score, type=piece.type)
        case 5:
            del proto.pieces[generator.randrange(len(proto.pieces)) :]
            proto.pieces.add(piece="<unk>", type=UNKNOWN)
        case 6:
            spec.model_type = generator.randrange(1, 5)
        case 7:
            field = generator.choice(("unk_id", "bos_id", "eos_id", "pad_id", "vocab_size"))
            setattr(spec, field, max(-(1 << 31), min((1 << 31) - 1, pick(generator, LIMITS))))
        case 8:
            normalizer.precompiled_charsmap = generator.choice(
                (b"", b"\xff" * 64, generator.randbytes(200), b"\4\0\0\0")
            )
        case 9:
            field = generator.choice(("escape_whitespaces", "add_dummy_prefix", "remove_extra_whitespaces"))
            setattr(normalizer, field, generator.random() < 0.5)
        case 10:
            field = generator.choice(("byte_fallback", "treat_whitespace_as_suffix", "split_digits"))
            setattr(spec, field, generator.random() < 0.5)
        case 11:
            normalizer.name = pick(generator, ("nmt_nfkc", "identity", "\x1b[31m", "x" * 9999))
        case _:
            for place in range(generator.choice((3, 50))):
                proto.pieces.add(piece="a" * (place + 2), score=-1.0, type=generator.choice((NORMAL, USER_DEFINED)))
