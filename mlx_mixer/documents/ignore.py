"""Files that list what to leave out: `.gitignore`, read as git reads it, and our own `.mixerignore` in the same syntax.

A pattern is tested against an entry itself and never against what lies below it: a walk does not enter a folder that is
left out, so this is what git does too, and one pass over compiled patterns decides. Source: gitignore(5), and git's
dir.c and wildmatch.c for what the manual leaves open.
"""

import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import NamedTuple, Self

GITIGNORE = b".gitignore"
MIXERIGNORE = b".mixerignore"
GIT_FOLDER = b".git"
# The names whose presence in a folder changes what is in effect there.
RULE_NAMES = frozenset({GITIGNORE, MIXERIGNORE, GIT_FOLDER})

_MAX_FILE_BYTES = 1_000_000
# git sets core.ignorecase where it makes a repository on a file system that does not tell upper case from lower.
_FLAGS = re.DOTALL | (re.IGNORECASE if sys.platform == "darwin" else re.NOFLAG)
_SLASH = ord("/")
_ASCII = bytes(range(128))
_CLASSES = {
    name.encode(): {code for code in _ASCII if test(chr(code))}
    for name, test in {
        "alnum": str.isalnum, "alpha": str.isalpha, "digit": str.isdigit, "lower": str.islower, "upper": str.isupper,
        "blank": lambda c: c in " \t", "space": lambda c: c in " \t\n\r\f\v", "cntrl": lambda c: c < " " or c == "\x7f",
        "print": lambda c: " " <= c <= "~", "graph": lambda c: "!" <= c <= "~",
        "punct": lambda c: "!" <= c <= "~" and not c.isalnum(), "xdigit": lambda c: c in "0123456789abcdefABCDEF",
    }.items()
}  # fmt: skip


class _Pattern(NamedTuple):
    regex: bytes
    leaves_out: bool  # not negated
    only_folders: bool
    by_name: bool  # no slash inside: tested against the name alone


class _Run(NamedTuple):
    """Patterns of one sign that stand together, as one test each for names and for paths of files and of folders."""

    leaves_out: bool
    file_name: re.Pattern[bytes] | None
    file_path: re.Pattern[bytes] | None
    folder_name: re.Pattern[bytes] | None
    folder_path: re.Pattern[bytes] | None


class IgnoreFile:
    """One such file.

    Args:
        folder: The folder its patterns are relative to.
        content: Its bytes.
        label: What a reason calls it.
    """

    def __init__(self, folder: bytes, content: bytes, label: str) -> None:
        self.label = label
        self._start = len(folder.rstrip(b"/")) + 1
        patterns = list(_parse(content))
        groups = groupby(patterns, key=lambda pattern: pattern.leaves_out)
        # The last pattern that matches decides.
        self._runs = [_run(sign, list(group)) for sign, group in groups][::-1]

    def __bool__(self) -> bool:
        return bool(self._runs)

    def leaves_out(self, path: bytes, name: bytes, *, is_folder: bool) -> bool | None:
        """Whether the entry is left out (True), taken in (False), or not spoken of (None)."""
        for run in self._runs:
            by_name, by_path = (run.folder_name, run.folder_path) if is_folder else (run.file_name, run.file_path)
            if (by_name and by_name.fullmatch(name)) or (by_path and by_path.fullmatch(path, self._start)):
                return run.leaves_out
        return None


@dataclass(frozen=True)
class IgnoreRules:
    """Every such file in effect in one folder, the innermost first. `.mixerignore` is asked before `.gitignore`."""

    own: tuple[IgnoreFile, ...] = ()
    git: tuple[IgnoreFile, ...] = ()

    @classmethod
    def above(cls, folder: bytes) -> Self:
        """Read what is in effect at a folder on account of those above it, up to the top of its git work tree.

        Rules that leave out the folder itself do not count: whoever names it wants what is in it.
        """
        parents = list(_folders_up_to_work_tree(folder))
        rules = cls()
        for parent in reversed(parents):
            rules = rules.entering(parent)
        if any(rules.reason(f, os.path.basename(f), is_folder=True) for f in (*parents[:-1], folder)):  # noqa: PTH119
            return cls()
        return rules

    @classmethod
    def inside(cls, root: bytes, folder: bytes) -> Self:
        """Read what is in effect at a folder of a walk that began at `root`."""
        rules = cls.above(root)
        below = folder[len(root.rstrip(b"/")) :].strip(b"/")
        for part in below.split(b"/") if below else ():
            rules = rules.entering(root)
            root = os.path.join(root, part)  # noqa: PTH118  (bytes)
        return rules

    def entering(self, folder: bytes, names: frozenset[bytes] | set[bytes] = RULE_NAMES) -> Self:
        """Add what a folder itself says.

        Args:
            folder: Its path.
            names: Those of `RULE_NAMES` it has, or may have.
        """
        if not names:
            return self
        own, git = self.own, self.git
        if MIXERIGNORE in names and (file := _read(folder, MIXERIGNORE)):
            own = (file, *own)
        if GIT_FOLDER in names and os.path.lexists(os.path.join(folder, GIT_FOLDER)):  # noqa: PTH118  (bytes)
            # Another work tree: the rules of the one around it do not reach into it.
            exclude = _read(folder, b".git/info/exclude")
            git = (exclude,) if exclude else ()
        if GITIGNORE in names and (file := _read(folder, GITIGNORE)):
            git = (file, *git)
        return type(self)(own, git)

    def reason(self, path: bytes, name: bytes, *, is_folder: bool) -> str | None:
        """Say which file leaves this entry out, if one does."""
        for files in (self.own, self.git):
            for file in files:
                verdict = file.leaves_out(path, name, is_folder=is_folder)
                if verdict:
                    return f"left out by {file.label}"
                if verdict is False:
                    return None
        return None

    def __bool__(self) -> bool:
        return bool(self.own or self.git)


def _folders_up_to_work_tree(folder: bytes) -> Iterator[bytes]:
    """The folders above `folder`, innermost first, if one of them is the top of a work tree; none otherwise."""
    if os.path.lexists(os.path.join(folder, GIT_FOLDER)):  # noqa: PTH118  (bytes)
        return
    parents: list[bytes] = []
    parent = os.path.dirname(folder)  # noqa: PTH120  (bytes)
    while parent not in (b"", b"/", *parents[-1:]):
        parents.append(parent)
        if os.path.lexists(os.path.join(parent, GIT_FOLDER)):  # noqa: PTH118
            yield from parents
            return
        parent = os.path.dirname(parent)  # noqa: PTH120


def _read(folder: bytes, name: bytes) -> IgnoreFile | None:
    try:
        # git does not follow a link here either.
        descriptor = os.open(os.path.join(folder, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)  # noqa: PTH118
        with os.fdopen(descriptor, "rb") as file:
            content = file.read(_MAX_FILE_BYTES)
    except OSError:
        return None
    return IgnoreFile(folder, content, os.fsdecode(name)) or None


def _run(leaves_out: bool, patterns: list[_Pattern]) -> _Run:
    files = [pattern for pattern in patterns if not pattern.only_folders]
    return _Run(
        leaves_out,
        _one_of(pattern.regex for pattern in files if pattern.by_name),
        _one_of(pattern.regex for pattern in files if not pattern.by_name),
        _one_of(pattern.regex for pattern in patterns if pattern.by_name),
        _one_of(pattern.regex for pattern in patterns if not pattern.by_name),
    )


def _one_of(regexes: Iterator[bytes]) -> re.Pattern[bytes] | None:
    joined = b"|".join(regexes)
    return re.compile(joined, _FLAGS) if joined else None


def _parse(content: bytes) -> Iterator[_Pattern]:
    for line in content.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        if line.startswith(b"#"):
            continue
        glob = _without_trailing_spaces(line.removesuffix(b"\r"))
        negated, glob = glob.startswith(b"!"), glob.removeprefix(b"!")
        only_folders, glob = glob.endswith(b"/"), glob.removesuffix(b"/")
        by_name, glob = b"/" not in glob, glob.removeprefix(b"/")
        regex = _translate(glob, by_name=by_name)
        if regex:
            yield _Pattern(regex, not negated, only_folders, by_name)


def _without_trailing_spaces(line: bytes) -> bytes:
    stripped = line.rstrip(b" ")
    # A backslash keeps the blank after it, if nothing takes the backslash itself literally.
    backslashes = len(stripped) - len(stripped.rstrip(b"\\"))
    return line[: len(stripped) + 1] if backslashes % 2 else stripped


def _translate(glob: bytes, *, by_name: bool) -> bytes | None:
    """Turn a glob into a regular expression over bytes; None for one that matches nothing."""
    parts: list[bytes] = []
    at = 0
    while at < len(glob):
        character = glob[at : at + 1]
        if character == b"*":
            end = at + len(glob[at:]) - len(glob[at:].lstrip(b"*"))
            parts.append(_stars(glob, at, end, by_name=by_name))
            # "**/" is one sign: any number of folders, none included.
            at = end + 1 if parts[-1] == _ANY_FOLDERS else end
        elif character == b"?":
            parts.append(b"[^/]")
            at += 1
        elif character == b"[":
            found = _character_class(glob, at + 1)
            if found is None:
                return None
            codes, at = found
            if not codes:
                return None
            parts.append(b"[" + b"".join(b"\\x%02x" % code for code in sorted(codes)) + b"]")
        else:
            if character == b"\\":
                at += 1
                character = glob[at : at + 1]
                if not character:
                    return None
            parts.append(re.escape(character))
            at += 1
    return _joined(parts)


_SPECIAL = re.compile(rb"[*?\[\\]")
_STAR = b"[^/]*"
_ANY_FOLDERS = b"(?:.*/)?"
_ANYTHING = b".*"


def _joined(parts: list[bytes]) -> bytes:
    """Join the parts so that many stars cost no more than one.

    Between two stars the first place where what stands there fits is as good as any later one, so nothing before it has
    to be tried again: an atomic group.
    """
    stars = [at for at, part in enumerate(parts) if part == _STAR]
    regex = b"".join(parts[: stars[0]] if stars else parts)
    for start, end in pairwise([*stars, len(parts)]):
        between = parts[start + 1 : end]
        is_settled = end < len(parts) and _ANY_FOLDERS not in between
        regex += b"(?>[^/]*?" + b"".join(between) + b")" if is_settled else _STAR + b"".join(between)
    return regex


def _stars(glob: bytes, start: int, end: int, *, by_name: bool) -> bytes:
    """Translate a run of stars: two or more of them between slashes (or the ends) also match slashes."""
    # git compares what comes before the first special sign by itself, so the rest begins there.
    begins = start == 0 or glob[start - 1] == _SLASH or not (by_name or _SPECIAL.search(glob, 0, start))
    ends = end == len(glob) or glob[end] == _SLASH
    if end - start == 1 or not (begins and ends):
        return _STAR
    return _ANYTHING if end == len(glob) else _ANY_FOLDERS


def _character_class(glob: bytes, at: int) -> tuple[set[int], int] | None:
    """Read a bracket expression from after its bracket; return its bytes and where it ends."""
    negated = glob[at : at + 1] in (b"!", b"^")
    start = at = at + negated
    codes: set[int] = set()
    low: int | None = None  # what a range would start with
    while at < len(glob) and (glob[at] != ord("]") or at == start):
        if glob[at : at + 2] == b"[:" and (close := glob.find(b"]", at + 2)) >= 0 and glob[close - 1] == ord(":"):
            name = glob[at + 2 : close - 1]
            if name not in _CLASSES:
                return None
            codes |= _CLASSES[name]
            at, low = close + 1, None
            continue
        is_range = glob[at] == ord("-") and low is not None and glob[at + 1 : at + 2] not in (b"", b"]")
        at += is_range
        if glob[at] == ord("\\"):
            at += 1
            if at == len(glob):
                return None
        high = glob[at]
        if is_range and low is not None:
            codes |= set(range(low, high + 1))
            low = None
        else:
            codes.add(high)
            low = high
        at += 1
    if at >= len(glob):
        return None
    return (set(range(256)) - codes if negated else codes) - {_SLASH}, at + 1
