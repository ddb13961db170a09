"""Looking up and fetching from a Hub, with the real client: what it offers, and everything it may do wrong."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlx_mixer.checkpoint import load_config, load_model
from mlx_mixer.errors import (
    ConversionError,
    HubError,
    MixerError,
    ModelNotFoundError,
    ResourceError,
    UnsupportedModelError,
)
from tests.convert.golden import checkpoint
from tests.convert.hub_server import Hub, Repo, git_sha1, sha256
from tests.convert.hub_worker import Worker
from tests.tiny import tiny_model_folder

WEIGHTS = checkpoint("kernel4").read_bytes()
LLAMA = json.dumps({"model_type": "llama", "hidden_size": 8}).encode()
ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def llama_weights() -> bytes:
    header = json.dumps({"model.layers.0.self_attn.q_proj.weight": ENTRY}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(8)


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with Hub() as hub:
        yield hub


@pytest.fixture(scope="module")
def worker(hub: Hub) -> Iterator[Worker]:
    worker = Worker(hub.url)
    yield worker
    worker.close()


class Client:
    """A user's cache and models folder, and one repository on the Hub."""

    def __init__(self, hub: Hub, worker: Worker, folder: Path) -> None:
        self.hub, self._worker = hub, worker
        self.cache, self.models = folder / "cache", folder / "models"
        hub.repos.clear()
        hub.requests.clear()

    def publish(self, name: str = "ann/tiny", **settings: Any) -> Repo:
        repo = Repo(**{"files": {"model.safetensors": WEIGHTS, "config.json": b"{}"}, **settings})
        self.hub.repos[name] = repo
        return repo

    def ask(self, task: str, repo: str = "ann/tiny", revision: str | None = None, **more: Any) -> Any:
        where = {"cache": str(self.cache), "models": str(self.models)}
        return self._worker.ask(task=task, repo=repo, revision=revision, **where, **more)

    def fails(self, task: str, kind: type[MixerError], *words: str, **more: Any) -> str:
        """Run a task that must end in one clear line, without a trace of it in the cache."""
        with pytest.raises(kind) as caught:
            self.ask(task, **more)
        message = str(caught.value)
        assert "\n" not in message
        for word in words:
            assert word in message
        return message

    def upload(self, folder: Path, repo: str, *, public: bool = False, token: str = "hf_right") -> Any:
        return self.ask("upload", repo, folder=str(folder), public=public, environ={"HF_TOKEN": token})

    @property
    def progress(self) -> list[Any]:
        return list(self._worker.progress)

    def blobs(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.cache.glob("models--*/blobs/*") if path.suffix == ""}

    def parts(self) -> list[Path]:
        return list(self.cache.glob("models--*/blobs/*.mixer-part"))


@pytest.fixture
def client(hub: Hub, worker: Worker, tmp_path: Path) -> Client:
    return Client(hub, worker, tmp_path)


# What it is, before its weights are fetched


def test_a_masked_mixer_is_recognised_from_the_header_alone(client: Client) -> None:
    repo = client.publish()
    outlook = client.ask("look")
    assert (outlook["kind"], outlook["family"], outlook["commit"]) == ("mixer checkpoint", "kernel", repo.commit)
    assert outlook["works"]
    assert outlook["fits"]
    assert outlook["files"] == [["config.json", 2], ["model.safetensors", len(WEIGHTS)]]
    # config.json was needed to tell, and is here now.
    assert (outlook["total_bytes"], outlook["download_bytes"]) == (len(WEIGHTS) + 2, len(WEIGHTS))
    assert outlook["license"] == "mit"
    assert "fits and should work" in outlook["words"]
    asked = [headers["Range"] for headers in client.hub.bodies()]
    assert asked[0] == "bytes=0-7"
    assert all(not wanted.endswith("-") for wanted in asked), "only the header may be read"
    assert list(client.blobs().values()) == [b"{}"]


def test_a_transformer_of_mlx_lm_is_recognised_from_its_configuration(client: Client) -> None:
    client.publish(files={"config.json": LLAMA, "model.safetensors": llama_weights()})
    outlook = client.ask("look")
    assert (outlook["kind"], outlook["family"], outlook["works"]) == ("transformer", "llama", True)
    assert outlook["converted_bytes"] == 0


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"config.json": b'{"model_type": "novel"}', "model.safetensors": llama_weights()}, ["transformer", "novel"]),
        ({"model.safetensors": checkpoint("memory_token").read_bytes()}, ["memory mixer"]),
        ({"model.safetensors": (2).to_bytes(8, "little") + b"{}"}, ["neither a masked mixer"]),
    ],
    ids=["unknown transformer", "unsupported family", "no tensors"],
)
def test_what_cannot_work_is_told_and_not_fetched(client: Client, files: dict[str, bytes], words: list[str]) -> None:
    client.publish(files=files)
    outlook = client.ask("look")
    assert not outlook["works"]
    for word in words:
        assert word in outlook["words"]
    client.fails("fetch", UnsupportedModelError, "It will not work here")
    assert all(not headers.get("Range", "bytes=0-").endswith("-") for headers in client.hub.bodies())


def test_a_model_too_large_for_the_disk_is_refused_before_it_is_fetched(client: Client) -> None:
    repo = client.publish(files={"pytorch_model.bin": b"x"})
    size = shutil.disk_usage("/").total * 4
    row = {"rfilename": "model.safetensors", "size": size, "lfs": {"sha256": "0" * 64, "size": size, "pointerSize": 1}}
    index = json.dumps({"weight_map": {"a": "model-1.safetensors"}}).encode()
    repo.files = {"model.safetensors.index.json": index, "config.json": LLAMA}
    repo.listing["more"] = [{**row, "rfilename": "model-1.safetensors"}]
    outlook = client.ask("look")
    assert not outlook["fits"]
    assert "does not fit on the disk" in outlook["words"]
    assert "does not fit into memory" in outlook["words"]
    client.fails("fetch", ResourceError, "does not fit on the disk", "--force")


def test_a_repository_without_weights_says_what_it_holds(client: Client) -> None:
    client.publish(files={"README.md": b"", "model.gguf": b"GGUF"})
    client.fails("look", ConversionError, "no model.safetensors", ".gguf")


def test_only_what_a_model_needs_is_fetched(client: Client) -> None:
    more = {
        "README.md": b"#",
        "modeling.py": b"import os",
        "optimizer.bin": b"o",
        "tokenizer.model": b"t",
        "a/b.bin": b"",
    }
    client.publish(files={"model.safetensors": WEIGHTS, "pytorch_model.bin": b"p", "config.json": b"{}", **more})
    found = client.ask("fetch")
    snapshot = Path(found["path"])
    assert sorted(path.name for path in snapshot.iterdir()) == ["config.json", "model.safetensors", "tokenizer.model"]


def test_the_weights_of_the_last_checkpoint_of_a_run_are_found(client: Client) -> None:
    files = {"checkpoint-9/model.safetensors": b"old", "checkpoint-10/model.safetensors": WEIGHTS}
    client.publish(files=files)
    found = client.ask("fetch")
    assert (Path(found["path"]) / "checkpoint-10" / "model.safetensors").read_bytes() == WEIGHTS
    assert len(client.blobs()) == 1


def test_weights_in_several_files_are_fetched_by_their_index(client: Client) -> None:
    folder = checkpoint("flat_sharded")
    client.publish(files={path.name: path.read_bytes() for path in folder.iterdir()})
    installed = client.ask("install")
    load_model(installed["path"])


@pytest.mark.parametrize("name", ["../model.safetensors", "a/b.safetensors", "model.py", 7])
def test_an_index_may_only_name_weights_beside_it(client: Client, name: object) -> None:
    index = json.dumps({"weight_map": {"a": name}}).encode()
    client.publish(files={"model.safetensors.index.json": index})
    client.fails("look", ConversionError, "no weight file beside it")


# Fetching


def test_the_cache_is_the_one_that_the_hubs_own_client_reads(client: Client) -> None:
    from huggingface_hub import scan_cache_dir, try_to_load_from_cache

    repo = client.publish()
    found = client.ask("fetch")
    assert found["commit"] == repo.commit
    loaded = try_to_load_from_cache("ann/tiny", "model.safetensors", cache_dir=client.cache)
    assert isinstance(loaded, str)
    assert Path(loaded).read_bytes() == WEIGHTS
    report = scan_cache_dir(client.cache)
    assert not report.warnings
    [listed] = report.repos
    assert (listed.repo_id, listed.nb_files) == ("ann/tiny", 2)
    assert next(iter(listed.refs)) == "main"


def test_progress_counts_the_bytes_of_all_files(client: Client) -> None:
    client.publish()
    client.ask("fetch")
    counts = [entry["done"] for entry in client.progress]
    assert counts == sorted(counts)
    assert client.progress[-1] == {
        "stage": "download",
        "file": "model.safetensors",
        "done": len(WEIGHTS) + 2,
        "total": len(WEIGHTS) + 2,
    }


def test_the_token_is_not_shown_to_the_content_network(client: Client) -> None:
    client.publish()
    client.ask("fetch")
    assert all("Authorization" not in headers for headers in client.hub.bodies())
    assert {path.split("/")[1] for path in client.hub.paths()} <= {"api", "ann", "cdn"}, "nothing else is asked"


def test_a_cut_connection_is_gone_on_from_where_it_ended(client: Client) -> None:
    client.publish(body=[("cut", 1000), ("cut", 500)])
    found = client.ask("fetch")
    ranges = [headers.get("Range") for headers in client.hub.bodies() if headers.get("Range", "-").endswith("-")]
    assert ranges == [None, "bytes=1000-", "bytes=1500-"]
    assert (Path(found["path"]) / "model.safetensors").read_bytes() == WEIGHTS


def test_what_came_before_the_line_broke_is_kept_for_the_next_try(client: Client) -> None:
    repo = client.publish(body=[("cut", 1000), ("cut", 0), ("cut", 0), ("cut", 0)])
    client.fails("fetch", ModelNotFoundError, "stopped at 1,000 of", "goes on from there")
    repo.body.clear()
    client.hub.requests.clear()
    client.ask("fetch")
    assert [h["Range"] for h in client.hub.bodies() if h.get("Range", "").endswith("-")] == ["bytes=1000-"]
    assert WEIGHTS in client.blobs().values()
    assert not client.parts()


def test_a_stalled_line_ends_in_one_line(client: Client) -> None:
    client.publish(body=[("stall", 700)] + [("stall", 0)] * 3)
    client.fails("fetch", ModelNotFoundError, "stopped at 700 of", "did not answer in time")


def test_a_part_that_was_damaged_on_the_disk_is_thrown_away(client: Client) -> None:
    repo = client.publish(body=[("cut", 1000), ("cut", 0), ("cut", 0), ("cut", 0)])
    client.fails("fetch", ModelNotFoundError)
    [part] = client.parts()
    part.write_bytes(b"x" * 1000)
    repo.body.clear()
    client.ask("fetch")
    assert WEIGHTS in client.blobs().values()


def test_a_part_that_is_too_long_is_thrown_away(client: Client) -> None:
    client.publish()
    blobs = client.cache / "models--ann--tiny" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{sha256(WEIGHTS)}.mixer-part").write_bytes(bytes(len(WEIGHTS) + 1))
    client.ask("fetch")
    assert WEIGHTS in client.blobs().values()


def test_a_server_that_begins_at_the_beginning_is_understood(client: Client) -> None:
    client.publish(body=[("cut", 1000), "whole"])
    client.ask("fetch")
    assert WEIGHTS in client.blobs().values()


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        (["corrupt"], "other content than its hash says"),
        (["corrupt tail"], "other content than its hash says"),
        ([("cut", 9), "corrupt tail"], "other content than its hash says"),
        (["short"], "sends 51,273 bytes"),
        (["long"], "sends 51,284 bytes"),
        (["endless"], "more of model.safetensors than"),
        (["html"], "login page"),
        ([("cut", 9), "other part"], "another part"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_content_that_is_not_what_was_listed_is_never_kept(client: Client, faults: list[Any], words: str) -> None:
    client.publish(body=list(faults))
    expected = words.replace("51,273", f"{len(WEIGHTS) - 7:,}").replace("51,284", f"{len(WEIGHTS) + 4:,}")
    client.fails("fetch", HubError, expected)
    assert WEIGHTS not in client.blobs().values()
    assert not any((client.cache / "models--ann--tiny" / "snapshots").rglob("model.safetensors"))
    assert all(len(part.read_bytes()) <= 9 for part in client.parts())
    client.ask("fetch")
    assert WEIGHTS in client.blobs().values()


def test_bits_that_rot_in_the_cache_are_fetched_again(client: Client) -> None:
    client.publish()
    client.ask("fetch")
    blob = client.cache / "models--ann--tiny" / "blobs" / sha256(WEIGHTS)
    blob.write_bytes(WEIGHTS[:-1] + bytes([WEIGHTS[-1] ^ 1]))
    client.ask("fetch")
    assert blob.read_bytes() == WEIGHTS


def test_a_disk_that_takes_no_more_ends_in_one_line_and_loses_nothing(client: Client) -> None:
    client.publish(files={"model.safetensors": WEIGHTS})
    client.fails("fetch", ResourceError, "cannot take model.safetensors", "File too large", largest_file=50_000)
    [part] = client.parts()
    assert part.read_bytes() == WEIGHTS[: part.stat().st_size]
    client.ask("fetch")
    assert WEIGHTS in client.blobs().values()


def test_what_is_whole_is_not_fetched_twice(client: Client) -> None:
    client.publish()
    client.ask("fetch")
    client.hub.requests.clear()
    client.ask("fetch")
    assert all(not headers.get("Range", "bytes=0-").endswith("-") for headers in client.hub.bodies())


@pytest.mark.parametrize(
    ("head", "words"),
    [
        ({"X-Linked-Etag": '"../../../../evil"'}, "as the hash of"),
        ({"X-Linked-Etag": '"/tmp/evil"'}, "as the hash of"),
        ({"X-Linked-Etag": f'"{"0" * 64}"'}, "as the hash of"),
        ({"X-Linked-Size": "3"}, "gives 3 bytes as the size"),
        ({"X-Repo-Commit": "b" * 40}, "from commit 'bbbb"),
        ({"X-Repo-Commit": ""}, "did not come from the Hub"),
    ],
    ids=["etag that climbs", "absolute etag", "changed etag", "wrong size", "wrong commit", "no commit"],
)
def test_headers_that_contradict_the_listing_are_refused(
    client: Client, head: dict[str, str], words: str, tmp_path: Path
) -> None:
    client.publish(files={"model.safetensors": WEIGHTS}, head=head)
    client.fails("fetch", HubError, words)
    assert not list(tmp_path.rglob("evil*"))
    assert not client.blobs()


@pytest.mark.parametrize(
    "name",
    [
        "../../config.json",
        "/etc/model.safetensors",
        "..\\config.json",
        "C:\\config.json",
        "a//config.json",
        "a\x1b[2J.json",
    ],
)
def test_a_listing_with_a_name_that_leaves_its_folder_is_refused_whole(client: Client, name: str) -> None:
    client.publish(listing={"more": [{"rfilename": name, "size": 1, "blobId": "0" * 40}]})
    message = client.fails("fetch", HubError, "not a safe name")
    assert "\x1b" not in message
    assert not client.cache.exists()


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"size": -1, "blobId": "0" * 40}, "as the size"),
        ({"size": 1, "blobId": "../x"}, "as the hash"),
        ({"size": 1}, "as the hash"),
        ({"size": 1, "blobId": "0" * 40, "lfs": {"sha256": "zz", "size": 1, "pointerSize": 1}}, "as the hash"),
    ],
)
def test_a_listing_with_odd_sizes_or_hashes_is_refused(client: Client, row: dict[str, Any], words: str) -> None:
    client.publish(listing={"more": [{"rfilename": "config2.json", **row}]})
    client.fails("look", HubError, words)


@pytest.mark.parametrize(
    ("listing", "words"),
    [
        ({"sha": "main"}, "expected 40 hex digits"),
        ({"sha": None}, "expected 40 hex digits"),
        ({"raw": b"[]"}, "cannot be understood"),
        ({"raw": b'{"id": 5, "siblings": [5]}'}, "cannot be understood"),
        ({"raw": b"<html>"}, "did not come from the Hub"),
        ({"endless": True}, "does not end"),
    ],
    ids=["branch as commit", "no commit", "list", "odd shape", "no json", "endless"],
)
def test_answers_of_the_wrong_shape_are_refused(client: Client, listing: dict[str, Any], words: str) -> None:
    client.publish(listing=listing)
    client.fails("look", HubError, words)


def test_a_commit_that_was_asked_for_must_be_the_one_that_is_served(client: Client) -> None:
    repo = client.publish()
    assert client.ask("look", revision=repo.commit)["commit"] == repo.commit
    repo.listing["sha"] = "c" * 40
    client.fails("look", HubError, "was asked for", revision=repo.commit)


def test_a_header_of_absurd_length_is_refused_unread(client: Client) -> None:
    client.publish(files={"model.safetensors": (1 << 40).to_bytes(8, "little") + b"{}"})
    client.fails("look", ConversionError, "does not begin as a safetensors file does")


# Whom the Hub lets in, and when it is out of order


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        ((403, {}), ModelNotFoundError, "(403)"),
        ((404, {}), ModelNotFoundError, "there is no repository ann/tiny"),
        ((429, {"Retry-After": "17"}), HubError, "17 seconds"),
        ((429, {"Retry-After": "soon"}), HubError, "a few minutes"),
        ((500, {}), ModelNotFoundError, "out of order (500)"),
        ((503, {}), ModelNotFoundError, "out of order (503)"),
        ((418, {}), HubError, "status 418"),
        ((200, {}), HubError, "login page"),
    ],
    ids=lambda value: str(value[0]) if isinstance(value, tuple) else "",
)
def test_every_status_ends_in_one_line(client: Client, status: Any, kind: type[MixerError], words: str) -> None:
    client.publish(status={"info": status})
    client.fails("look", kind, words)


@pytest.mark.parametrize("status", [(403, {}), (404, {}), (429, {"Retry-After": "17"}), (500, {}), (200, {})])
def test_files_that_are_refused_one_by_one_end_in_one_line(client: Client, status: Any) -> None:
    client.publish(status={"resolve": status})
    client.fails("fetch", MixerError)


def test_a_busy_content_network_is_tried_again(client: Client) -> None:
    client.publish(body=[503])
    client.ask("fetch")
    assert WEIGHTS in client.blobs().values()


def test_a_repository_that_is_not_there_may_be_private(client: Client) -> None:
    client.publish("ann/secret", private=True)
    client.fails("look", ModelNotFoundError, "there is no repository ann/secret", "HF_TOKEN", repo="ann/secret")


def test_an_unknown_revision_is_named(client: Client) -> None:
    client.publish()
    client.fails("look", ModelNotFoundError, "no branch, tag or commit 'v2'", revision="v2")


def test_a_gated_repository_says_what_to_do(client: Client) -> None:
    client.publish(gated="manual", token="right")
    outlook = client.ask("look")
    assert outlook["is_gated"]
    assert not outlook["works"]
    assert "accept its conditions" in outlook["words"]
    assert "HF_TOKEN" in outlook["words"]
    client.fails("fetch", MixerError, "is gated")


def test_a_token_opens_gated_and_private_repositories(client: Client) -> None:
    repo = client.publish(gated="manual", token="hf_right", private=True)
    assert client.ask("look", environ={"HF_TOKEN": "hf_right"})["works"]
    assert "gated" in client.ask("look", environ={"HF_TOKEN": "hf_other"})["words"]
    repo.status["info"] = (401, {})
    client.fails("look", ModelNotFoundError, "refuses the token in HF_TOKEN", environ={"HF_TOKEN": "hf_other"})


def test_search_lists_what_the_hub_finds(client: Client) -> None:
    client.publish("ann/tiny-mixer")
    client.publish("bob/tiny-llama", files={"config.json": LLAMA}, gated="auto")
    client.publish("bob/else")
    rows = client._worker.ask(task="search", query="tiny", limit=20)
    assert [(row["repo"], row["model_type"], row["is_gated"]) for row in rows] == [
        ("ann/tiny-mixer", None, False),
        ("bob/tiny-llama", "llama", True),
    ]
    assert rows[0]["updated"] == "2026-01-02"


# From a repository to a model


def test_an_installed_model_names_its_repository_and_commit(client: Client) -> None:
    repo = client.publish()
    done = client.ask("install")
    assert done["path"] == str(client.models / "tiny")
    provenance = load_config(done["path"]).provenance
    assert provenance is not None
    assert (provenance.source, provenance.revision) == ("ann/tiny", repo.commit)
    assert provenance.sha256 == {"model.safetensors": hashlib.sha256(WEIGHTS).hexdigest()}
    load_model(done["path"])
    assert [entry["stage"] for entry in client.progress][-1] == "convert"


def test_installing_twice_is_no_error_and_another_model_is_not_replaced(client: Client) -> None:
    client.publish()
    client.ask("install")
    assert client.ask("install")["note"] == "it was here already"
    client.publish("bob/tiny", files={"model.safetensors": checkpoint("flat").read_bytes()})
    client.fails("install", MixerError, "is another model", "models rm tiny", repo="bob/tiny")
    assert client.ask("install", repo="bob/tiny", name="other")["path"] == str(client.models / "other")


@pytest.mark.parametrize("name", ["../x", "a/b", ".x", "", "a\x1b"])
def test_a_model_is_only_named_by_a_plain_name(client: Client, name: str) -> None:
    client.publish()
    client.fails("install", MixerError, "cannot be the name of a model", name=name)


def test_a_model_in_our_own_form_is_copied_as_it_is(client: Client, tmp_path: Path) -> None:
    folder = tiny_model_folder(tmp_path / "own")
    client.publish(files={path.name: path.read_bytes() for path in folder.iterdir()})
    assert client.ask("look")["kind"] == "mlx-mixer model"
    done = client.ask("install")
    assert (Path(done["path"]) / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    assert not (Path(done["path"]) / "model.safetensors").is_symlink()


def test_a_transformer_stays_where_mlx_lm_finds_it(client: Client) -> None:
    client.publish(files={"config.json": LLAMA, "model.safetensors": llama_weights()})
    done = client.ask("install")
    assert done["kind"] == "transformer"
    assert "snapshots" in done["path"]
    assert not client.models.exists()


def test_a_damaged_checkpoint_is_refused_after_it_came_whole(client: Client) -> None:
    damaged = WEIGHTS[:-4] + b"\x00\x00\xc0\x7f"  # NaN
    client.publish(files={"model.safetensors": damaged})
    client.fails("install", ConversionError, "NaN")
    assert not (client.models / "tiny").exists()


# And back


def test_an_uploaded_model_comes_back_the_same(client: Client, tmp_path: Path) -> None:
    folder = tiny_model_folder(tmp_path / "own")
    (folder / "notes.txt").write_text("private")
    figures = {"mine": {"perplexity": 12.34, "bits_per_byte": 1.5, "top1": []}}
    (folder / "evaluation.json").write_text(json.dumps(figures))
    sent = client.upload(folder, "ann/back")
    repo = client.hub.repos["ann/back"]
    url = f"{client.hub.url}/ann/back"
    assert sent == {"repo": "ann/back", "url": url, "commit": repo.commit, "private": True}
    assert repo.private
    assert set(repo.files) == {"README.md"} | {path.name for path in folder.iterdir()} - {
        "notes.txt",
        "evaluation.json",
    }
    assert "12.3" in repo.files["README.md"].decode()
    done = client.ask("install", "ann/back", environ={"HF_TOKEN": "hf_right"})
    assert (Path(done["path"]) / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    load_model(done["path"])


def test_paths_of_this_machine_are_not_uploaded(client: Client, tmp_path: Path) -> None:
    folder = tiny_model_folder(tmp_path / "own")
    config = json.loads((folder / "config.json").read_text())
    config["provenance"] = {"source": "run", "hints": {"tokenizer": "/home/ann/secret/tokenizer.json", "mixer": "flat"}}
    (folder / "config.json").write_text(json.dumps(config))
    client.upload(folder, "ann/back")
    files = client.hub.repos["ann/back"].files
    assert json.loads(files["config.json"])["provenance"]["hints"] == {"tokenizer": "tokenizer.json", "mixer": "flat"}
    assert b"secret" not in b"".join(files.values())


def test_a_card_that_lies_in_the_folder_is_kept(client: Client, tmp_path: Path) -> None:
    folder = tiny_model_folder(tmp_path / "own")
    (folder / "README.md").write_text("my own words")
    client.upload(folder, "ann/back")
    assert client.hub.repos["ann/back"].files["README.md"] == b"my own words"


def test_nothing_is_uploaded_to_a_public_repository_by_accident(client: Client, tmp_path: Path) -> None:
    folder = tiny_model_folder(tmp_path / "own")
    repo = client.publish("ann/open", files={})
    with pytest.raises(HubError, match="is public; give --public"):
        client.upload(folder, "ann/open")
    assert repo.files == {}
    assert not client.upload(folder, "ann/open", public=True)["private"]


def test_an_upload_without_a_token_or_a_model_is_refused(client: Client, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="HF_TOKEN"):
        client.upload(tiny_model_folder(tmp_path / "own"), "ann/back", token="")
    with pytest.raises(ModelNotFoundError, match=r"no config.json"):
        client.upload(tmp_path, "ann/back")
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(UnsupportedModelError, match=r"type 'llama'.*hf upload ann/back"):
        client.upload(tmp_path, "ann/back")
    assert client.hub.repos == {}


def test_hashes_are_those_of_git_and_of_large_file_storage() -> None:
    """The fake is checked against git's published example, so that both sides cannot be wrong together."""
    assert git_sha1(b"what is up, doc?") == "bd9dbf5aae1a3862dd1526723246b20206e5fc37"
    assert sha256(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
