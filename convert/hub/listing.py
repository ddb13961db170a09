"""The files of a repository: which may be named, and which of them a model needs."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from convert.foreign import parse_json
from convert.hub.reference import is_commit
from mlx_mixer.errors import ConversionError, HubError
from mlx_mixer.foreign import quoted

MAX_FILES = 100_000
MAX_FILE_BYTES = 1 << 42

SAFETENSORS, SAFETENSORS_INDEX = "model.safetensors", "model.safetensors.index.json"
TORCH, TORCH_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
CONFIG = "config.json"
SMALL_FILES = (
    CONFIG,
    "generation_config.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "words.txt",
    "chat_template.jinja",
)
"""Beside weights, only these are fetched: whatever else is there, code above all, stays where it is."""

_STEP_FOLDER = re.compile(r"checkpoint-(\d{1,12})/")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_WEIGHT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}\.(safetensors|bin)")
_DRIVE = re.compile(r"[A-Za-z]:")


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repository at one commit.

    Attributes:
        name: Path within the repository, with `/`.
        size: In bytes.
        digest: SHA-256 of a file kept in large-file storage, else git's SHA-1 of a blob with its content.
    """

    name: str
    size: int
    digest: str

    @property
    def is_large(self) -> bool:
        """Whether it is kept in large-file storage."""
        return len(self.digest) == 64


@dataclass(frozen=True)
class Listing:
    """A repository at one commit.

    Attributes:
        repo: `owner/name`.
        commit: 40 hex digits.
        files: All of them, by name.
        is_gated: Whether its owner asks for consent to conditions.
        license: What its card names; None if it names none.
    """

    repo: str
    commit: str
    files: Mapping[str, RemoteFile]
    is_gated: bool = False
    license: str | None = None


@dataclass(frozen=True)
class Selection:
    """What a model needs of a repository.

    Attributes:
        folder: Where its files are: "" or "checkpoint-STEP/".
        small: Configuration and tokenizer.
        weights: Weight files, or the index that names them (`index` then tells).
        index: The index of weights in several files.
    """

    folder: str
    small: tuple[RemoteFile, ...]
    weights: tuple[RemoteFile, ...]
    index: RemoteFile | None = None


def checked_file(name: object, size: object, digest: object) -> RemoteFile:
    """Build a `RemoteFile` from what the Hub says about it.

    Raises:
        HubError: If the name could leave the folder it belongs in, or size or digest are not of their form.
    """
    if not isinstance(name, str) or not _is_safe(name):
        raise HubError(
            f"the repository lists a file named {quoted(name)}, which is not a safe name; nothing was fetched"
        )
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= MAX_FILE_BYTES:
        raise HubError(f"the Hub gives {quoted(size)} as the size of {quoted(name)}")
    if not isinstance(digest, str) or not is_digest(digest):
        raise HubError(f"the Hub gives {quoted(digest)} as the hash of {quoted(name)}; expected 40 or 64 hex digits")
    return RemoteFile(name, size, digest)


def is_digest(text: str) -> bool:
    """Whether a text has the form of a SHA-1 or SHA-256 in lower-case hex."""
    return is_commit(text) or _SHA256.fullmatch(text) is not None


def select_files(files: Mapping[str, RemoteFile]) -> Selection:
    """Choose what a model needs; safetensors are preferred to PyTorch's own files.

    Weights in the root folder come first, then those of the last `checkpoint-STEP`.

    Raises:
        ConversionError: If there are no weights; the message says what there is.
    """
    for folder in ["", *_step_folders(files)]:
        small = tuple(files[folder + name] for name in SMALL_FILES if folder + name in files)
        for single, index in ((SAFETENSORS, SAFETENSORS_INDEX), (TORCH, TORCH_INDEX)):
            if folder + single in files:
                return Selection(folder, small, (files[folder + single],))
            if folder + index in files:
                return Selection(folder, small, (), files[folder + index])
        lone = [name for name in files if name.startswith(folder) and _is_lone_weights(name[len(folder) :])]
        if len(lone) == 1:
            return Selection(folder, small, (files[lone[0]],))
        if lone and not folder:
            some = ", ".join(sorted(lone)[:4])
            raise ConversionError(f"the repository holds {len(lone)} weight files ({some}, ...), and no index of them")
    kinds = sorted({name.rpartition(".")[2] for name in files if "." in name})[:6]
    found = f"it holds .{', .'.join(kinds)} files" if kinds else "it is empty"
    raise ConversionError(f"the repository holds no {SAFETENSORS} and no {TORCH}; {found}")


def with_shards(selection: Selection, index: bytes, files: Mapping[str, RemoteFile]) -> Selection:
    """Complete a selection with the files that its index names.

    Raises:
        ConversionError: If the index is damaged, or names files that are not weights beside it.
    """
    assert selection.index is not None, "only called for weights in several files"
    content = parse_json(index, selection.index.name)
    listed = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(listed, dict) or not listed:
        raise ConversionError(f"{selection.index.name} holds no weight_map")
    for name in listed.values():
        if not isinstance(name, str) or _WEIGHT_NAME.fullmatch(name) is None:
            raise ConversionError(f"{selection.index.name} names {quoted(name)}, which is no weight file beside it")
    names = [selection.folder + name for name in sorted(set(listed.values()))]
    missing = [name for name in names if name not in files]
    if missing:
        raise ConversionError(f"{selection.index.name} names {missing[0]}, which the repository lacks")
    return Selection(selection.folder, selection.small, tuple(files[name] for name in names), selection.index)


def total_bytes(files: Iterable[RemoteFile]) -> int:
    """Size of several files together."""
    return sum(file.size for file in files)


def _is_safe(name: str) -> bool:
    parts = name.split("/")
    is_relative = all(part and part not in (".", "..") and len(part) <= 255 for part in parts)
    return is_relative and name.isprintable() and "\\" not in name and not _DRIVE.match(name) and len(name) <= 1024


def _step_folders(files: Iterable[str]) -> list[str]:
    steps = {match[0]: int(match[1]) for name in files if (match := _STEP_FOLDER.match(name))}
    return sorted(steps, key=lambda folder: steps[folder], reverse=True)


def _is_lone_weights(name: str) -> bool:
    return name.endswith(".safetensors") and _WEIGHT_NAME.fullmatch(name) is not None
