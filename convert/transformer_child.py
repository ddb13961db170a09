"""The child process in which mlx-lm converts a transformer; see `convert.transformer`.

Usage: python -m convert.transformer_child TASK, with TASK a JSON table of source, out, bits, dtype and verify. Prints
one line of JSON: {"parameters": ...} or {"error": ...}.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import mlx_mixer  # noqa: F401  # before MLX: prepares the process for it

GROUP_SIZES = (64, 32)
TRIAL_IDS = 8
MESSAGE_LENGTH = 300


def convert(task: dict[str, Any]) -> int:
    """Convert, and run the result once if asked to; return the number of its parameters."""
    import mlx.core as mx
    from mlx_lm import load
    from mlx_lm.convert import convert as convert_with_mlx_lm
    from mlx_lm.utils import get_total_parameters

    out = Path(task["out"])
    options = {}
    if task["bits"] is not None:
        options = {"quantize": True, "q_bits": task["bits"], "q_group_size": _group_size(Path(task["source"]))}
    convert_with_mlx_lm(task["source"], str(out), dtype=task["dtype"], trust_remote_code=False, **options)
    (out / "README.md").unlink(missing_ok=True)  # an empty card
    model, tokenizer = load(str(out), tokenizer_config={"trust_remote_code": False}, lazy=not task["verify"])
    if task["verify"]:
        ids = mx.arange(TRIAL_IDS)[None] % max(1, len(tokenizer.get_vocab()))
        if not mx.isfinite(model(ids).astype(mx.float32)).all().item():
            raise ValueError("the converted model computes NaN or infinite values; store it in bfloat16 or float32")
    return int(get_total_parameters(model))


def _group_size(source: Path) -> int:
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    width = config.get("hidden_size")
    return next((size for size in GROUP_SIZES if isinstance(width, int) and width % size == 0), GROUP_SIZES[0])


def main() -> None:
    """Do the task and print what came of it."""
    # mlx-lm prints its own progress; the one line of standard output is ours.
    answer = os.dup(1)
    os.dup2(2, 1)
    try:
        result: dict[str, Any] = {"parameters": convert(json.loads(sys.argv[1]))}
    except Exception as error:  # whatever a foreign config makes of another's code
        text = " ".join(f"{type(error).__name__}: {error}".split())
        result = {"error": text[:MESSAGE_LENGTH]}
    os.write(answer, json.dumps(result).encode())


if __name__ == "__main__":
    main()
