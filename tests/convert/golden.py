"""Access to the golden cases in tests/golden; its README says where they come from."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file

GOLDEN = Path(__file__).parents[1] / "golden"
MANIFEST: dict[str, Any] = json.loads((GOLDEN / "manifest.json").read_text(encoding="utf-8"))
CASES: dict[str, dict[str, Any]] = {case["name"]: case for case in MANIFEST["cases"]}
# Families that do not become language mixers.
OTHER_KINDS = ("autoencoder", "infonce_autoencoder", "retrieval_mixer", "double")
CONVERTED = [name for name, case in CASES.items() if "io" in case and case["family"] not in OTHER_KINDS]
REFUSED = [name for name, case in CASES.items() if "io" not in case]


def of_family(*families: str) -> list[str]:
    return [name for name, case in CASES.items() if "io" in case and case["family"] in families]


# How the manifest words what must be told, the hint that tells it, and the field of the case with its value.
NEEDS = (
    ("decoder_input", "decoder_input", "decoder_input"),
    ("token mixing structure", "mixer", "mixer"),
    ("head structure", "mixer", "mixer"),
    ("decay_constant", "decay_constant", "decay_constant"),
    ("projections used", "use_projections", "projections"),
)


def needed_hints(name: str) -> dict[str, Any]:
    """What the file of a case does not hold and its conversion asks for."""
    case = CASES[name]
    return {
        hint: case["config"][field]
        for text in case["needs_hint"]
        for words, hint, field in NEEDS
        if text.startswith(words) and field in case["config"]
    }


def checkpoint(name: str) -> Path:
    return GOLDEN / str(CASES[name]["checkpoint"])


def expected(name: str) -> dict[str, npt.NDArray[Any]]:
    return dict(load_file(GOLDEN / CASES[name]["io"]))


def assert_close(name: str, got: Any, want: npt.NDArray[Any]) -> None:
    """Compare as the manifest says: |got - want| <= atol + rtol * |want|, in float32."""
    np.testing.assert_allclose(np.array(got, np.float32), want, **CASES[name]["tolerance"])
