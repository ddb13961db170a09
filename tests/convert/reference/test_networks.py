"""The plain numpy forward passes compute what the upstream modules computed, without any part of the converter."""

from typing import Any

import numpy as np
import pytest

from convert.containers import open_checkpoint
from convert.reference.networks import Form, network
from convert.reference.source import Source
from tests.convert.golden import CASES, checkpoint, expected

REFERENCED = [name for name, case in CASES.items() if "io" in case]


def form_of(name: str) -> Form:
    """The form that the manifest states; nothing of it comes from the converter."""
    case = CASES[name]
    config: dict[str, Any] = case["config"]
    return Form(
        family=case["family"],
        mixer=config.get("mixer", "flat"),
        decoder_input=config.get("decoder_input", "repeat"),
        decay_constant=config.get("decay_constant", 1.0),
        use_projections=config.get("projections", True),
    )


@pytest.mark.parametrize("name", REFERENCED)
def test_every_stage_equals_upstream(name: str) -> None:
    io = expected(name)
    with open_checkpoint(checkpoint(name)) as opened:
        stages = network(Source(opened.tensors, opened.read), form_of(name)).stages(
            io.get("inputs", io.get("input_ids"))
        )
    compared = io.keys() & stages.keys()
    assert compared
    for stage in compared:
        if stage == "embeddings" and CASES[name]["family"] == "flat":
            continue  # the position of a text in its window is the embedder's affair
        np.testing.assert_allclose(stages[stage], io[stage], **CASES[name]["tolerance"], err_msg=stage)
