"""The form of every golden case as its manifest states it; nothing of it comes from the converter."""

from typing import Any

from convert.proof.reference.networks import Form
from tests.convert.golden import CASES


def form_of(name: str) -> Form:
    case = CASES[name]
    config: dict[str, Any] = case["config"]
    return Form(
        family=case["family"],
        mixer=config.get("mixer", "flat"),
        decoder_input=config.get("decoder_input", "repeat"),
        decay_constant=config.get("decay_constant", 1.0),
        use_projections=config.get("projections", True),
    )
