"""What the room offers, and what its import costs."""

import subprocess
import sys

import pytest

import convert


def test_every_public_name_exists() -> None:
    for name in convert.__all__:
        assert getattr(convert, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = convert.nothing


def test_tokenizers_are_translated_without_mlx() -> None:
    code = "import sys, convert; convert.sentencepiece_to_tokenizer_json; sys.exit('mlx.core' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
