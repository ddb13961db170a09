"""Where files are kept."""

from pathlib import Path

from mlx_mixer.paths import default_paths


def test_one_variable_moves_everything() -> None:
    paths = default_paths({"MLX_MIXER_HOME": "/x", "XDG_DATA_HOME": "/y", "HOME": "/h"})
    assert {paths.config, paths.data, paths.state} == {Path("/x/config"), Path("/x/data"), Path("/x/state")}
    assert paths.library == Path("/x/data/library.sqlite3")
    assert paths.models == Path("/x/data/models")


def test_xdg_variables_are_followed_and_default() -> None:
    paths = default_paths({"XDG_DATA_HOME": "/y", "HOME": "/h"})
    assert paths.data == Path("/y/mlx-mixer")
    assert paths.config == Path("/h/.config/mlx-mixer")
    assert paths.state == Path("/h/.local/state/mlx-mixer")


def test_a_relative_xdg_variable_is_ignored_as_the_specification_says() -> None:
    assert default_paths({"XDG_DATA_HOME": "data", "HOME": "/h"}).data == Path("/h/.local/share/mlx-mixer")
