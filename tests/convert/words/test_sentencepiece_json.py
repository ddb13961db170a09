"""A translated SentencePiece model gives the ids and the texts that SentencePiece gives."""

import functools
import json
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st
from mlx_lm.tokenizer_utils import SPMStreamingDetokenizer, TokenizerWrapper
from mlx_lm.tokenizer_utils import load as load_wrapped
from sentencepiece import sentencepiece_model_pb2
from tokenizers import Tokenizer

from convert import sentencepiece_to_tokenizer_json, sentencepiece_tokenizer_config
from mlx_mixer.errors import ConversionError
from tests.convert.sentencepiece_models import MIXED, VARIANTS, texts, trained


@pytest.fixture(params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def pair(variant: str, folder: Path) -> tuple[sentencepiece.SentencePieceProcessor, Tokenizer]:
    path = folder / f"{variant}.model"
    path.write_bytes(trained(variant))
    tokenizer = Tokenizer.from_str(json.dumps(sentencepiece_to_tokenizer_json(path)))
    return sentencepiece.SentencePieceProcessor(model_proto=trained(variant)), tokenizer


cached_pair = functools.cache(pair)


def score(processor: sentencepiece.SentencePieceProcessor, ids: list[int]) -> float:
    return float(sum(processor.get_score(index) for index in ids))


def assert_same_ids(variant: str, text: str, original: sentencepiece.SentencePieceProcessor, ours: Tokenizer) -> None:
    want, got = original.encode(text), ours.encode(text).ids
    if variant.startswith("unigram") and want != got:
        # Segmentations of equal probability differ by rounding alone.
        assert len(want) == len(got), text
        assert score(original, want) == pytest.approx(score(original, got), abs=1e-3), text
    else:
        assert got == want, text


def test_ids_are_those_of_sentencepiece(variant: str, tmp_path: Path) -> None:
    original, ours = pair(variant, tmp_path)
    different = 0
    for text in texts():
        assert_same_ids(variant, text, original, ours)
        different += original.encode(text) != ours.encode(text).ids
    assert different <= 0.02 * len(texts())
    assert len(texts()) > 400


@given(text=st.text(alphabet="ab -=_1é▁\n\t<s>x", max_size=40))
@settings(max_examples=300, deadline=None)
def test_ids_are_those_of_sentencepiece_for_any_text(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    for variant in ("bpe", "bpe_digits", "bpe_user_defined", "unigram"):
        assert_same_ids(variant, text, *cached_pair(variant, tmp_path_factory.getbasetemp()))


# What is unknown does not come back: SentencePiece writes a mark of its own for it.
@pytest.mark.parametrize("variant", [name for name in VARIANTS if not name.endswith("unknown")])
def test_texts_come_back_as_sentencepiece_gives_them_back(variant: str, tmp_path: Path) -> None:
    original, ours = pair(variant, tmp_path)
    for text in texts():
        ids = original.encode(text)
        assert ours.decode(ids) == original.decode(ids)
        if not variant.endswith(("nfkc", "collapsed")):
            assert ours.decode(ids) == text.replace("▁", " ")


def loaded(variant: str, folder: Path) -> TokenizerWrapper:
    model = folder / "tokenizer.model"
    model.write_bytes(trained(variant))
    files = {
        "tokenizer.json": sentencepiece_to_tokenizer_json(model),
        "tokenizer_config.json": sentencepiece_tokenizer_config(model),
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return load_wrapped(folder)


@pytest.mark.parametrize("variant", ["bpe_digits", "unigram_nfkc", "bpe_no_prefix"])
def test_mlx_lm_loads_it_with_its_linear_time_detokenizer(variant: str, tmp_path: Path) -> None:
    tokenizer = loaded(variant, tmp_path)
    original = sentencepiece.SentencePieceProcessor(model_proto=trained(variant))
    detokenizer = tokenizer.detokenizer
    assert isinstance(detokenizer, SPMStreamingDetokenizer)
    for text in texts()[-40:]:
        ids = tokenizer.encode(text)
        assert ids == original.encode(text)
        detokenizer.reset()
        parts = []
        for index in ids:
            detokenizer.add_token(index)
            parts.append(detokenizer.last_segment)
        detokenizer.finalize()
        parts.append(detokenizer.last_segment)
        assert "".join(parts) == tokenizer.decode(ids) == original.decode(ids)


def test_special_tokens_keep_their_ids_and_are_not_read_in_texts(tmp_path: Path) -> None:
    tokenizer = loaded("bpe_own_ids", tmp_path)
    assert (tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.unk_token_id) == (1, 0, 3)
    assert tokenizer.bos_token is None
    assert tokenizer.eos_token_ids == {1}
    assert not {0, 1, 3} & set(tokenizer.encode(MIXED))


def test_pieces_keep_their_ids(variant: str, tmp_path: Path) -> None:
    original, ours = pair(variant, tmp_path)
    pieces = [original.id_to_piece(index) for index in range(original.get_piece_size())]
    assert [ours.id_to_token(index) for index in range(ours.get_vocab_size())] == pieces


def test_words_are_cut_only_where_no_piece_reaches_across(tmp_path: Path) -> None:
    for variant, is_cut in {"bpe": True, "bpe_digits": True, "bpe_across_spaces": False}.items():
        path = tmp_path / "tokenizer.model"
        path.write_bytes(trained(variant))
        assert (sentencepiece_to_tokenizer_json(path)["pre_tokenizer"] is not None) is is_cut


def changed(**changes: Any) -> bytes:
    model = sentencepiece_model_pb2.ModelProto.FromString(trained("bpe"))
    for name, value in changes.items():
        part, _, field = name.partition("__")
        setattr(getattr(model, part), field, value)
    return bytes(model.SerializeToString())


def with_piece(index: int, **changes: Any) -> bytes:
    model = sentencepiece_model_pb2.ModelProto.FromString(trained("bpe"))
    for name, value in changes.items():
        setattr(model.pieces[index], name, value)
    return bytes(model.SerializeToString())


@pytest.mark.parametrize(
    "make",
    [
        lambda: b"",
        lambda: b"\xff" * 40,
        lambda: b"hello",
        lambda: trained("bpe")[:-100],
        lambda: trained("bpe").replace("▁th".encode(), b"\xe2\x96\xffth", 1),
        lambda: changed(trainer_spec__model_type=3),
        lambda: changed(trainer_spec__model_type=4),
        lambda: changed(trainer_spec__treat_whitespace_as_suffix=True),
        lambda: changed(normalizer_spec__escape_whitespaces=False),
        lambda: with_piece(300, type=5),
        lambda: with_piece(300, piece="<0x00>"),
        lambda: with_piece(0, type=1),
        lambda: with_piece(10, type=1),
    ],
)
def test_what_cannot_be_expressed_is_refused(make: Any, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.model"
    path.write_bytes(make())
    with pytest.raises(ConversionError, match="SentencePiece"):
        sentencepiece_to_tokenizer_json(path)
