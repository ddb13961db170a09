"""The plain numpy forward passes compute what the upstream modules computed, without any part of the converter."""

import numpy as np
import pytest

from convert.proof.reference.networks import network
from convert.proof.reference.source import Source
from convert.sources.containers import open_checkpoint
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


def test_neither_half_of_a_bidirectional_mixer_reads_the_token_it_predicts() -> None:
    """Files may hold anything under the mask; this one does, where the golden one holds zeros."""
    random = np.random.default_rng(0)
    with open_checkpoint(checkpoint("double")) as opened:
        tensors = {name: opened.read(name) for name in opened.tensors}
    for name in tensors:
        if name.endswith(("convf.weight", "convr.weight")):
            tensors[name] = random.normal(size=tensors[name].shape).astype(np.float32)
    stages = network(Source(tensors, tensors.__getitem__), form_of("double")).stages
    ids = random.integers(0, 64, (1, 16))
    before = stages(ids)["logits"]
    for place in range(1, 16):
        other = ids.copy()
        other[0, place] = (other[0, place] + 1) % 64
        after = stages(other)["logits"]
        changed = np.abs(after - before).max(axis=-1)[0] > 1e-9
        assert changed.tolist() == [position != place - 1 for position in range(16)]
