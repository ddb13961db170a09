"""A personal model knows which files it learned from, whatever they are called later."""

import json
from pathlib import Path

from mlx_mixer.documents.known_items import StoredChunk
from mlx_mixer.personal.learned import KEY, learned_files, marks_of
from mlx_mixer.personal.mining import Document
from mlx_mixer.personal.provenance import NAME
from tests.tiny import tiny_model_folder


def chunks(*bodies: str) -> list[StoredChunk]:
    return [StoredChunk(seq, "", body) for seq, body in enumerate(bodies)]


def test_a_file_is_known_by_its_path_or_by_its_text(tmp_path: Path) -> None:
    folder = tiny_model_folder(tmp_path / "personal")
    assert learned_files(str(folder)) is None
    odd = "/docs/\udcff.md"
    marks = marks_of(
        [Document(1, "/docs/a.md", "markdown", chunks("one", "two")), Document(2, odd, "text", chunks(""))]
    )
    (folder / NAME).write_text(json.dumps({"origin": "default", KEY: marks}))
    learned = learned_files(str(folder))
    assert learned is not None
    assert learned("/docs/a.md", chunks("something else"))
    assert learned("/docs/renamed.md", chunks("one", "two"))
    assert learned(odd, chunks("new"))
    assert not learned("/docs/b.md", chunks("one", "2"))
    assert "a.md" not in (folder / NAME).read_text()


def test_models_that_do_not_say_are_no_personal_models(tmp_path: Path) -> None:
    folder = tiny_model_folder(tmp_path / "personal")
    (folder / NAME).write_text(json.dumps({"origin": "default"}))
    assert learned_files(str(folder)) is None
    assert learned_files(str(tmp_path / "gone")) is None
    assert learned_files("default") is None
