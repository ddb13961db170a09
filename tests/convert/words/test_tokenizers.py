"""Foreign tokenizers are taken in by a child process; whatever they do to it, the parent says one line."""

import base64
import json
import random
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from mlx_lm.tokenizer_utils import load as load_wrapped
from sentencepiece import sentencepiece_model_pb2
from tokenizers import Tokenizer

import convert.words.tokenizers
from convert import convert_checkpoint, sentencepiece_to_tokenizer_json
from convert.words.tokenizers import SpecialIds, find_tokenizer, install_tokenizer
from mlx_mixer.checkpoint import load
from mlx_mixer.errors import ConversionError, MixerError, ModelNotFoundError
from tests.convert.files import flat_state, write_safetensors
from tests.convert.sentencepiece_models import texts, trained
from tests.tiny import byte_tokenizer


def write_json(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def byte_json() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(byte_tokenizer().to_str())
    return content


def install(source: Path, folder: Path, vocab_size: int = 1000) -> SpecialIds:
    out = folder / "out"
    out.mkdir(exist_ok=True)
    return install_tokenizer(source, out, vocab_size)


def refusal(source: Path, folder: Path, vocab_size: int = 1000) -> str:
    with pytest.raises(ConversionError) as caught:
        install(source, folder, vocab_size)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_tokenizer_json_keeps_its_ids(tmp_path: Path) -> None:
    content = byte_json() | {"padding": {"strategy": {"Fixed": 1 << 30}, "direction": "Right", "pad_id": 0}}
    ids = install(write_json(tmp_path / "tokenizer.json", content), tmp_path)
    assert ids == SpecialIds(bos=None, eos=256, unk=None, pad=None)
    kept = load_wrapped(tmp_path / "out")
    assert kept.eos_token_ids == {256}
    for text in texts()[:100]:
        assert kept.encode(text) == byte_tokenizer().encode(text).ids


def test_special_tokens_are_read_from_the_configuration_beside_it(tmp_path: Path) -> None:
    content = byte_json()
    content["added_tokens"] += [dict(content["added_tokens"][0], id=257, content="<stop>")]
    source = write_json(tmp_path / "tokenizer.json", content)
    settings = {
        "eos_token": {"content": "<stop>"},
        "pad_token": "<eos>",
        "bos_token": "<absent>",
        "auto_map": {"x": "y"},
    }
    write_json(tmp_path / "tokenizer_config.json", settings)
    assert install(source, tmp_path) == SpecialIds(bos=None, eos=257, unk=None, pad=256)
    written = json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())
    assert written["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert "auto_map" not in written


def test_a_sentencepiece_model_is_translated_and_kept(tmp_path: Path) -> None:
    source = tmp_path / "some.model"
    source.write_bytes(trained("bpe"))
    assert install(source, tmp_path) == SpecialIds(bos=1, eos=2, unk=0, pad=None)
    assert (tmp_path / "out" / "tokenizer.model").read_bytes() == trained("bpe")
    written = json.loads((tmp_path / "out" / "tokenizer.json").read_text(encoding="utf-8"))
    assert written == sentencepiece_to_tokenizer_json(source)
    kept = load_wrapped(tmp_path / "out")
    original = sentencepiece.SentencePieceProcessor(model_proto=trained("bpe"))
    for text in texts()[:100]:
        assert kept.encode(text) == original.encode(text)


def split(pattern: str, behavior: str) -> dict[str, Any]:
    return {"pre_tokenizer": {"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": False}}


def table(raw: bytes) -> dict[str, Any]:
    return {"normalizer": {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(raw).decode()}}


def test_a_translation_that_gives_other_ids_is_refused(tmp_path: Path) -> None:
    """Where all merges rank alike SentencePiece goes from left to right, which a tokenizer.json cannot say."""
    model = sentencepiece_model_pb2.ModelProto.FromString(trained("bpe"))
    for piece in model.pieces:
        piece.score = 0
    (tmp_path / "tokenizer.model").write_bytes(model.SerializeToString())
    assert "does not give SentencePiece's ids" in refusal(tmp_path / "tokenizer.model", tmp_path)


BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "a table that aborts the library": (table(b"\xff" * 64), "crash"),
    "a table that makes the library panic": (table(b""), "crash"),
    "a wrong pattern": (split("(", "Isolated"), "parenthesis"),
    "an unknown behaviour": (split("a", "x"), "unknown variant"),
    "merges of nothing": ({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [["x", "y"]]}}, "out of vocabulary"),
    "many steps": ({"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}] * 30}}, "chains 30"),
    "an id beyond the embeddings": ({"added_tokens": [{"id": 1000, "content": "<x>"}]}, "ids up to 1000"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_tokenizer_is_refused(name: str, tmp_path: Path) -> None:
    change, message = BROKEN[name]
    assert message in refusal(write_json(tmp_path / "tokenizer.json", byte_json() | change), tmp_path)


def test_what_the_library_says_of_a_file_is_short_and_cannot_reach_a_terminal(tmp_path: Path) -> None:
    """It quotes what it does not understand, whatever that is."""
    content = byte_json() | split("a", "\x1b]0;owned\x07" + "x" * 5000)
    message = refusal(write_json(tmp_path / "tokenizer.json", content), tmp_path)
    assert "unknown variant" in message
    assert message.isprintable()
    assert len(message) < 400


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"\xff", b'{"model":' + b"[" * 9000, b'{"a":1,"a":2}'],
    ids=["nothing", "a list", "no text", "deep nesting", "a key twice"],
)
def test_what_is_no_tokenizer_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes(content)
    assert "tokenizer.json" in refusal(tmp_path / "tokenizer.json", tmp_path)
    (tmp_path / "tokenizer.model").write_bytes(content)
    assert "tokenizer.model" in refusal(tmp_path / "tokenizer.model", tmp_path)


def test_a_tokenizer_that_never_ends_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight steps are allowed; these make every character a hundred, eight times over."""
    grow = {"type": "Replace", "pattern": {"Regex": "."}, "content": "ab" * 50}
    source = write_json(
        tmp_path / "tokenizer.json", byte_json() | {"normalizer": {"type": "Sequence", "normalizers": [grow] * 8}}
    )
    monkeypatch.setattr(convert.words.tokenizers, "TIMEOUT_SECONDS", 3)
    assert "busy for over 3 seconds" in refusal(source, tmp_path)


def test_mutated_tokenizers_never_reach_the_parent(tmp_path: Path) -> None:
    """Damage of any kind ends as one of our errors; the Rust library runs in the child alone."""
    raw = json.dumps(byte_json()).encode()
    model = trained("bpe")
    for seed in range(10):
        generator = random.Random(seed)
        name, content = ("tokenizer.json", bytearray(raw)) if seed % 2 else ("tokenizer.model", bytearray(model))
        for _ in range(4):
            content[generator.randrange(len(content))] = generator.randrange(256)
        (tmp_path / name).write_bytes(content)
        try:
            install(tmp_path / name, tmp_path)
        except MixerError as error:
            line = str(error)
        else:
            line = ""
        assert "\n" not in line


def test_the_current_folder_is_not_searched_for_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tokenizers.py").write_text(f"open({str(tmp_path / 'marker')!r}, 'w')")
    monkeypatch.chdir(tmp_path)
    install(write_json(tmp_path / "tokenizer.json", byte_json()), tmp_path)
    assert not (tmp_path / "marker").exists()


def test_a_tokenizer_is_looked_for_beside_the_weights_and_in_the_run(tmp_path: Path) -> None:
    step, run = tmp_path / "step", tmp_path / "run"
    step.mkdir()
    run.mkdir()
    assert find_tokenizer(None, [step, run]) is None
    (run / "tokenizer.model").touch()
    assert find_tokenizer(None, [step, run]) == run / "tokenizer.model"
    (step / "tokenizer.model").touch()
    assert find_tokenizer(None, [step, run]) == step / "tokenizer.model"
    (step / "tokenizer.json").touch()
    assert find_tokenizer(None, [step, run]) == step / "tokenizer.json"
    assert find_tokenizer(run, [step]) == run / "tokenizer.model"
    assert find_tokenizer(run / "tokenizer.model", [step]) == run / "tokenizer.model"
    with pytest.raises(ModelNotFoundError, match="no tokenizer at"):
        find_tokenizer(tmp_path, [step])


def test_a_checkpoint_with_a_tokenizer_becomes_a_complete_model(tmp_path: Path) -> None:
    source = tmp_path / "checkpoint-10"
    source.mkdir()
    write_safetensors(source / "model.safetensors", flat_state(vocab=700))
    (source / "tokenizer.model").write_bytes(trained("bpe"))
    report = convert_checkpoint(tmp_path, tmp_path / "out", padding_side="left")
    assert (report.config.bos_token_id, report.config.eos_token_id, report.config.pad_token_id) == (1, 2, 2)
    assert report.warnings == ("the padding id is taken to be 2; if not, give the hint pad_token_id (--pad-token-id)",)
    _, tokenizer = load(tmp_path / "out")
    assert tokenizer.decode(tokenizer.encode("a text")) == "a text"
    assert Tokenizer.from_file(str(tmp_path / "out" / "tokenizer.json")).get_vocab_size() == 700


def test_a_tokenizer_that_is_too_large_stops_the_conversion(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "m.safetensors", flat_state(vocab=699))
    (tmp_path / "tokenizer.model").write_bytes(trained("bpe"))
    with pytest.raises(ConversionError, match="ids up to 699, but the model has 699 embeddings"):
        convert_checkpoint(tmp_path / "m.safetensors", tmp_path / "out")
    assert not (tmp_path / "out").exists()
