"""Keep the library fresh: notices of the system say where to look, and a walk through everything is the truth.

Notices can be lost (a full queue, a network disk, a folder too many to watch), so they only ever lead to a walk of the
folders they name; whatever they miss is found by the next sweep.
"""

import os
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from watchfiles import watch as system_notices

from mlx_mixer.documents.events import AddReport
from mlx_mixer.documents.ignore import RULE_NAMES
from mlx_mixer.documents.lock import LibraryBusyError
from mlx_mixer.documents.rules import folder_reason
from mlx_mixer.documents.scan import is_inside

if TYPE_CHECKING:
    from mlx_mixer.documents.library import Library

# More places than this at once (a branch was switched, an archive unpacked) and the whole is looked through.
_MOST_PLACES = 200


@dataclass(frozen=True)
class WatchTimes:
    """Seconds.

    Attributes:
        sweep: From one walk through everything to the next.
        settle: How long nothing must happen before what has happened is looked at.
        longest: How long to wait for that at most.
        pause: Between two looks at whether anything is to be done without a notice.
    """

    sweep: float = 900.0
    settle: float = 0.5
    longest: float = 5.0
    pause: float = 1.0


class Watcher:
    """Watch the folders that were added to a library.

    Args:
        library: Where to.
        on_report: Told what every walk did.
        times: See there.
    """

    def __init__(
        self, library: "Library", on_report: Callable[[AddReport], None], times: WatchTimes | None = None
    ) -> None:
        self._library = library
        self._on_report = on_report
        self._times = times or WatchTimes()
        self._own_files = os.fsencode(library.path)
        self._pending: set[bytes] = set()
        self._swept = float("-inf")
        self.is_without_notices = False  # the system gives none, for one reason or another: only sweeps then

    def run(self, stop: threading.Event) -> None:
        """Sweep, then follow notices and sweep now and then, until `stop` is set.

        Raises:
            LibraryError: If the library fails; another process that writes to it is waited for.
        """
        while not stop.is_set():
            self._work(stop)
            roots = self._roots()
            try:
                self._follow(roots, stop)
            except (OSError, RuntimeError):  # a folder vanished just now, or there are too many to watch
                self.is_without_notices = True
                stop.wait(self._times.pause)

    def _follow(self, roots: list[bytes], stop: threading.Event) -> None:
        """Follow notices until the roots change."""
        if not roots:
            stop.wait(self._times.pause)
            return
        times = self._times
        notices = system_notices(
            *map(os.fsdecode, roots),
            watch_filter=lambda _, path: self._matters(os.fsencode(path), roots),
            debounce=int(1000 * times.longest),
            step=int(1000 * times.settle),
            rust_timeout=int(1000 * times.pause),
            yield_on_timeout=True,
            stop_event=stop,
            raise_interrupt=True,
        )
        for changes in notices:
            self.is_without_notices = False
            self._pending.update(_place_to_look(os.fsencode(path)) for _, path in changes)
            self._work(stop)
            if stop.is_set() or self._roots() != roots:
                return

    def _work(self, stop: threading.Event) -> None:
        is_due = time.monotonic() - self._swept >= self._times.sweep or len(self._pending) > _MOST_PLACES
        if not is_due and not self._pending:
            return
        try:
            if is_due:
                report = self._library.refresh(is_cancelled=stop.is_set)
            else:
                report = self._library.refresh(_outermost(self._pending), is_cancelled=stop.is_set)
        except LibraryBusyError:
            return  # what is pending stays so
        self._pending.clear()
        if is_due:
            self._swept = time.monotonic()
        self._on_report(report)

    def _roots(self) -> list[bytes]:
        return [root for root in self._library.root_paths() if os.path.lexists(root)]

    def _matters(self, path: bytes, roots: list[bytes]) -> bool:
        """Whether a walk might care; most notices are of caches, and of the library itself."""
        if path.startswith(self._own_files):
            return False
        root = max((root for root in roots if is_inside(path, root)), key=len, default=None)
        if root is None:
            return False
        folders = path[len(root) :].strip(b"/").split(b"/")[:-1]
        return not any(folder_reason(folder) for folder in folders)


def _place_to_look(path: bytes) -> bytes:
    """The file that changed, or the folder in which something came or went: the nearest that is still there."""
    if os.path.basename(path) not in RULE_NAMES and os.path.isfile(path):  # noqa: PTH113, PTH119  (bytes)
        return path
    folder = os.path.dirname(path)  # noqa: PTH120
    while not os.path.isdir(folder) and folder != b"/":  # noqa: PTH112
        folder = os.path.dirname(folder)  # noqa: PTH120
    return folder


def _outermost(places: Iterable[bytes]) -> list[bytes]:
    """Leave out what lies in another of these places."""
    kept: list[bytes] = []
    for place in sorted(places):
        if not any(is_inside(place, other) for other in kept):
            kept.append(place)
    return kept
