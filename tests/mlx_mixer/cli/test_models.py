"""The models command and the Hub: what people and programs see, against a local server."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mlx_mixer.cli.convert import convert
from mlx_mixer.cli.models import models
from mlx_mixer.cli.transfer_bar import TransferBar
from mlx_mixer.errors import MixerError, ModelNotFoundError, UnsupportedModelError, UsageError
from tests.convert.golden import checkpoint
from tests.convert.hub_server import Hub, Repo
from tests.processes import start
from tests.tiny_kinds import CONFIGS, model_of

WEIGHTS = checkpoint("kernel4").read_bytes()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with Hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
        monkeypatch.delenv("HF_TOKEN", raising=False)
        monkeypatch.delenv("HF_HOME", raising=False)
        monkeypatch.delenv("HF_HUB_CACHE", raising=False)
        hub.repos["ann/tiny"] = Repo({"model.safetensors": WEIGHTS, "config.json": b"{}"})
        yield hub


def run(*arguments: str, **options: Any) -> Result:
    return CliRunner().invoke(models, list(arguments), catch_exceptions=False, **options)


def root() -> Path:
    return Path(os.environ["MLX_MIXER_HOME"]) / "data" / "models"


def test_a_model_is_fetched_listed_and_removed(hub: Hub) -> None:
    done = run("download", "ann/tiny")
    assert done.stdout == f"{root() / 'tiny'}  mixer checkpoint, commit {hub.repos['ann/tiny'].commit[:12]}\n"
    assert "fetching" in done.stderr
    assert "100%" in done.stderr
    assert "no tokenizer" in done.stderr
    listed = json.loads(run("list", "--json").stdout)
    assert [row["name"] for row in listed["models"]] == ["default", "tiny"]
    assert listed["models"][1]["config"]["provenance"]["source"] == "ann/tiny"
    assert json.loads(run("rm", "tiny", "--yes", "--json").stdout)["removed"] == str(root() / "tiny")
    assert list(root().iterdir()) == []


def test_removal_asks_first(hub: Hub) -> None:
    (root() / "mine").mkdir(parents=True)
    (root() / "mine" / "config.json").write_text("{}")
    asked = run("rm", "mine", input="n\n")
    assert asked.exit_code == 1
    assert "Remove" in asked.stderr
    assert (root() / "mine").is_dir()
    run("rm", "mine", input="y\n")
    assert not (root() / "mine").exists()
    with pytest.raises(MixerError, match="there is no model"):
        run("rm", "../mine")


def test_a_repository_is_shown_before_it_is_fetched(hub: Hub) -> None:
    outlook = json.loads(run("info", "ann/tiny", "--json").stdout)
    assert (outlook["kind"], outlook["works"], outlook["fits"]) == ("mixer checkpoint", True, True)
    assert "fits and should work" in outlook["words"]
    assert not root().exists()


def test_search_prints_rows_for_people_and_json_for_programs(hub: Hub) -> None:
    hub.repos["eve/tiny\x1b[2Jx"] = Repo({"config.json": b"{}"}, gated="auto")
    assert "ann/tiny" in (shown := run("search", "tiny").stdout)
    assert "gated" in shown
    found = json.loads(run("search", "tiny", "--json", "--limit", "1").stdout)
    assert [row["repo"] for row in found["models"]] == ["ann/tiny"]


def test_every_kind_of_model_is_listed(hub: Hub) -> None:
    from mlx_mixer.checkpoint import save_model

    for kind in CONFIGS:
        (root() / kind).mkdir(parents=True)
        save_model(root() / kind, model_of(CONFIGS[kind]))
    listed = run("list")
    assert listed.exit_code == 0
    for kind in CONFIGS:
        assert kind in listed.stdout


def test_convert_takes_a_repository_and_uploads_what_it_made(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_right")
    done = CliRunner().invoke(
        convert, ["ann/tiny", "--json", "--padding-side", "left", "--upload", "ann/made"], catch_exceptions=False
    )
    report = json.loads(done.stdout)
    assert report["out"] == str(root() / "tiny")
    provenance = report["config"]["provenance"]
    assert (provenance["source"], provenance["revision"]) == ("ann/tiny", hub.repos["ann/tiny"].commit)
    assert report["upload"]["private"]
    card = hub.repos["ann/made"].files["README.md"].decode()
    assert hub.repos["ann/tiny"].commit in card
    assert "base_model: ann/tiny" in card


def test_a_bad_name_to_upload_to_is_refused_before_the_work(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="OWNER/NAME"):
        CliRunner().invoke(
            convert,
            [str(checkpoint("kernel4")), "-o", str(tmp_path / "out"), "--upload", "nowhere"],
            catch_exceptions=False,
        )
    assert not (tmp_path / "out").exists()


def test_a_mistyped_path_is_told_from_a_missing_repository(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"no repository runs/frist .* there is no path runs/frist here"):
        CliRunner().invoke(convert, ["runs/frist", "-o", str(tmp_path / "out")], catch_exceptions=False)


def test_what_cannot_work_is_refused_with_its_own_exit_code(hub: Hub) -> None:
    hub.repos["ann/memory"] = Repo({"model.safetensors": checkpoint("memory_token").read_bytes()})
    with pytest.raises(UnsupportedModelError, match="ann/memory: It will not work here") as refused:
        run("download", "ann/memory")
    assert refused.value.exit_code == 4


def test_an_interrupted_download_says_that_it_can_go_on(hub: Hub) -> None:
    """Ctrl+C in a terminal, where the whole foreground group gets the signal."""
    hub.repos["ann/tiny"].body = [("stall", 5000)]
    child = start(
        [sys.executable, "-m", "mlx_mixer", "models", "download", "ann/tiny"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    hub.body_sent.wait(60)
    child.send_signal(signal.SIGINT)
    _, told = child.communicate(timeout=60)
    assert child.returncode == 130
    assert "the same command goes on from there" in told
    assert "Traceback" not in told
    [part] = (Path(os.environ["HOME"]) / ".cache").rglob("*.mixer-part")
    assert part.read_bytes() == WEIGHTS[: part.stat().st_size]


def test_the_bar_shows_bytes_rate_and_time_left_and_cleans_names(monkeypatch: pytest.MonkeyPatch) -> None:
    master, slave = pty.openpty()
    clock = iter([0.0, 2.0, 3.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    with os.fdopen(slave, "w", encoding="utf-8") as terminal, TransferBar(terminal) as bar:
        for done in (0, 20_000_000, 30_000_000):
            bar({"stage": "download", "file": "a\x1b[2Jb", "done": done, "total": 100_000_000})
        raw = b""
        while raw.count(b"\x1b[K") < 3:  # a terminal hands over what it has
            raw += os.read(master, 1 << 16)
        shown = raw.decode()
    os.close(master)
    last = shown.rpartition("\r")[2]
    assert "30%" in last
    assert "30.0 MB of 100.0 MB" in last
    assert "10.0 MB/s" in last
    assert "0:07 left" in last
    assert "\x1b[2J" not in shown
