"""Where the tensors of a checkpoint are: a run, a checkpoint folder, one file or several with an index.

Whatever the container, the rest of the converter sees one `Checkpoint`: tensors under the names that the bare module
would have.
"""

import contextlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from convert.foreign import open_regular, parse_json
from convert.sources.lookalikes import (
    file_format,
    is_other_file,
    refuse_by_name,
    refuse_folder_without_weights,
    refuse_split_folder,
)
from convert.sources.safetensors_file import SafetensorsFile
from convert.sources.torch_file import TorchFile
from convert.sources.weight_file import (
    Float32Array,
    TensorInfo,
    WeightFile,
)
from mlx_mixer.errors import ConversionError, ModelNotFoundError
from mlx_mixer.foreign import MAX_DESCRIPTION_BYTES, MAX_NAME_LENGTH, quoted

WEIGHT_NAMES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
INDEX_SUFFIX = ".index.json"
WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth")
SHARD = re.compile(r"-\d{5}-of-\d{5}\.")
STEP_FOLDER = re.compile(r"(?:checkpoint|chkpt)-(\d+)")

# Wrappers put their attribute's name before every key: DataParallel, torch.compile, and hand-made modules.
WRAPPERS = ("module.", "_orig_mod.")
WHOLE_MODEL_WRAPPER = "model."


@dataclass(frozen=True)
class Location:
    """Weight files of one checkpoint.

    Attributes:
        paths: The files.
        listed: File name of every tensor, as an index states it; None without an index.
        notes: What a user should know about the choice.
    """

    paths: tuple[Path, ...]
    listed: Mapping[str, str] | None = None
    notes: tuple[str, ...] = ()


class Checkpoint:
    """The tensors of one checkpoint, open for reading; a context manager.

    Attributes:
        files: The open files.
        tensors: Element type and shape by plain name.
        is_wrapped: Whether the model was an attribute called "model" of another module.
        metadata: What the writers of the files noted.
        notes: What a user should know about how the files were chosen.
    """

    def __init__(self, files: tuple[WeightFile, ...], location: Location) -> None:
        self.files = files
        self.notes = location.notes
        self.metadata = {key: value for file in files for key, value in file.metadata.items()}
        homes = _homes(files, location.listed)
        self._homes = {plain: (homes[stored], stored) for plain, stored in plain_names(homes).items()}
        self.is_wrapped = any(
            f".{WHOLE_MODEL_WRAPPER}" in f".{stored.removesuffix(plain)}" for plain, (_, stored) in self._homes.items()
        )
        self.tensors: dict[str, TensorInfo] = {
            plain: file.tensors[stored] for plain, (file, stored) in self._homes.items()
        }

    def read(self, name: str) -> Float32Array:
        """Read a tensor by its plain name, as float32."""
        file, stored = self._homes[name]
        return file.read(stored)

    def are_equal(self, name: str, other: str) -> bool:
        """Whether two tensors of one shape hold the same numbers; both are read piece by piece, up to a difference."""
        (file, stored), (other_file, other_stored) = self._homes[name], self._homes[other]
        pairs = zip(file.pieces(stored), other_file.pieces(other_stored), strict=True)
        return all(np.array_equal(piece, other_piece) for piece, other_piece in pairs)

    def plain_names_in(self, file: WeightFile) -> dict[str, str]:
        """The plain name of every tensor of a file, by its stored one, in the file's order."""
        plain = {stored: name for name, (home, stored) in self._homes.items() if home is file}
        return {stored: plain[stored] for stored in file.tensors}

    def are_same(self, name: str, other: str) -> bool:
        """Whether two tensors are known, without reading them, to be the same stored numbers."""
        (file, stored), (other_file, other_stored) = self._homes[name], self._homes[other]
        return isinstance(file, TorchFile) and file is other_file and file.are_same(stored, other_stored)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        for file in self.files:
            file.close()


def open_checkpoint(source: Path) -> Checkpoint:
    """Find, open and check the weight files of a source.

    Args:
        source: A run folder, a checkpoint folder, a weight file or a shard index.

    Raises:
        ModelNotFoundError: If there is nothing there.
        ConversionError: If it cannot be read, holds no weights, or they are damaged.
        UnsupportedModelError: If it is a distributed checkpoint.
    """
    try:
        location = locate(source)
    except OSError as error:
        raise ConversionError(f"{source} cannot be read: {error.strerror}") from error
    with contextlib.ExitStack() as opened:
        files = []
        for path in location.paths:
            file: WeightFile = SafetensorsFile(path) if file_format(path) == "safetensors" else TorchFile(path)
            opened.callback(file.close)
            files.append(file)
        checkpoint = Checkpoint(tuple(files), location)
        opened.pop_all()
    return checkpoint


def locate(source: Path) -> Location:
    """Find the weight files that a source means; see `open_checkpoint`."""
    if not source.exists():
        advice = ""
        if re.fullmatch(r"[\w.-]+/[\w.-]+", str(source)):
            advice = f"; for a Hub repository, first run: hf download {source} --local-dir DIR"
        raise ModelNotFoundError(f"there is no file or folder {source}{advice}")
    if not source.is_dir():
        return _locate_index(source) if source.name.endswith(INDEX_SUFFIX) else Location((source,))
    for name in WEIGHT_NAMES:
        if (source / name).exists():
            return locate(source / name)
    if steps := _step_folders(source):
        return _locate_latest(steps)
    refuse_split_folder(source)
    candidates = [
        path for path in sorted(source.iterdir()) if path.suffix in WEIGHT_SUFFIXES and not is_other_file(path)
    ]
    if len(candidates) == 1:
        return Location((candidates[0],))
    if any(SHARD.search(path.name) for path in candidates):
        raise ConversionError(f"{source} holds shards, but not the {INDEX_SUFFIX} that lists them; download it too")
    if candidates:
        names = ", ".join(path.name for path in candidates[:4])
        raise ConversionError(f"{source} holds {len(candidates)} weight files ({names}, ...); name the one to convert")
    refuse_folder_without_weights(source)
    raise ConversionError(
        f"{source} holds no weights; expected {WEIGHT_NAMES[0]}, {WEIGHT_NAMES[2]} or checkpoint-STEP"
    )


def plain_names(names: Iterable[str]) -> dict[str, str]:
    """Map the names that the bare module has to the stored ones.

    Raises:
        ConversionError: If two stored names become the same.
    """
    plain = {name: name for name in names}
    while True:
        shorter = [_without_wrapper(name) for name in plain]
        if shorter == list(plain) and plain and all(name.startswith(WHOLE_MODEL_WRAPPER) for name in plain):
            shorter = [name.removeprefix(WHOLE_MODEL_WRAPPER) for name in plain]
        if shorter == list(plain):
            return plain
        renamed = dict(zip(shorter, plain.values(), strict=True))
        if len(renamed) != len(plain):
            raise ConversionError("two tensors have the same name once wrapper prefixes are removed")
        plain = renamed


def _without_wrapper(name: str) -> str:
    for wrapper in WRAPPERS:
        name = name.removeprefix(wrapper)
    return name


def _step_folders(run: Path) -> list[Path]:
    folders = [path for path in run.iterdir() if STEP_FOLDER.fullmatch(path.name) and path.is_dir()]
    return sorted(folders, key=lambda path: int(path.name.rpartition("-")[2]), reverse=True)


def _locate_latest(steps: list[Path]) -> Location:
    for folder in steps:
        if any((folder / name).exists() for name in WEIGHT_NAMES):
            found = locate(folder)
            skipped = f"{steps[0].name} holds no weights; {folder.name} was used"
            return Location(found.paths, found.listed, () if folder == steps[0] else (skipped,))
    return locate(steps[0])


def _locate_index(index: Path) -> Location:
    refuse_by_name(index)
    with open_regular(index) as file:
        raw = file.read(MAX_DESCRIPTION_BYTES + 1)
    if len(raw) > MAX_DESCRIPTION_BYTES:
        raise ConversionError(f"{index.name} is larger than {MAX_DESCRIPTION_BYTES:,} bytes")
    content = parse_json(raw, index.name)
    listed = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(listed, dict) or not listed:
        raise ConversionError(f"{index.name} holds no weight_map")
    for name in listed.values():
        if not _is_weight_name(name):
            raise ConversionError(f"{index.name} names {quoted(name)}, which is no weight file beside it")
    names = sorted(set(listed.values()))
    missing = [name for name in names if not (index.parent / name).exists()]
    if missing:
        raise ConversionError(f"{index.name} names {missing[0]}, which is missing; download it too")
    return Location(tuple(index.parent / name for name in names), listed)


def _is_weight_name(name: object) -> bool:
    """Whether an index may name this file: it is foreign, so only a printable name of a weight file beside itself."""
    return (
        isinstance(name, str)
        and Path(name).name == name
        and "\\" not in name
        and name.isprintable()
        and len(name) <= MAX_NAME_LENGTH
        and name.endswith(WEIGHT_SUFFIXES)
    )


def _homes(files: tuple[WeightFile, ...], listed: Mapping[str, str] | None) -> dict[str, WeightFile]:
    homes: dict[str, WeightFile] = {}
    for file in files:
        for name in file.tensors:
            if name in homes:
                raise ConversionError(f"{quoted(name)} is in {homes[name].path.name} and in {file.path.name}")
            homes[name] = file
    if listed is None:
        return homes
    for name in listed.keys() | homes.keys():
        if name not in homes or listed.get(name) != homes[name].path.name:
            raise ConversionError(
                f"{quoted(name)} is not in the shard that the index names; the download is incomplete"
            )
    return homes
