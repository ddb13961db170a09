"""`docs/config.md` says what the config classes say."""

import json
import types
import typing
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

import pytest

from mlx_mixer.config import LanguageMixerConfig
from mlx_mixer.config_fields import Provenance, Quantization
from mlx_mixer.model_configs.autoencoding import AutoencodingMixerConfig
from mlx_mixer.model_configs.bidirectional import BidirectionalMixerConfig
from mlx_mixer.model_configs.retrieval import RetrievalMixerConfig

DOCUMENT = Path(__file__).parents[2] / "docs" / "config.md"
SECTIONS: dict[str, Any] = {
    "`language_mixer`": LanguageMixerConfig,
    "`autoencoding_mixer`": AutoencodingMixerConfig,
    "`bidirectional_mixer`": BidirectionalMixerConfig,
    "`retrieval_mixer`": RetrievalMixerConfig,
    "`quantization`": Quantization,
    "`provenance`": Provenance,
}
WORDS = {
    int: "whole number",
    float: "number",
    bool: "`true`, `false`",
    str: "text",
    Provenance: "table",
    Quantization: "table",
}


def table_of(section: str) -> list[tuple[str, ...]]:
    """Cells of the table below a heading, its two head rows left out."""
    _, found, after = DOCUMENT.read_text(encoding="utf-8").partition(f"\n## {section}\n")
    assert found, f"docs/config.md has no section {section}"
    lines = [line for line in after.partition("\n## ")[0].splitlines() if line.startswith("|")]
    return [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines[2:]]


def values_of(hint: Any) -> str:
    """What a field may hold, in the words of the document."""
    arguments = typing.get_args(hint)
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return values_of(next(argument for argument in arguments if argument is not type(None)))
    if typing.get_origin(hint) is typing.Literal:
        return ", ".join(f"`{json.dumps(choice)}`" for choice in arguments)
    if typing.get_origin(hint) is tuple:
        return f"{len(arguments)} {values_of(arguments[0])}s"
    return "table" if typing.get_origin(hint) is dict else WORDS[hint]


def default_of(field: Field[Any]) -> str:
    if field.default_factory is not MISSING:
        return "empty"
    if field.default is MISSING:
        return "required"
    return "absent" if field.default is None else f"`{json.dumps(field.default)}`"


@pytest.mark.parametrize("section", SECTIONS)
def test_every_field_is_documented_with_its_values_and_default(section: str) -> None:
    hints = typing.get_type_hints(SECTIONS[section])
    want = [(f"`{field.name}`", values_of(hints[field.name]), default_of(field)) for field in fields(SECTIONS[section])]
    table = table_of(section)
    assert [row[:3] for row in table] == want
    assert all(len(row) == 4 and row[3] for row in table)


def test_sections_are_named_after_model_types() -> None:
    for section, kind in SECTIONS.items():
        assert section == f"`{getattr(kind, 'model_type', kind.__name__.lower())}`"
