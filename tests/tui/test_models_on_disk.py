import json
from pathlib import Path

import pytest

from mlx_mixer.checkpoint import default_model_path
from mlx_mixer.errors import ModelNotFoundError
from tui.models_on_disk import bundled_folder, describe_model, list_models, size_text


def model_folder(folder: Path, **config: object) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(b"x" * 1500)
    return folder


def test_a_masked_mixer_is_described_by_family_size_and_context(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "mine", model_type="language_mixer", token_mixing="headed", context_length=512)
    model = describe_model(folder)
    assert (model.name, model.family, model.size_bytes, model.context_length) == (
        "mine",
        "masked mixer, headed",
        1500,
        512,
    )


def test_models_of_other_kinds_are_described_as_far_as_they_say(tmp_path: Path) -> None:
    assert (
        describe_model(model_folder(tmp_path / "a", model_type="llama", max_position_embeddings=4096)).context_length
        == 4096
    )
    assert describe_model(model_folder(tmp_path / "b")).family == "unknown kind"


def test_folders_without_a_model_are_left_out_of_the_list(tmp_path: Path) -> None:
    model_folder(tmp_path / "good", model_type="language_mixer")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    broken = model_folder(tmp_path / "broken")
    (broken / "config.json").write_text("{")
    assert [model.name for model in list_models(tmp_path) if model.path is not None] == ["good"]


def test_a_missing_models_folder_is_an_empty_list(tmp_path: Path) -> None:
    assert [model for model in list_models(tmp_path / "none") if model.path is not None] == []


@pytest.mark.parametrize(("make", "message"), [(False, "is not a folder"), (True, "holds no config.json")])
def test_what_is_not_a_model_is_refused_in_one_line(tmp_path: Path, make: bool, message: str) -> None:
    if make:
        (tmp_path / "x").mkdir()
    with pytest.raises(ModelNotFoundError, match=message):
        describe_model(tmp_path / "x")


def test_the_bundled_model_is_the_one_the_library_loads_by_default() -> None:
    assert bundled_folder() == default_model_path()


@pytest.mark.parametrize(
    ("size", "text"), [(0, "1 kB"), (1500, "1 kB"), (11_900_000, "12 MB"), (1_400_000_000, "1.4 GB")]
)
def test_sizes_are_written_for_people(size: int, text: str) -> None:
    assert size_text(size) == text
