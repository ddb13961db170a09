"""The parts of the Hub's room that need no server: what fits, what is known, what the cache and the card hold."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from convert.hub.cache import RepositoryCache, cache_folder, origin_of
from convert.hub.installed import cached_transformers, remove_model
from convert.hub.kinds import Contents, mlx_lm_runs
from convert.hub.listing import RemoteFile
from convert.hub.model_card import model_card
from convert.hub.outlook import Outlook, Room, obstacles_of_room, predict_sizes
from convert.hub.reference import Reference
from mlx_mixer.errors import ModelNotFoundError
from tests.convert.files import entry, safetensors_bytes
from tests.convert.golden import checkpoint
from tests.convert.hub_server import git_sha1, sha256
from tests.tiny import tiny_model_folder

GB = 10**9
ROOMY = Room(cache_disk=100 * GB, models_disk=100 * GB, same_disk=True, memory=16 * GB)


@pytest.mark.parametrize(
    ("download", "converted", "memory", "room", "words"),
    [
        (1 * GB, 2 * GB, 2 * GB, ROOMY, []),
        (60 * GB, 50 * GB, 2 * GB, ROOMY, ["110.0 GB", "100.0 GB are free"]),
        (60 * GB, 50 * GB, 2 * GB, Room(100 * GB, 100 * GB, False, None), []),
        (1 * GB, 50 * GB, 2 * GB, Room(100 * GB, 9 * GB, False, None), ["models folder", "9.0 GB are free"]),
        (1 * GB, 1 * GB, 13 * GB, ROOMY, ["memory", "13.0 GB", "16.0 GB", "75%"]),
        (0, 0, 1, Room(0, 0, True, None), []),
    ],
    ids=["fits", "one disk", "two disks", "models disk", "memory", "all here"],
)
def test_what_does_not_fit_is_said_with_both_numbers(
    download: int, converted: int, memory: int, room: Room, words: list[str]
) -> None:
    found = obstacles_of_room(download, converted, memory, room)
    assert bool(found) == bool(words)
    for word in words:
        assert word in found[0]


def test_conversion_is_predicted_in_float32_and_transformers_stay_as_they_are() -> None:
    assert predict_sizes(Contents("mixer checkpoint", "flat", "", 1000), 2000) == (4000, 4800)
    assert predict_sizes(Contents("unknown", None, "", None), 2000) == (4000, 4800)
    assert predict_sizes(Contents("transformer", "llama", "", 1000), 2000) == (0, 2400)


def test_an_outlook_survives_json() -> None:
    outlook = Outlook(
        "a/b",
        "c" * 40,
        "transformer",
        "llama",
        "a llama",
        None,
        False,
        (("x", 1),),
        1,
        1,
        0,
        1,
        1,
        None,
        (),
        True,
        True,
    )
    assert Outlook.from_dict(outlook.to_dict()) == outlook


def test_the_types_that_mlx_lm_runs_are_those_it_would_import() -> None:
    from mlx_lm.utils import MODEL_REMAPPING

    assert MODEL_REMAPPING
    assert all(mlx_lm_runs(name) for name in MODEL_REMAPPING)
    assert mlx_lm_runs("llama")
    assert mlx_lm_runs("qwen3")
    for name in ("base", "cache", "novel", "../llama", "__init__"):
        assert not mlx_lm_runs(name)


@pytest.mark.parametrize(
    "environ",
    [
        {"HF_HUB_CACHE": "/a/b"},
        {"HF_HOME": "/a/home"},
        {"XDG_CACHE_HOME": "/a/cache"},
        {"HF_HOME": "/a/home", "HF_HUB_CACHE": "/a/b"},
        {"HUGGINGFACE_HUB_CACHE": "/a/old"},
        {},
    ],
)
def test_the_cache_is_where_the_hubs_client_has_it(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    for name in ("HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    # A second copy of the client's own constants, read under this environment.
    spec = importlib.util.find_spec("huggingface_hub.constants")
    assert spec is not None
    assert spec.loader is not None
    fresh = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fresh)
    assert cache_folder(os.environ) == Path(fresh.HF_HUB_CACHE)


def test_a_path_in_the_cache_tells_its_repository_and_commit(tmp_path: Path) -> None:
    commit = "a" * 40
    inside = tmp_path / "models--ann--tiny" / "snapshots" / commit
    assert origin_of(inside) == ("ann/tiny", commit)
    assert origin_of(inside / "checkpoint-9" / "model.safetensors") == ("ann/tiny", commit)
    for other in (tmp_path, inside.with_name("main"), tmp_path / "datasets--ann--tiny" / "snapshots" / commit):
        assert origin_of(other) is None


def cached(cache: Path, repo: str, **files: bytes) -> RepositoryCache:
    kept = RepositoryCache.of(repo, cache)
    commit = "a" * 40
    for name, content in files.items():
        name = name.replace("_", ".", 1)
        file = RemoteFile(name, len(content), sha256(content) if name.endswith("safetensors") else git_sha1(content))
        blob = kept.blob(file.digest)
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(content)
        kept.link(file, commit)
    kept.remember(Reference(repo), commit)
    return kept


def test_transformers_that_are_whole_in_the_cache_are_listed(tmp_path: Path) -> None:
    llama = b'{"model_type": "llama"}'
    weights = safetensors_bytes({"model.norm.weight": entry("F32", [1], 0, 4)}, bytes(4))
    kept = cached(tmp_path, "ann/whole", config_json=llama, model_safetensors=weights)
    cached(tmp_path, "ann/half", config_json=llama)
    cached(tmp_path, "ann/mixer", config_json=llama, model_safetensors=checkpoint("flat").read_bytes())
    cached(tmp_path, "ann/bare", config_json=b"{}", model_safetensors=weights)
    cached(tmp_path, "ann/odd", config_json=b"[", model_safetensors=b"1234")
    (tmp_path / "models--ann--empty").mkdir()
    (tmp_path / "datasets--ann--data").mkdir()
    [found] = cached_transformers(tmp_path)
    assert (found.repo, found.model_type, found.bytes) == ("ann/whole", "llama", len(weights))
    assert found.path == kept.snapshot("a" * 40)
    assert cached_transformers(tmp_path / "none") == []


def test_parts_of_files_that_nobody_wants_are_dropped_after_a_day(tmp_path: Path) -> None:
    kept = cached(tmp_path, "ann/tiny", config_json=b"{}")
    for name, age in (("a" * 64, 90_000), ("b" * 64, 90_000), ("c" * 64, 10)):
        kept.part(name).write_bytes(b"half")
        os.utime(kept.part(name), (1_000_000 - age, 1_000_000 - age))
    kept.drop_stale_parts({"b" * 64}, now=1_000_000)
    assert sorted(path.name[0] for path in (kept.folder / "blobs").glob("*.mixer-part")) == ["b", "c"]


def test_removing_a_model_frees_its_folder_and_touches_nothing_else(tmp_path: Path) -> None:
    models = tmp_path / "models"
    tiny_model_folder(models / "mine")
    outside = tiny_model_folder(tmp_path / "outside")
    (models / "link").symlink_to(outside)
    assert remove_model(models, "mine") == models / "mine"
    remove_model(models, "link")
    assert list(models.iterdir()) == []
    assert (outside / "config.json").is_file()


@pytest.mark.parametrize("name", ["../outside", "/etc", "", ".", "..", ".mine.partial", "a/b", "none"])
def test_only_models_of_the_models_folder_can_be_removed(name: str, tmp_path: Path) -> None:
    outside = tiny_model_folder(tmp_path / "outside")
    (tmp_path / "models").mkdir()
    with pytest.raises(ModelNotFoundError, match="there is no model"):
        remove_model(tmp_path / "models", name)
    assert (outside / "config.json").is_file()


CONFIG: dict[str, Any] = {
    "model_type": "language_mixer",
    "hidden_size": 8,
    "context_length": 24,
    "pooling": "mean",
    "provenance": {
        "source": "ann/tiny",
        "family": "flat",
        "revision": "c" * 40,
        "sha256": {"model.safetensors": "d" * 64},
        "hints": {"padding_side": "left"},
    },
    "quantization": {"bits": 4, "group_size": 32, "mode": "affine"},
}


def card(**changes: Any) -> str:
    facts = {"parameters": 1234, "weight_bytes": 5_000_000, "has_tokenizer": True, "evaluation": None}
    return model_card("ann/back", changes.pop("config", CONFIG), **{**facts, **changes})


def test_a_card_tells_origin_settings_and_use() -> None:
    text = card()
    head = yaml.safe_load(text.split("---")[1])
    assert head["base_model"] == "ann/tiny"
    assert head["pipeline_tag"] == "text-generation"
    settings = ("| told: padding\\_side | left |", "| `hidden_size` | 8 |", "4 bits in groups of 32")
    use = ("mlx-mixer models download ann/back", "generate --model back")
    for words in ("1,234 parameters", "5.0 MB", "c" * 40, "d" * 64, *settings, *use):
        assert words in text
    assert "No licence is named" in text


def test_a_card_shows_figures_as_they_were_measured() -> None:
    row = {"candidates": 32, "mixer": 94.04, "half_width": 0.7, "bm25": 94.2}
    text = card(evaluation={"mine": {"perplexity": 110.5, "bits_per_byte": 1.7483, "top1": [row]}, "odd": 5})
    for words in ("perplexity per token | 110.5", "1.748", "among 32 | 94.0 % (BM25 94.2 %)"):
        assert words in text
    assert "No figures lie in the folder" in card()


def test_foreign_text_cannot_break_out_of_a_card() -> None:
    evil = "x | <script>alert(1)</script>\n---\n# [a](b) \x1b[2J"
    text = card(config={**CONFIG, "provenance": {"source": evil, "hints": {evil: evil}}})
    assert "<script>" not in text
    assert "\x1b" not in text
    assert "[a](b)" not in text
    assert yaml.safe_load(text.split("---")[1])["library_name"] == "mlx"


def test_a_model_without_words_says_how_to_use_it() -> None:
    text = card(has_tokenizer=False, config={"model_type": "retrieval_mixer", "hidden_size": 8, "context_length": 4})
    assert "no tokenizer" in text
    assert "trained with mlx-mixer" in text
