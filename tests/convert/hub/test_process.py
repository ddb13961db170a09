"""Downloads as a user has them: in a process of their own, which may be killed, orphaned or kept from the network."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from convert.hub.process import TaskStoppedError
from convert.hub.requests import fetch_repository, install_task, is_repository, search_models
from mlx_mixer.checkpoint import load_config
from mlx_mixer.errors import HubError, ModelNotFoundError, UsageError
from tests.convert.golden import checkpoint
from tests.convert.hub_server import Hub, Repo, sha256

WEIGHTS = checkpoint("kernel4").read_bytes()


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as hub:
        yield hub


@pytest.fixture
def cache(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user whose Hub is the local one; the child reads all of it from its environment."""
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    monkeypatch.setenv("HF_HUB_DOWNLOAD_TIMEOUT", "120")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    return tmp_path / "cache"


def part_of(cache: Path) -> Path:
    return cache / "models--ann--tiny" / "blobs" / f"{sha256(WEIGHTS)}.mixer-part"


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.01)


def test_a_download_that_was_killed_goes_on_where_it_was(hub: Hub, cache: Path) -> None:
    repo = hub.repos["ann/tiny"] = Repo({"model.safetensors": WEIGHTS}, body=[("stall", 5000)])
    task = install_task("ann/tiny")
    seen: list[Mapping[str, Any]] = []

    def kill() -> None:
        hub.body_sent.wait(30)
        wait_for(lambda: part_of(cache).exists() and part_of(cache).stat().st_size >= 5000)
        assert task._process is not None
        task._process.send_signal(signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(HubError, match="died"):
        task.wait(seen.append)
    killer.join()
    assert part_of(cache).read_bytes() == WEIGHTS[:5000]
    repo.body.clear()
    done = install_task("ann/tiny").wait()
    assert [headers["Range"] for headers in hub.bodies() if headers.get("Range", "").endswith("-")] == ["bytes=5000-"]
    assert not part_of(cache).exists()
    provenance = load_config(done["path"]).provenance
    assert provenance is not None
    assert provenance.sha256 == {"model.safetensors": sha256(WEIGHTS)}


def test_stopping_a_download_ends_it_at_once_and_keeps_what_came(hub: Hub, cache: Path) -> None:
    hub.repos["ann/tiny"] = Repo({"model.safetensors": WEIGHTS}, body=[("stall", 5000)])
    task = install_task("ann/tiny")
    threading.Thread(target=lambda: (hub.body_sent.wait(30), time.sleep(0.3), task.stop()), daemon=True).start()
    with pytest.raises(TaskStoppedError, match="kept"):
        task.wait()
    wait_for(lambda: part_of(cache).stat().st_size == 5000)
    with pytest.raises(TaskStoppedError):
        task.wait()


def test_a_download_ends_with_the_process_that_asked_for_it(hub: Hub, cache: Path, tmp_path: Path) -> None:
    hub.repos["ann/tiny"] = Repo({"model.safetensors": WEIGHTS}, body=[("stall", 5000)])
    script = (
        "import sys; from convert.hub.requests import install_task\n"
        "task = install_task('ann/tiny')\n"
        "task.wait(lambda _: (print(task._process.pid, flush=True)))\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    hub.body_sent.wait(30)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_for(lambda: not _is_running(child))


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        # Nobody may have collected it yet.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except FileNotFoundError:
        return not Path("/proc").is_dir()


def test_two_downloads_of_one_file_do_not_mix(hub: Hub, cache: Path) -> None:
    repo = hub.repos["ann/tiny"] = Repo({"model.safetensors": WEIGHTS}, body=[("stall", 5000)])
    first = install_task("ann/tiny")

    def wait() -> None:
        with pytest.raises(TaskStoppedError):
            first.wait()

    waiting = threading.Thread(target=wait)
    waiting.start()
    hub.body_sent.wait(30)
    repo.body.clear()
    with pytest.raises(HubError, match="another program is fetching"):
        install_task("ann/tiny").wait()
    first.stop()
    waiting.join()


def test_a_task_that_takes_too_long_is_given_up(hub: Hub, cache: Path) -> None:
    hub.repos["ann/tiny"] = Repo({"model.safetensors": WEIGHTS}, body=[("stall", 5000)])
    with pytest.raises(HubError, match="longer than 2 seconds"):
        install_task("ann/tiny").wait(timeout_seconds=2)


def test_a_token_is_never_sent_over_an_open_line(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.example")
    with pytest.raises(UsageError, match="must begin with https"):
        search_models("x")


def test_only_names_of_repositories_that_are_no_paths_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "first").mkdir(parents=True)
    assert not is_repository("runs/first")
    assert is_repository("runs/second")
    assert not is_repository("runs/model.safetensors")


def test_what_is_cached_is_used_without_a_network(hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repo = hub.repos["ann/tiny"] = Repo({"model.safetensors": WEIGHTS, "config.json": b"{}"})
    online = fetch_repository("ann/tiny")
    hub.requests.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    offline = fetch_repository("ann/tiny")
    assert (offline.path, offline.commit, offline.kind) == (online.path, repo.commit, "mixer checkpoint")
    assert "HF_HUB_OFFLINE" in offline.notes[0]
    assert hub.requests == []
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert "cannot be reached" in fetch_repository("ann/tiny").notes[0]
    (cache / "models--ann--tiny" / "blobs" / sha256(WEIGHTS)).write_bytes(WEIGHTS[:-1] + b"!")
    with pytest.raises(ModelNotFoundError, match="damaged in the cache"):
        fetch_repository("ann/tiny")
