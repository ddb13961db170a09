"""Damaged tokenizers: the library may fail in its process as it likes; what is accepted gives ids the model has."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

from convert.words.sentencepiece_json import sentencepiece_to_tokenizer_json, sentencepiece_tokenizer_config
from mlx_mixer.errors import ConversionError
from tests.fuzz import campaign, sentencepieces
from tests.fuzz.mutate import mutated_json, pick
from tests.fuzz.tokenizer_worker import VOCAB_SIZE
from tests.fuzz.workers import TokenizerWorker
from tests.tiny import byte_tokenizer


def words() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece({"[UNK]": 0, "the": 1, "##s": 2, "fox": 3}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFD(), normalizers.Lowercase(), normalizers.StripAccents()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def pieces() -> Tokenizer:
    tokenizer = Tokenizer(
        models.Unigram([("<unk>", 0.0), ("▁", -2.0), ("a", -3.0), ("th", -2.5), ("e", -3.5)], 0, False)
    )
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return tokenizer


def merges() -> Tokenizer:
    vocab = {letter: index for index, letter in enumerate("abcdeth ")} | {"th": 8, "the": 9}
    tokenizer = Tokenizer(models.BPE(vocab, [("t", "h"), ("th", "e")], unk_token=None))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "isolated")
    return tokenizer


BASES = [json.loads(tokenizer.to_str()) for tokenizer in (byte_tokenizer(), words(), pieces(), merges())]
# Components that do a lot, or that the library is known to fail on.
EXTREMES: tuple[tuple[str, Any], ...] = (
    (
        "normalizer",
        {"type": "Sequence", "normalizers": [{"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}] * 30},
    ),
    ("normalizer", {"type": "Replace", "pattern": {"Regex": "(a*)*b"}, "content": "x"}),
    ("normalizer", {"type": "Replace", "pattern": {"Regex": "."}, "content": "ab" * 5000}),
    ("normalizer", {"type": "Precompiled", "precompiled_charsmap": "/////w=="}),
    ("normalizer", {"type": "Precompiled", "precompiled_charsmap": ""}),
    ("normalizer", {"type": "Prepend", "prepend": "x" * (1 << 20)}),
    (
        "padding",
        {"strategy": {"Fixed": 1 << 30}, "direction": "Right", "pad_id": 0, "pad_type_id": 0, "pad_token": "x"},
    ),
    ("truncation", {"direction": "Right", "max_length": 1, "strategy": "LongestFirst", "stride": 1 << 31}),
    ("pre_tokenizer", {"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated", "invert": False}),
    ("pre_tokenizer", {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}),
    ("post_processor", {"type": "TemplateProcessing", "single": [], "pair": [], "special_tokens": {}}),
    ("decoder", {"type": "WordPiece", "prefix": "", "cleanup": True}),
    ("added_tokens", [{"id": 1 << 31, "content": "x", "special": True}]),
    ("model", {"type": "BPE", "vocab": {"a": 0}, "merges": [["a", "a"]]}),
    ("model", {"type": "BPE", "vocab": {"a": 0, "aa": 1}, "merges": ["a a"] * 2, "dropout": 1e9}),
    ("model", {"type": "Unigram", "vocab": [["a", float("inf")]], "unk_id": 7}),
    ("model", {"type": "WordLevel", "vocab": {}, "unk_token": "x"}),
)


def tokenizer_json(generator: random.Random) -> bytes:
    def damaged() -> Any:
        value = json.loads(json.dumps(pick(generator, BASES)))
        if generator.random() < 0.3:
            field, extreme = pick(generator, EXTREMES)
            value[field] = json.loads(json.dumps(extreme))
        # Most of a tokenizer is its vocabulary; damage should meet the rest as often.
        if (
            isinstance(value["model"].get("vocab"), dict)
            and len(value["model"]["vocab"]) > 50
            and generator.random() < 0.8
        ):
            value["model"]["vocab"] = dict(list(value["model"]["vocab"].items())[:20])
            value["added_tokens"] = []
        return value

    return json.dumps(damaged()).encode() if generator.random() < 0.1 else mutated_json(generator, damaged)


@pytest.fixture(scope="module")
def worker() -> Any:
    with TokenizerWorker() as started:
        yield started


READERS: dict[str, tuple[str, Callable[[random.Random], bytes]]] = {
    "tokenizer json": ("tokenizer.json", tokenizer_json),
    "sentencepiece model": ("tokenizer.model", sentencepieces.make),
}


@pytest.mark.parametrize("name", READERS)
def test_tokenizers(name: str, worker: TokenizerWorker, tmp_path: Path) -> None:
    file, make = READERS[name]
    source, out = tmp_path / "in" / file, tmp_path / "out"
    source.parent.mkdir()
    out.mkdir()

    found: dict[str, Any] = {}

    def place(raw: bytes) -> None:
        for path in out.iterdir():
            path.unlink()
        source.write_bytes(raw)
        found.clear()
        found.update(worker.ask(source, out))

    def read(_raw: bytes) -> bool:
        assert sorted(tmp_path.rglob("*")) == sorted([source.parent, source, out, *out.iterdir()])
        if "error" in found:
            raise ConversionError(found["error"])
        if "ids" in found:
            written = json.loads((out / "tokenizer.json").read_text(encoding="utf-8"))
            assert written["padding"] is None
            assert written["truncation"] is None
            assert all(index is None or 0 <= index < VOCAB_SIZE for index in found["ids"].values())
            return True
        return False

    tally = campaign.run(name, make, read, tmp_path, place=place)
    print(f"{name}: {worker.panics} panics, {worker.crashes} crashes, {worker.hangs} stopped, all in the child")
    assert tally.accepted > tally.inputs // 50
    assert tally.refused > tally.inputs // 10
    assert worker.hangs <= tally.inputs // 1000


def test_translations(tmp_path: Path) -> None:
    """The translation of a SentencePiece model runs no foreign library and is checked in this process."""
    path = tmp_path / "in" / "tokenizer.model"
    path.parent.mkdir()

    def read(_raw: bytes) -> bool:
        content = sentencepiece_to_tokenizer_json(path)
        config = sentencepiece_tokenizer_config(path)
        text = json.dumps([content, config], ensure_ascii=False, allow_nan=False)
        assert json.loads(text)[0]["model"]["type"] in ("BPE", "Unigram")
        return True

    tally = campaign.run("sentencepiece json", sentencepieces.make, read, tmp_path, place=path.write_bytes)
    assert tally.accepted > tally.inputs // 10
    assert tally.refused > tally.inputs // 10
