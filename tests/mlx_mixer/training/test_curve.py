"""The picture of training runs."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from mlx_mixer.errors import MixerError, ModelNotFoundError
from mlx_mixer.training.curve import curve_lines, curve_svg, read_curves


def write_log(folder: Path, losses: list[float]) -> Path:
    folder.mkdir()
    entries = [{"step": step, "loss": loss} for step, loss in enumerate(losses, start=1)]
    log = folder / "training_log.jsonl"
    log.write_text("".join(json.dumps(entry) + "\n" for entry in [*entries, {"step": len(losses), "score": 0.5}]))
    return log


def test_ten_steps_are_one_point_and_validations_are_left_out(tmp_path: Path) -> None:
    curves = read_curves([write_log(tmp_path / "a&b", [2.0, 4.0] * 6)])
    assert curves == {"a&b": [(10, 3.0), (12, 3.0)]}
    assert [json.loads(line)["step"] for line in curve_lines(curves).splitlines()] == [10, 12]


def test_runs_stand_beside_each_other_in_one_well_formed_picture(tmp_path: Path) -> None:
    logs = [write_log(tmp_path / "a&b", [4.0] * 20), write_log(tmp_path / "c", [1.0] * 20)]
    root = ElementTree.fromstring(curve_svg(read_curves(logs)))
    lines = [line.attrib["points"].split() for line in root.iter("{http://www.w3.org/2000/svg}polyline")]
    assert len(lines) == 2
    assert float(lines[0][-1].split(",")[0]) < float(lines[1][0].split(",")[0])
    # Up is less in a picture: the larger loss stands above.
    assert float(lines[0][0].split(",")[1]) < float(lines[1][0].split(",")[1])


def test_missing_and_empty_logs_are_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="does not exist"):
        read_curves([tmp_path / "none"])
    with pytest.raises(MixerError, match="holds no step"):
        read_curves([write_log(tmp_path / "empty", [])])
