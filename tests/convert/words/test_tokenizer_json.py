"""What of a foreign tokenizer.json is let through to the Rust library."""

import copy
from typing import Any

import pytest

from convert.words.tokenizer_json import cleaned_tokenizer
from mlx_mixer.errors import ConversionError

GOOD: dict[str, Any] = {
    "version": "1.0",
    "truncation": {"max_length": 1 << 30, "strategy": "LongestFirst", "stride": 0},
    "padding": {"strategy": {"Fixed": 1 << 30}, "pad_id": 0, "pad_token": "<pad>"},
    "added_tokens": [{"id": 3, "content": "<end>", "special": True}],
    "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Lowercase"}]},
    "pre_tokenizer": {"type": "Whitespace"},
    "post_processor": None,
    "decoder": {"type": "ByteLevel"},
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]]},
    "something_else": 1,
}


def changed(**changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(GOOD), **changes}


def test_padding_truncation_and_unknown_fields_are_left_out() -> None:
    clean = cleaned_tokenizer(GOOD, 4)
    assert clean["padding"] is None
    assert clean["truncation"] is None
    assert "something_else" not in clean
    assert clean["model"] == GOOD["model"]
    assert clean["added_tokens"] == GOOD["added_tokens"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "no tokenizer"),
        ({}, "no tokenizer"),
        (changed(model=[]), "no tokenizer"),
        (changed(model={"type": "BPE"}), "no vocabulary"),
        (changed(model={"type": "BPE", "vocab": 3}), "no vocabulary"),
        (changed(added_tokens={}), "no vocabulary"),
        (changed(added_tokens=["<end>"]), "the id None"),
        (changed(added_tokens=[{"content": "<end>"}]), "the id None"),
        (changed(added_tokens=[{"id": -1}]), "the id -1"),
        (changed(added_tokens=[{"id": True}]), "the id True"),
        (changed(model={"type": "BPE", "vocab": {"a": 1.0}}), "the id 1.0"),
        (changed(model={"type": "BPE", "vocab": {}}, added_tokens=[]), "ids up to -1"),
        (changed(added_tokens=[{"id": 4}]), "ids up to 4, but the model has 4"),
        (changed(model={"type": "Unigram", "vocab": [["a", 0.0]] * 5}), "ids up to 4"),
        (changed(normalizer={"type": "Sequence", "normalizers": [{"type": "NFC"}] * 9}), "chains 9"),
        (changed(normalizer={"type": "Sequence", "normalizers": None}), "empty sequence"),
        (changed(normalizer="NFC"), "not a table"),
        (changed(pre_tokenizer={"type": "Custom"}), "'Custom' as a pre_tokenizer"),
        (changed(decoder={"type": "CTC"}), "'CTC' as a decoder"),
        (changed(decoder={"type": ["ByteLevel"]}), "as a decoder"),
        (changed(model={"type": "Sequence", "vocab": {"a": 0}}), "'Sequence' as a model"),
        (changed(model={"vocab": {"a": 0}}), "None as a model"),
    ],
)
def test_what_could_break_the_library_is_refused(content: Any, message: str) -> None:
    with pytest.raises(ConversionError) as caught:
        cleaned_tokenizer(content, 4)
    assert message in str(caught.value)


def test_nested_sequences_are_counted_together() -> None:
    inner = {"type": "Sequence", "normalizers": [{"type": "NFC"}] * 5}
    with pytest.raises(ConversionError, match="chains 10"):
        cleaned_tokenizer(changed(normalizer={"type": "Sequence", "normalizers": [inner, inner]}), 4)


def test_old_files_do_not_name_their_model() -> None:
    assert cleaned_tokenizer(changed(model={"vocab": {"a": 0}, "merges": []}), 4)
