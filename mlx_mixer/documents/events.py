"""What the library tells its caller while it works and when it is done."""

from dataclasses import dataclass, field
from typing import Literal

Stage = Literal["upgrade", "scan", "text", "meaning", "export"]


@dataclass(frozen=True)
class Progress:
    """One step forward.

    Attributes:
        stage: ``upgrade`` counts documents of an earlier version's library brought forward, ``scan`` files looked at,
            ``text`` files read and made searchable, ``meaning`` chunks embedded, ``export`` chunks written.
        done: How many so far in this stage.
        total: How many there will be, where that is known.
        path: The file at hand, as the system names it (may hold surrogates: show it through `safe_text`).
    """

    stage: Stage
    done: int
    total: int | None = None
    path: str = ""


@dataclass(frozen=True)
class FileNote:
    """A file or folder that was left out, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class AddReport:
    """What one `Library.add` did.

    Attributes:
        added: Files that were not in the library before.
        updated: Files whose content changed.
        unchanged: Files that are as they were.
        renamed: Files found under a new name; nothing was read into the index again for them.
        removed: Files that are gone from their folder; hidden now, forgotten after a week.
        skipped: Files and folders left out on purpose, with the reason.
        failed: Files that should have been read and could not be.
        embedded: Chunks the embedder was run on.
        reused: Chunks whose vector was already known.
        cancelled: Whether the caller stopped it; what was committed stays.
    """

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    renamed: int = 0
    removed: int = 0
    skipped: tuple[FileNote, ...] = ()
    failed: tuple[FileNote, ...] = ()
    embedded: int = 0
    reused: int = 0
    cancelled: bool = False


@dataclass
class Tally:
    """The counts of an `AddReport` while they grow; field names are those of the report."""

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    renamed: int = 0
    removed: int = 0
    skipped: list[FileNote] = field(default_factory=list)
    failed: list[FileNote] = field(default_factory=list)
    embedded: int = 0
    reused: int = 0
    cancelled: bool = False

    def report(self) -> AddReport:
        return AddReport(**{**vars(self), "skipped": tuple(self.skipped), "failed": tuple(self.failed)})
