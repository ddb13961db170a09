"""Checkpoints of structured mixers in the layout that upstream writes, with random numbers."""

import numpy as np

from tests.convert.files import State

VOCAB, DIMS, LENGTH, LAYERS = 12, 8, 6, 2


def structured_state(
    mixing: dict[str, tuple[int, ...]], *, length: int = LENGTH, seed: int = 0, is_tied: bool = False
) -> State:
    """A whole model whose token mixing has these tensors (L stands as 0 in their shapes)."""
    random = np.random.default_rng(seed)

    def draw(*shape: int) -> np.ndarray:
        return random.normal(size=[length if size == 0 else size for size in shape]).astype(np.float32)

    state: State = {"input_layer.weight": draw(VOCAB, DIMS), "output_layer.weight": draw(VOCAB, DIMS)}
    for layer in range(LAYERS):
        block = f"mixer_blocks.{layer}"
        for part in ("channel_norm", "token_norm"):
            state[f"{block}.{part}.weight"], state[f"{block}.{part}.bias"] = draw(DIMS), draw(DIMS)
        for index, shape in ((0, (4 * DIMS, DIMS)), (2, (DIMS, 4 * DIMS))):
            state[f"{block}.channel_mixing_layer.{index}.weight"] = draw(*shape)
            state[f"{block}.channel_mixing_layer.{index}.bias"] = draw(shape[0])
        for name, sizes in mixing.items():
            state[f"{block}.token_mixing_layer.{name}"] = draw(*sizes)
    if is_tied:
        state["output_layer.weight"] = state["input_layer.weight"]
    return state


def single(
    vectors: int = 1, decay: tuple[int, ...] | None = None, diagonal: tuple[int, ...] | None = None
) -> dict[str, tuple[int, ...]]:
    """Tensors of a token mixing without heads."""
    return {
        "weight": (vectors, 0),
        "bias": (0,),
        **({} if decay is None else {"decay_value": decay}),
        **({} if diagonal is None else {"diag_weight": diagonal}),
    }


def heads(
    count: int,
    vectors: int = 1,
    decay: tuple[int, ...] | None = None,
    diagonal: tuple[int, ...] | None = None,
    has_projections: bool = True,
) -> dict[str, tuple[int, ...]]:
    """Tensors of a token mixing whose heads are modules."""
    tensors: dict[str, tuple[int, ...]] = {}
    for head in range(count):
        for name, shape in single(vectors, decay, diagonal).items():
            tensors[f"mixer_heads.{head}.{name}"] = shape
        if has_projections:
            tensors[f"proj_head.{head}.weight"] = (DIMS // count, DIMS)
            tensors[f"proj_head.{head}.bias"] = (DIMS // count,)
    return {**tensors, **({"out_proj.weight": (DIMS, DIMS), "out_proj.bias": (DIMS,)} if has_projections else {})}


def parallel(
    count: int, decay: tuple[int, ...] | None = None, has_projections: bool = True
) -> dict[str, tuple[int, ...]]:
    """Tensors of a token mixing whose heads are rows of one array."""
    tensors: dict[str, tuple[int, ...]] = {"mixer_heads.weight": (count, 0), "mixer_heads.bias": (count, 0)}
    if decay is not None:
        tensors["mixer_heads.decay_value"] = decay
    for projection in ("in_proj", "out_proj") if has_projections else ():
        tensors[f"{projection}.weight"], tensors[f"{projection}.bias"] = (DIMS, DIMS), (DIMS,)
    return tensors
