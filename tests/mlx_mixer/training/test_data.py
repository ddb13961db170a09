"""What is read from files, and what bad files say."""

import gzip
import json
from pathlib import Path

import pytest

from mlx_mixer.errors import MixerError, ModelNotFoundError
from mlx_mixer.training.data import Pair, read_pairs
from mlx_mixer.training.text_sources import read_texts

RECORDS = [
    {"passage": "To be stopped.", "query_hard": "how to stop", "query_raw": "stop - how to stop", "overlap": 0.5},
    {"text": "A text.", "query": "a question"},
    {"passage": "No query.", "query_hard": None},
]


def write(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "b.txt").write_text("plain text\n")
    (folder / "skipped.bin").write_bytes(b"\xff")
    (folder / "empty.md").write_text(" \n")
    with gzip.open(folder / "a.jsonl.gz", "wt") as file:
        file.write("\n".join(json.dumps(record) for record in RECORDS) + "\n\n")
    return folder


def test_texts_come_from_every_kind_of_file_in_order(tmp_path: Path) -> None:
    folder = write(tmp_path / "data")
    assert read_texts([folder]) == ["To be stopped.", "A text.", "No query.", "plain text\n"]
    assert read_texts([folder / "b.txt", folder / "a.jsonl.gz"])[0] == "plain text\n"


def test_pairs_keep_every_query_hardest_first(tmp_path: Path) -> None:
    assert read_pairs([write(tmp_path / "data")]) == [
        Pair("To be stopped.", ("how to stop", "stop - how to stop"), hard_query="how to stop", overlap=0.5),
        Pair("A text.", ("a question",)),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no pairs found"),
        ('{"passage": "x"}\n', "no pairs found"),
        ("nonsense\n", "line 1: not JSON"),
        ("[1]\n", "line 1: a list, where an object"),
        ("[" * 100_000, "line 1: not JSON"),
    ],
    ids=["empty", "no query", "no JSON", "no object", "too deep"],
)
def test_bad_records_are_one_clear_line(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text(content)
    with pytest.raises(MixerError, match=message) as error:
        read_pairs([file])
    assert "\n" not in str(error.value)


def test_damaged_gzip_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl.gz").write_bytes(b"not gzip")
    with pytest.raises(MixerError, match=r"x\.jsonl\.gz cannot be read"):
        read_texts([tmp_path])


def test_missing_and_empty_sources_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="does not exist"):
        read_texts([tmp_path / "nowhere"])
    with pytest.raises(MixerError, match="no text found"):
        read_texts([tmp_path])
