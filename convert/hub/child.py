"""The child process that talks to the Hub; see `convert.hub.requests`.

It can be killed at any moment: what has been fetched stays and is gone on from. It ends when its parent does, because
the parent holds the other end of its standard input.

Usage: python -m convert.hub.child. One line of JSON on standard input says what to do: {"task": NAME, ...}. Lines of
JSON on standard output: {"progress": {...}} any number of times, then {"result": ...} or {"error": ..., "kind": ...}.
"""

import json
import os
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

from convert.hub.client import prepare, search
from convert.hub.errors import HubUnreachableError
from convert.hub.install import install, installed_dict, model_path
from convert.hub.kinds import Contents
from convert.hub.reference import Reference
from convert.hub.snapshot import fetch, find_offline, look_up
from convert.hub.upload import upload_model
from mlx_mixer.errors import MixerError, ResourceError, UnsupportedModelError

Progress = Callable[[Mapping[str, Any]], None]


def main() -> int:
    """Read a request, serve it, and write what comes of it."""
    out = _own_output()

    def write(line: Mapping[str, Any]) -> None:
        out.write(json.dumps(line) + "\n")
        out.flush()

    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    serve(request, write)
    return 0


def serve(request: Mapping[str, Any], write: Callable[[Mapping[str, Any]], None]) -> None:
    """Serve one request: write its progress, and its result or its error."""
    try:
        prepare()
        write({"result": _TASKS[request["task"]](request, lambda progress: write({"progress": dict(progress)}))})
    except MixerError as error:
        write({"error": str(error), "kind": _public_kind(error)})


def _look(request: Mapping[str, Any], _: Progress) -> Any:  # what JSON can hold, as below
    return look_up(_reference(request), Path(request["cache"]), Path(request["models"])).outlook.to_dict()


def _search(request: Mapping[str, Any], _: Progress) -> Any:
    return search(request["query"], request["limit"])


def _fetch(request: Mapping[str, Any], progress: Progress) -> Any:
    path, commit, contents, notes = _obtain(request, progress)
    return {"path": str(path), "commit": commit, "kind": contents.kind, "words": contents.words, "notes": notes}


def _install(request: Mapping[str, Any], progress: Progress) -> Any:
    reference = _reference(request)
    out = model_path(reference, Path(request["models"]), request.get("name"))
    path, commit, contents, notes = _obtain(request, progress)
    progress({"stage": "convert", "file": out.name, "done": 0, "total": 0})
    installed = install(path, reference, commit, contents, out, **request.get("hints", {}))
    return {**installed_dict(installed), "commit": commit, "notes": notes}


def _upload(request: Mapping[str, Any], progress: Progress) -> Any:
    return upload_model(Path(request["folder"]), request["repo"], is_public=request["public"], progress=progress)


_TASKS: Mapping[str, Callable[[Mapping[str, Any], Progress], Any]] = {
    "look": _look,
    "search": _search,
    "fetch": _fetch,
    "install": _install,
    "upload": _upload,
}


def _obtain(request: Mapping[str, Any], progress: Progress) -> tuple[Path, str, Contents, list[str]]:
    """Fetch what was asked for, or find it in the cache where the Hub cannot be asked."""
    reference, cache = _reference(request), Path(request["cache"])
    try:
        found = look_up(reference, cache, Path(request["models"]))
        outlook = found.outlook
        _refuse(reference.repo, outlook.obstacles, works=outlook.works, fits=outlook.fits or request.get("force"))
        return fetch(found, cache, progress), found.listing.commit, found.contents, []
    except HubUnreachableError as unreachable:
        try:
            path, commit, contents = find_offline(reference, cache, progress)
        except MixerError as missing:
            raise HubUnreachableError(f"{unreachable}; {missing}") from unreachable
        return path, commit, contents, [f"{unreachable}; the copy in the cache is used (commit {commit[:12]})"]


def _refuse(repo: str, obstacles: tuple[str, ...], *, works: bool, fits: object) -> None:
    if not works:
        raise UnsupportedModelError(f"{repo}: {obstacles[0].removesuffix('.')}")
    if not fits:
        raise ResourceError(f"{repo}: {' '.join(obstacles)} Nothing was fetched; --force tries all the same")


def _reference(request: Mapping[str, Any]) -> Reference:
    return Reference(request["repo"], request.get("revision"))


def _own_output() -> TextIO:
    """Keep standard output for the protocol: whatever else prints goes to standard error."""
    own = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return own


def _end_with_parent() -> None:
    while os.read(0, 1 << 16):
        pass
    os._exit(1)


def _public_kind(error: MixerError) -> str:
    """The name of an error's class as `mlx_mixer.errors` has it."""
    return next(kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "mlx_mixer.errors")


if __name__ == "__main__":
    status = main()
    # The thread that listens for the parent's end must not hold up our own.
    os._exit(status)
