"""Whole conversions of files that someone hostile made: one line, nothing written, nothing waited for, nothing run."""

import base64
import codecs
import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sentencepiece import sentencepiece_model_pb2

from convert import convert_checkpoint, inspect_checkpoint
from convert.words.sentencepiece_json import MAX_PIECE
from convert.words.tokenizer_json import MAX_TOKENS, cleaned_tokenizer
from convert.words.tokenizers import install_tokenizer
from mlx_mixer.errors import MixerError
from tests.convert.files import flat_state, torch_bytes, write_safetensors
from tests.convert.sentencepiece_models import trained
from tests.fuzz.guard import watched
from tests.fuzz.pickles import ATTACKS


def refusal(source: Path, folder: Path, **hints: Any) -> str:
    before = sorted(folder.rglob("*"))
    with pytest.raises(MixerError) as caught:
        convert_checkpoint(source, folder / "out", **hints)
    assert sorted(folder.rglob("*")) == before, "something was left behind"
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500
    return str(caught.value)


def filled(value: float) -> dict[str, Any]:
    state = flat_state()
    state["mixerblocks.1.patch_ff.0.weight"].flat[7] = value
    return state


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_one_number_that_is_none_stops_a_conversion(value: float, tmp_path: Path) -> None:
    source = write_safetensors(tmp_path / "m.safetensors", filled(value))
    assert "NaN or infinite" in refusal(source, tmp_path)


def test_a_file_full_of_nan_is_refused(tmp_path: Path) -> None:
    state = {name: np.full_like(array, np.nan) for name, array in flat_state().items()}
    assert "NaN or infinite" in refusal(write_safetensors(tmp_path / "m.safetensors", state), tmp_path)


def test_numbers_above_the_diagonal_are_looked_at_too(tmp_path: Path) -> None:
    """They are masked and would not be seen in an output; a file that holds them is damaged all the same."""
    state = flat_state()
    state["mixerblocks.0.conv.weight"][0, 5] = np.nan
    refusal(write_safetensors(tmp_path / "m.safetensors", state), tmp_path)


@pytest.mark.parametrize("value", [None, 0.37])
def test_numbers_in_the_other_byte_order_are_refused(value: float | None, tmp_path: Path) -> None:
    state = {
        name: (array if value is None else np.full_like(array, value)).byteswap()
        for name, array in flat_state().items()
    }
    message = refusal(write_safetensors(tmp_path / "m.safetensors", state), tmp_path)
    assert "other byte order" in message


def places(folder: Path) -> dict[str, Path]:
    os.mkfifo(folder / "pipe.safetensors")
    os.mkfifo(folder / "pipe.bin")
    (folder / "folder.safetensors").mkdir()
    (folder / "loop.safetensors").symlink_to("loop.safetensors")
    (folder / "dangling.safetensors").symlink_to("nowhere")
    (folder / "zeros.safetensors").symlink_to("/dev/zero")
    (folder / "terminal.safetensors").symlink_to("/dev/tty")
    (folder / "to_pipe.safetensors").symlink_to("pipe.safetensors")
    (folder / "users.safetensors").symlink_to("/etc/passwd")
    (folder / "run").mkdir()
    os.mkfifo(folder / "run" / "model.safetensors")
    (folder / "indexed").mkdir()
    os.mkfifo(folder / "indexed" / "model.safetensors.index.json")
    names = [*(path.name for path in folder.iterdir()), "/dev/zero", "/dev/null"]
    return {name: folder / name for name in names}


def test_whatever_a_source_is_nothing_waits_for_it(tmp_path: Path) -> None:
    for name, path in places(tmp_path).items():
        for look in (convert_checkpoint, inspect_checkpoint):
            arguments = (path, tmp_path / "out") if look is convert_checkpoint else (path,)
            with pytest.raises(MixerError) as caught, watched(tmp_path, 5):
                look(*arguments)  # type: ignore[operator]  # two functions with different signatures
            assert str(caught.value).isprintable(), name
            assert "root:" not in str(caught.value), "a foreign file was quoted"
    assert not (tmp_path / "out").exists()


def test_a_name_that_no_file_has_is_said(tmp_path: Path) -> None:
    with pytest.raises(MixerError, match="File name too long"):
        inspect_checkpoint(tmp_path / ("c" * 300))
    with pytest.raises(MixerError, match="File name too long"):
        convert_checkpoint(tmp_path / ("c" * 300), tmp_path / "out")


@contextlib.contextmanager
def another_user() -> Iterator[None]:
    """Root reads everything; what a user may not read is tested as a user."""
    if os.getuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_what_may_not_be_read_is_said() -> None:
    # Pytest's own folders are closed to other users.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        write_safetensors(folder / "m.safetensors", flat_state()).chmod(0)
        (folder / "closed").mkdir(mode=0)
        for source in (folder / "m.safetensors", folder / "closed"):
            with another_user(), pytest.raises(MixerError, match="cannot be read: Permission denied"):
                inspect_checkpoint(source)
        (folder / "closed").rmdir()


def test_a_link_to_a_weight_file_is_followed(tmp_path: Path) -> None:
    """The Hub's cache is made of links; only what is at their end is judged."""
    write_safetensors(tmp_path / "blob", flat_state())
    (tmp_path / "model.safetensors").symlink_to("blob")
    assert inspect_checkpoint(tmp_path).verdict == "convertible"


@pytest.mark.parametrize("name", ["reduce os.system", "stack global os.system", "inst", "obj", "newobj", "build twice"])
def test_a_conversion_runs_no_attack(name: str, tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(torch_bytes(b"\x80\x04" + ATTACKS[name] + b".", {}))
    codecs.lookup("cp437")  # of old archives' names; imported when it is first needed
    with watched(tmp_path, 5):
        refusal(tmp_path / "model.bin", tmp_path)
    assert not Path("/tmp/mlx-mixer-fuzz-marker").exists()


def tokenizer(**changes: Any) -> dict[str, Any]:
    return {"model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}, "added_tokens": [], **changes}


ABSURD: dict[str, tuple[Callable[[], Any], str]] = {
    "more tokens than any": (
        lambda: tokenizer(model={"type": "BPE", "vocab": {str(index): index for index in range(MAX_TOKENS + 1)}}),
        "at most",
    ),
    "an id of 2**62": (lambda: tokenizer(added_tokens=[{"id": 1 << 62, "content": "x"}]), "ids up to"),
    "an id below zero": (lambda: tokenizer(added_tokens=[{"id": -1, "content": "x"}]), "with the id"),
    "an id that is a fraction": (lambda: tokenizer(added_tokens=[{"id": 0.5, "content": "x"}]), "with the id"),
    "a chain without end": (
        lambda: tokenizer(normalizer={"type": "Sequence", "normalizers": [{"type": "NFC"}] * 10_000}),
        "chains 10000",
    ),
    "chains in chains": (
        lambda: tokenizer(normalizer=nested(200)),
        "chains",
    ),
    "a component of another library": (lambda: tokenizer(pre_tokenizer={"type": "Python"}), "not supported"),
}


def nested(depth: int) -> dict[str, Any]:
    inner: dict[str, Any] = {"type": "NFC"}
    for _ in range(depth):
        inner = {"type": "Sequence", "normalizers": [inner] * 2 if depth < 12 else [inner, {"type": "NFC"}]}
    return inner


@pytest.mark.parametrize("name", ABSURD)
def test_absurd_tokenizers_are_refused_before_the_library_sees_them(name: str) -> None:
    make, message = ABSURD[name]
    content = make()
    with watched(None, 3), pytest.raises(MixerError, match=message):
        cleaned_tokenizer(content, 1000)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer.model"])
def test_a_tokenizer_larger_than_any_is_not_read(name: str, tmp_path: Path) -> None:
    with (tmp_path / name).open("wb") as file:
        file.truncate(1 << 40)  # all of it hole
    (tmp_path / "out").mkdir()
    with pytest.raises(MixerError, match="larger than"):
        install_tokenizer(tmp_path / name, tmp_path / "out", 1000)


def changed_model(change: Callable[[Any], object]) -> bytes:
    model = sentencepiece_model_pb2.ModelProto.FromString(trained("bpe"))
    change(model)
    return bytes(model.SerializeToString())


MODELS: dict[str, tuple[Callable[[Any], object], str]] = {
    "a piece of a million letters": (
        lambda model: model.pieces.add(piece="a" * 1_000_000, score=-1.0, type=1),
        f"longer than {MAX_PIECE}",
    ),
    "an empty piece": (lambda model: model.pieces.add(piece="", score=-1.0, type=1), "empty"),
    "a score that is no number": (lambda model: setattr(model.pieces[300], "score", float("nan")), "no number"),
    "an infinite score": (lambda model: setattr(model.pieces[300], "score", float("-inf")), "no number"),
    "a table of nonsense": (
        lambda model: setattr(model.normalizer_spec, "precompiled_charsmap", base64.b64decode("/////w==") * 99),
        "tokenizer.model",
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_absurd_sentencepiece_models_are_refused(name: str, tmp_path: Path) -> None:
    change, message = MODELS[name]
    (tmp_path / "tokenizer.model").write_bytes(changed_model(change))
    (tmp_path / "out").mkdir()
    with pytest.raises(MixerError, match=message):
        install_tokenizer(tmp_path / "tokenizer.model", tmp_path / "out", 1_000_000)


def test_nested_json_ends_in_one_line_wherever_it_stands(tmp_path: Path) -> None:
    bomb = b'{"weight_map":' + b"[" * 3_000_000
    (tmp_path / "out").mkdir()
    for name in ("model.safetensors.index.json", "tokenizer.json"):
        (tmp_path / name).write_bytes(bomb)
    with pytest.raises(MixerError, match="not valid JSON"):
        inspect_checkpoint(tmp_path)
    with pytest.raises(MixerError, match="not valid JSON"):
        install_tokenizer(tmp_path / "tokenizer.json", tmp_path / "out", 1000)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "b.safetensors"}}))
