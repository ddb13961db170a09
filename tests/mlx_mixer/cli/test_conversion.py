"""What a long conversion shows while it runs."""

import io

import pytest

from mlx_mixer.cli import conversion
from mlx_mixer.cli.conversion import ConversionBar
from mlx_mixer.cli.transfer_bar import TransferBar


def shown(monkeypatch: pytest.MonkeyPatch, seconds: list[float]) -> str:
    """What stands on stderr after calls at these moments, each a tenth further."""
    stream = io.StringIO()
    with ConversionBar("big.safetensors", TransferBar(stream)) as bar:
        for number, moment in enumerate(seconds, 1):
            with monkeypatch.context() as patch:
                patch.setattr(conversion, "_now", moment.__float__)
                bar(number * 10, 10 * len(seconds))
    return stream.getvalue()


def test_a_short_conversion_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, [5.0, 5.2, 5.9]) == ""


def test_a_long_one_shows_bytes_done_and_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = shown(monkeypatch, [5.0, 5.5, 6.5, 6.51, 8.0, 8.01]).splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("converting")
    assert "30 B of 60 B" in lines[0]
    assert "50 B of 60 B" in lines[1]
    # The rest of the time goes into the comparison with the source.
    assert lines[2].startswith("checking")
    assert all("big.safetensors" in line for line in lines)
