"""Will it fit, and will it work: answered in plain words before the weights of a repository are fetched."""

import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from convert.hub.kinds import Contents

SPARE_DISK_BYTES = 200_000_000
"""Left free on the disk whatever is fetched: a full disk stops more than a download."""

MEMORY_SHARE = 0.75
"""Of the machine's memory, what a model may take; macOS wires about this much for the GPU at most."""

FLOAT32_BYTES = 4
WORKING_FACTOR = 1.2
"""Memory of a running model beside its weights: the decode state, and arrays in between."""


@dataclass(frozen=True)
class Room:
    """What the machine offers, in bytes; None where it does not say.

    Attributes:
        cache_disk: Free where downloads go.
        models_disk: Free where converted models go.
        same_disk: Whether those are one disk.
        memory: Of the whole machine.
    """

    cache_disk: int
    models_disk: int
    same_disk: bool
    memory: int | None


@dataclass(frozen=True)
class Outlook:
    """What would happen if a repository was fetched.

    Attributes:
        repo: `owner/name`.
        commit: What its revision stands for.
        kind: See `convert.hub.kinds.Contents`.
        family: Upstream family, or model type.
        contents: What it is, in words.
        license: What its card names.
        is_gated: Whether its owner asks for consent to conditions.
        files: Names and sizes of what would be fetched.
        download_bytes: Still to be fetched; less than the files' sizes where some is in the cache.
        total_bytes: Of those files together.
        converted_bytes: What the converted model takes on disk; 0 if nothing is converted.
        memory_bytes: What the model takes while it runs, about.
        free_bytes: Disk space that is free.
        machine_bytes: Memory of this machine; None if it does not say.
        obstacles: Why it would not work, one sentence each; empty if nothing is in the way.
        works: Whether it is of a kind that runs here, and may be fetched.
        fits: Whether disk and memory suffice.
    """

    repo: str
    commit: str
    kind: str
    family: str | None
    contents: str
    license: str | None
    is_gated: bool
    files: tuple[tuple[str, int], ...]
    download_bytes: int
    total_bytes: int
    converted_bytes: int
    memory_bytes: int
    free_bytes: int
    machine_bytes: int | None
    obstacles: tuple[str, ...]
    works: bool
    fits: bool

    @property
    def words(self) -> str:
        """Two or three plain sentences."""
        download, total = size_words(self.download_bytes), size_words(self.total_bytes)
        still = "" if download == total else f" ({total} in all)"
        get = f"{download} to download{still}" if self.download_bytes else "all of it is here"
        disk = f", {size_words(self.converted_bytes)} more once installed" if self.converted_bytes else ""
        needs = f"needs about {size_words(self.memory_bytes)} of memory"
        verdict = "It fits and should work." if not self.obstacles else " ".join(self.obstacles)
        return f"{self.repo} is {self.contents}: {get}{disk}; {needs}. {verdict}"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "files": [list(file) for file in self.files], "words": self.words}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Outlook":
        """The opposite of `to_dict`."""
        known = {name: value for name, value in values.items() if name != "words"}
        files = tuple((name, size) for name, size in known.pop("files"))
        return cls(**{**known, "files": files, "obstacles": tuple(known["obstacles"])})


def predict_sizes(contents: Contents, total_bytes: int) -> tuple[int, int]:
    """Predict what a model takes.

    Args:
        contents: What it is.
        total_bytes: Size of its weights as they are stored.

    Returns:
        Bytes on disk after conversion, and in memory while it runs. Conversion stores float32; where only the size of
        the file is known, its values are taken to be halves, so that the truth is not worse.
    """
    if contents.kind == "transformer":
        return 0, int(WORKING_FACTOR * total_bytes)
    stored = total_bytes * 2 if contents.parameters is None else contents.parameters * FLOAT32_BYTES
    if contents.kind == "mlx-mixer model":
        return total_bytes, int(WORKING_FACTOR * max(stored, total_bytes))
    return stored, int(WORKING_FACTOR * stored)


def obstacles_of_room(download: int, converted: int, memory: int, room: Room) -> tuple[str, ...]:
    """Say what does not fit, one sentence each."""
    found = []
    at_cache = download + converted if room.same_disk else download
    if at_cache and at_cache + SPARE_DISK_BYTES > room.cache_disk:
        found.append(
            f"It does not fit on the disk: {size_words(at_cache)} and some to spare are needed, "
            f"{size_words(room.cache_disk)} are free."
        )
    elif not room.same_disk and converted + SPARE_DISK_BYTES > room.models_disk:
        found.append(
            f"It does not fit on the disk of the models folder: {size_words(converted)} and some to spare are needed, "
            f"{size_words(room.models_disk)} are free."
        )
    if room.memory is not None and memory > MEMORY_SHARE * room.memory:
        found.append(
            f"It does not fit into memory: it takes about {size_words(memory)}, and this machine has "
            f"{size_words(room.memory)}, of which a model may take {MEMORY_SHARE:.0%}."
        )
    return tuple(found)


def measure_room(cache: Path, models: Path) -> Room:
    """Ask the machine how much room there is."""
    at_cache, at_models = _existing(cache), _existing(models)
    return Room(
        cache_disk=_free(at_cache),
        models_disk=_free(at_models),
        same_disk=at_cache.stat().st_dev == at_models.stat().st_dev,
        memory=_machine_memory(),
    )


def size_words(count: int) -> str:
    """A size for people, in powers of 1000 as disks are sold."""
    if count >= 1_000_000_000:
        return f"{count / 1e9:.1f} GB"
    return f"{count / 1e6:.1f} MB" if count >= 1_000_000 else f"{-(-count // 1000)} kB"


def _existing(path: Path) -> Path:
    while not path.is_dir() and path.parent != path:
        path = path.parent
    return path


def _free(path: Path) -> int:
    usage = os.statvfs(path)
    return usage.f_bavail * usage.f_frsize


def _machine_memory() -> int | None:
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None
    if sys.platform == "linux":
        # A container may have less than its machine.
        for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
            try:
                memory = min(memory, int(Path(file).read_text(encoding="ascii")))
            except (OSError, ValueError):  # no such group, or "max"
                continue
    return memory
