"""Rules about the source itself: what may be imported, and where text may become something a terminal shows."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

TUI = Path(__file__).parents[2] / "tui"
SOURCES = sorted(TUI.rglob("*.py"))

# Calls that read markup in plain strings, or show a string as it is. `tui/widgets/plain.py` wraps them all.
MARKUP_CALLS = {"Static", "Label", "Button", "Collapsible", "Select", "Checkbox", "notify", "from_markup"}


def calls(file: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            function = node.func
            name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
            yield name, node.lineno


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(TUI)))
def test_only_one_module_makes_widgets_that_read_markup(file: Path) -> None:
    if file == TUI / "widgets" / "plain.py":
        return
    found = [f"{file.name}:{line} {name}(" for name, line in calls(file) if name in MARKUP_CALLS]
    assert not found, "use Plain, plain() or notice() of tui.widgets.plain"


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(TUI)))
def test_titles_of_borders_which_read_markup_are_not_used(file: Path) -> None:
    source = file.read_text(encoding="utf-8")
    assert "border_title" not in source
    assert "border_subtitle" not in source


def test_colours_are_named_in_the_themes_and_nowhere_else() -> None:
    for file in [*SOURCES, *TUI.rglob("*.tcss")]:
        if file.name != "themes.py":
            text = file.read_text(encoding="utf-8")
            code = "".join(text.split('"#')) if file.suffix == ".py" else text
            literal = [
                word for word in code.split() if len(word) in (5, 8) and word.startswith("#") and word.endswith(";")
            ]
            assert not literal, f"{file.name} names the colour {literal}"


def test_importing_the_application_loads_no_model_code_and_no_database_code() -> None:
    probe = (
        "import sys, tui.start\n"
        "heavy = {'mlx', 'mlx_lm', 'transformers', 'numpy', 'tokenizers', 'huggingface_hub'}\n"
        "print(*sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True, cwd=TUI.parent)
    assert done.stdout.split() == []
