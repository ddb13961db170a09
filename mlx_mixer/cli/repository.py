"""What commands do with a repository on the Hugging Face Hub: show it, fetch it, fill it."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from mlx_mixer.cli.output import human_bytes, narrate, print_foreign, print_json
from mlx_mixer.cli.transfer_bar import TransferBar
from mlx_mixer.errors import ModelNotFoundError
from mlx_mixer.paths import default_paths

INTERRUPTED = "stopped; what has been fetched is kept: the same command goes on from there"


def hub() -> Any:
    """The converter's room for the Hub; named and not imported, because the library does not know the converter."""
    return import_module("convert.hub.requests")


def is_repository(source: str | Path) -> bool:
    """Whether a source has the form `owner/name[@revision]`, and there is no such path."""
    return bool(hub().is_repository(source))


def show_repository(name: str, as_json: bool) -> int:
    """Print what a repository is and whether it fits; return the exit code, which tells whether it would work."""
    with _also_a_path(name):
        outlook = hub().look_at(name)
    if as_json:
        print_json(outlook.to_dict())
    else:
        print_foreign(outlook.words)
        gated = ", gated" if outlook.is_gated else ""
        print_foreign(f"commit {outlook.commit}, licence {outlook.license or 'not named'}{gated}")
        for file, size in outlook.files:
            print_foreign(f"  {file}: {human_bytes(size)}")
    return 0 if outlook.works and outlook.fits else 4


def fetch(source: str | Path) -> Path:
    """Fetch a repository with a progress bar; return its folder in the Hugging Face cache."""
    try:
        with TransferBar() as bar, _also_a_path(source):
            fetched = hub().fetch_repository(str(source), bar)
    except KeyboardInterrupt:
        narrate(INTERRUPTED)
        raise
    for note in fetched.notes:
        narrate(f"note: {note}")
    path: Path = fetched.path
    return path


@contextmanager
def _also_a_path(source: str | Path) -> Iterator[None]:
    """Whoever mistyped a path must learn that it is not here, and not only that the Hub lacks it."""
    try:
        yield
    except ModelNotFoundError as error:
        raise ModelNotFoundError(f"{error}; and there is no path {source} here") from error


def default_folder(source: str | Path) -> Path:
    """Where the model of a repository goes if no folder is named."""
    name: str = import_module("convert.hub.reference").parse_reference(str(source)).name
    return default_paths().models / name


def check_name(repository: str) -> None:
    """Raise `UsageError` unless a text is `owner/name`, before the work begins that it is to receive."""
    import_module("convert.hub.reference").parse_reference(repository)


def upload(folder: Path, repository: str, *, is_public: bool) -> dict[str, Any]:
    """Upload a model folder with a card; return {"repo", "url", "commit", "private"}."""
    with TransferBar() as bar:
        sent: dict[str, Any] = hub().upload_folder(folder, repository, is_public=is_public, report=bar)
    visible = "private" if sent["private"] else "public"
    narrate(f"uploaded to {sent['url']} ({visible}, commit {sent['commit'][:12]})")
    return sent
