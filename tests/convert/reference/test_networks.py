"""The plain numpy forward passes compute what the upstream modules computed, without any part of the converter."""

import numpy as np
import pytest

from convert.containers import open_checkpoint
from convert.reference.networks import network
from convert.reference.source import Source
from tests.convert.golden import CASES, checkpoint, expected
from tests.convert.reference_forms import form_of

REFERENCED = [name for name, case in CASES.items() if "io" in case]


@pytest.mark.parametrize("name", REFERENCED)
def test_every_stage_equals_upstream(name: str) -> None:
    io, form = expected(name), form_of(name)
    with open_checkpoint(checkpoint(name)) as opened:
        stages = network(Source(opened.tensors, opened.read), form).stages(io.get("inputs", io.get("input_ids")))
    # Where the embedding of a text lies in a language model's window is the embedder's affair.
    compared = io.keys() & stages.keys() - ({"embeddings"} if form.family == "flat" else set())
    assert compared
    for stage in compared:
        np.testing.assert_allclose(stages[stage], io[stage], **CASES[name]["tolerance"], err_msg=stage)
