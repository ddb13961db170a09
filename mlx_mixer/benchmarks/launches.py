"""How many operations a result still has to launch."""

import io
import re

import mlx.core as mx

# Operations that only look at their input in another way, and cost no launch on a GPU.
VIEWS = frozenset(
    "Broadcast CustomTransforms ExpandDims Flatten Reshape Slice Split Squeeze Transpose Unflatten".split()  # noqa: SIM905
)
_OPERATION = re.compile(r'label ="(\w+)[^"]*", shape=rectangle')


def count_launches(*arrays: mx.array) -> int:
    """Operations in the graph of arrays that are not evaluated yet, fused ones once, views not."""
    drawing = io.StringIO()
    mx.export_to_dot(drawing, *arrays)
    return sum(name not in VIEWS for name in _OPERATION.findall(drawing.getvalue()))
