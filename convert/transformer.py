"""Transformers, which mlx-lm converts, in a child process.

mlx-lm sees a folder with nothing in it but weight files whose headers were checked here, configuration and tokenizer:
no Python file of the source, and no weight file that its index does not name. Nothing is looked up on a network.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from convert.foreign import open_regular, parse_json
from convert.hub.kinds import mlx_lm_runs
from convert.model_folder import folder_for
from convert.report import ConversionReport, TransformerConfig
from convert.room import require_disk
from convert.sources.containers import Checkpoint
from convert.sources.lookalikes import UnconvertibleError
from convert.sources.safetensors_file import SafetensorsFile
from convert.sources.storage import Storage
from convert.sources.weight_file import FLOAT_BYTES
from mlx_mixer.checkpoint import CONFIG_NAME
from mlx_mixer.errors import ConversionError, ModelNotFoundError
from mlx_mixer.foreign import MAX_DESCRIPTION_BYTES, quoted
from mlx_mixer.stored_weights import WEIGHTS_NAME

# What a tokenizer may consist of. `.py` files are left behind.
WORD_FILES = re.compile(
    r"(tokenizer|special_tokens_map|added_tokens|vocab|merges|generation_config|chat_template)[\w.-]*\."
    r"(json|jsonl|txt|model|tiktoken|jinja)"
)
MAX_WORD_FILE_BYTES = 256 << 20
# An absurd config must not take the machine with it; a conversion of any real model is done in hours.
TIMEOUT_SECONDS = 12 * 3600


def transformer_type(source: Path, refusal: UnconvertibleError) -> str | None:
    """The model type of a source that was refused because it is no mixer, if mlx-lm runs it.

    Args:
        source: What the user named.
        refusal: Why it was refused.
    """
    if refusal.family not in (None, "transformer"):
        return None
    try:
        model_type = _config(source).get("model_type")
    except (ModelNotFoundError, ConversionError):
        return None
    return model_type if isinstance(model_type, str) and mlx_lm_runs(model_type) else None


def convert_transformer(
    checkpoint: Checkpoint, source: Path, out: Path, model_type: str, storage: Storage, *, verify: bool
) -> ConversionReport:
    """Let mlx-lm convert a transformer.

    Args:
        checkpoint: Its open files, whose headers were checked.
        source: What the user named.
        out: See `convert.convert_checkpoint`.
        model_type: Of its config.json.
        storage: How weights are to be stored.
        verify: Whether the result is loaded and run once.

    Raises:
        ConversionError: If mlx-lm cannot convert it, or it would need code of its own to run.
    """
    started = time.perf_counter()
    config = _config(source)
    _refuse_code(config, source)
    if not all(isinstance(file, SafetensorsFile) for file in checkpoint.files):
        raise ConversionError(
            f"{source.name} is a transformer in PyTorch's format; mlx-lm reads .safetensors only: "
            "download those, or save it with safe_serialization=True"
        )
    require_disk(out, _predicted_bytes(checkpoint, storage))
    with folder_for(out) as folder, tempfile.TemporaryDirectory(prefix="mlx-mixer-") as name:
        stage = Path(name) / "source"
        _stage(checkpoint, config, source, stage)
        made = folder / "model"
        task = {
            "source": str(stage),
            "out": str(made),
            "bits": storage.bits,
            "dtype": storage.dtype,
            "verify": verify,
        }
        parameters = _run(task, source.name)
        for file in made.iterdir():
            file.rename(folder / file.name)
        made.rmdir()
        written = sum(file.stat().st_size for file in folder.glob(WEIGHTS_NAME.replace(".", "*.")))
        final = _config(folder)
    return ConversionReport(
        family=f"mlx-lm: {model_type}",
        config=TransformerConfig(final),
        out=out,
        parameters=parameters,
        files=tuple(file.path for file in checkpoint.files),
        source_bytes=sum(file.path.stat().st_size for file in checkpoint.files),
        bytes=written,
        verification=None,
        warnings=(*checkpoint.notes, "a transformer: mlx-lm converted it, and mlx-lm runs it"),
        seconds=time.perf_counter() - started,
    )


def _config(source: Path) -> Mapping[str, Any]:
    path = (source if source.is_dir() else source.parent) / CONFIG_NAME
    with open_regular(path) as file:
        raw = file.read(MAX_DESCRIPTION_BYTES + 1)
    if len(raw) > MAX_DESCRIPTION_BYTES:
        raise ConversionError(f"{path.name} is larger than {MAX_DESCRIPTION_BYTES:,} bytes")
    values = parse_json(raw, path.name)
    if not isinstance(values, dict):
        raise ConversionError(f"{path.name} is not a table of settings")
    return values


def _refuse_code(config: Mapping[str, Any], source: Path) -> None:
    if "model_file" in config:
        raise ConversionError(
            f"{source.name} runs only with code that comes with it (model_file is {quoted(config['model_file'])}), "
            "and no code of a checkpoint is run; give a model that mlx-lm itself knows"
        )


def _predicted_bytes(checkpoint: Checkpoint, storage: Storage) -> int:
    """Size of the result; scales and offsets of groups of 64 add a half bit for each value."""
    floats = [info for info in checkpoint.tensors.values() if info.dtype in FLOAT_BYTES]
    if storage.bits is not None:
        return sum(info.size for info in floats) * (2 * storage.bits + 1) // 16
    width = {None: 0, "float32": 4}.get(storage.dtype, 2)
    return sum(info.size * (width or FLOAT_BYTES[info.dtype]) for info in floats)


def _stage(checkpoint: Checkpoint, config: Mapping[str, Any], source: Path, stage: Path) -> None:
    stage.mkdir()
    # "auto_map" names code for those who have no code of their own for this type.
    known = {key: value for key, value in config.items() if key != "auto_map"}
    (stage / CONFIG_NAME).write_text(json.dumps(known), encoding="utf-8")
    beside = source if source.is_dir() else source.parent
    count = len(checkpoint.files)
    for number, file in enumerate(checkpoint.files, 1):
        (stage / f"model-{number:05}-of-{count:05}.safetensors").symlink_to(file.path.resolve())
    for path in beside.iterdir():
        if WORD_FILES.fullmatch(path.name):
            with open_regular(path) as words, (stage / path.name).open("wb") as copy:
                if os.fstat(words.fileno()).st_size > MAX_WORD_FILE_BYTES:
                    raise ConversionError(f"{path.name} is larger than {MAX_WORD_FILE_BYTES:,} bytes")
                shutil.copyfileobj(words, copy)


def _run(task: Mapping[str, Any], name: str) -> int:
    """Run the child and return the number of the model's parameters."""
    # "-P" and a path of our own: a file named mlx_lm.py in the current folder must not be run.
    command = [sys.executable, "-P", "-m", "convert.transformer_child", json.dumps(task)]
    root = str(Path(__file__).resolve().parents[1])
    offline = dict.fromkeys(("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"), "1")
    try:
        child = subprocess.run(
            command,
            capture_output=True,
            check=False,
            timeout=TIMEOUT_SECONDS,
            env={**os.environ, **offline, "PYTHONPATH": root, "TOKENIZERS_PARALLELISM": "false"},
        )
    except subprocess.TimeoutExpired as error:
        raise ConversionError(f"mlx-lm did not finish with {name} in {TIMEOUT_SECONDS // 3600} hours") from error
    try:
        result = json.loads(child.stdout)
    except ValueError as error:
        raise ConversionError(f"{name} makes mlx-lm crash (status {child.returncode})") from error
    if "error" in result:
        raise ConversionError(f"mlx-lm cannot convert {name}: {result['error']}")
    return int(result["parameters"])
