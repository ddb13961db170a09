"""What people write to name a repository: `owner/name`, or `owner/name@revision`."""

import re
from dataclasses import dataclass

from mlx_mixer.errors import UsageError
from mlx_mixer.foreign import quoted

_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?"
_REFERENCE = re.compile(rf"({_PART}/{_PART})(?:@([A-Za-z0-9][A-Za-z0-9._/+-]{{0,199}}))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
# A path that was mistyped is no repository.
_FILE_ENDINGS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".gguf", ".npz", ".json", ".zip")


@dataclass(frozen=True)
class Reference:
    """A repository on the Hub.

    Attributes:
        repo: `owner/name`.
        revision: Branch, tag or commit; None is the default branch.
    """

    repo: str
    revision: str | None = None

    def __str__(self) -> str:
        return self.repo if self.revision is None else f"{self.repo}@{self.revision}"

    @property
    def name(self) -> str:
        """The repository's name without its owner."""
        return self.repo.partition("/")[2]


def looks_like_reference(text: str) -> bool:
    """Whether a text has the form of a repository's name and not that of a file's."""
    return _parsed(text) is not None


def parse_reference(text: str) -> Reference:
    """Parse `owner/name[@revision]`.

    Raises:
        UsageError: If the text is something else.
    """
    reference = _parsed(text)
    if reference is None:
        raise UsageError(f"{quoted(text)} names no repository; expected OWNER/NAME or OWNER/NAME@REVISION")
    return reference


def is_commit(text: object) -> bool:
    """Whether a value is a full commit hash."""
    return isinstance(text, str) and _COMMIT.fullmatch(text) is not None


def _parsed(text: str) -> Reference | None:
    match = _REFERENCE.fullmatch(text)
    if match is None or text.endswith(_FILE_ENDINGS) or any(bad in text for bad in ("..", "--", "//")):
        return None
    return Reference(match[1], match[2])
