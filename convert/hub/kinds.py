"""What a repository holds, told from its config.json and the header of its weights, before the weights are fetched."""

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from convert.families.detect import canonical_names, detect
from convert.families.family import Evidence, Family
from convert.foreign import open_regular, parse_json
from convert.hints import Hints
from convert.sources.containers import plain_names
from convert.sources.lookalikes import refuse_data
from convert.sources.weight_file import TensorInfo
from mlx_mixer.errors import ConversionError, MixerError
from mlx_mixer.foreign import MAX_DESCRIPTION_BYTES, check_name, quoted

Kind = Literal["mixer checkpoint", "mlx-mixer model", "transformer", "unknown", "unsupported"]

OUR_TYPES = ("language_mixer", "autoencoding_mixer", "retrieval_mixer", "bidirectional_mixer")
MAX_DIMENSIONS = 16
LENGTH_BYTES = 8


@dataclass(frozen=True)
class Contents:
    """What a repository holds.

    Attributes:
        kind: "mixer checkpoint" (converted), "mlx-mixer model" (copied), "transformer" (mlx-lm runs it as it is),
            "unknown" (can be told only from the whole file) or "unsupported".
        family: Upstream family, or model type.
        words: One sentence for people.
        parameters: Number of stored values; None if it was not looked up.
    """

    kind: Kind
    family: str | None
    words: str
    parameters: int | None = None

    @property
    def works(self) -> bool:
        """Whether it is of a kind that is worth fetching."""
        return self.kind != "unsupported"


def tell_contents(config: Mapping[str, Any], tensors: Mapping[str, TensorInfo] | None, repo: str) -> Contents:
    """Tell what a repository holds.

    Args:
        config: Its config.json; empty if it has none.
        tensors: Names and shapes of its weights; None if they cannot be read without fetching the file.
        repo: Its name, for messages.
    """
    model_type = config.get("model_type")
    parameters = None if tensors is None else sum(info.size for info in tensors.values())
    if model_type in OUR_TYPES:
        return Contents("mlx-mixer model", str(model_type), "a model in mlx-mixer's own form", parameters)
    # Mixers are sometimes saved with the configuration of the transformer that their code began as.
    found = None if tensors is None else _of_tensors(model_type, tensors, parameters, repo)
    if found is not None and found.kind == "mixer checkpoint":
        return found
    if isinstance(model_type, str) and mlx_lm_runs(model_type):
        if _is_quantised_elsewhere(config):
            words = f"a {model_type} transformer, quantised in a way that mlx-lm does not read"
            return Contents("unsupported", model_type, words, parameters)
        return Contents("transformer", model_type, f"a {model_type} transformer, which mlx-lm runs", parameters)
    if found is None:
        return Contents("unknown", None, "a PyTorch file, whose contents are known only once it is here", None)
    return found


def header_tensors(raw: bytes, what: str) -> dict[str, TensorInfo]:
    """Parse the header of a safetensors file; the file itself is checked strictly once it is here.

    Raises:
        ConversionError: If it is not such a header.
    """
    header = parse_json(raw, f"the header of {what}")
    if not isinstance(header, dict):
        raise ConversionError(f"the header of {what} is not a table of tensors")
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        dtype, shape = (entry.get("dtype"), entry.get("shape")) if isinstance(entry, dict) else (None, None)
        if not isinstance(dtype, str) or not isinstance(shape, list) or not _is_shape(shape):
            raise ConversionError(f"the header of {what} does not describe {quoted(name)}")
        _check_name(name, what)
        tensors[name] = TensorInfo(dtype, tuple(shape))
    return tensors


def file_tensors(path: Path, what: str) -> dict[str, TensorInfo]:
    """Read the header of a safetensors file that is here; see `header_tensors`."""
    with open_regular(path) as stream:
        length = int.from_bytes(stream.read(LENGTH_BYTES), "little")
        return header_tensors(stream.read(min(length, MAX_DESCRIPTION_BYTES)), what)


@cache
def mlx_lm_types() -> frozenset[str]:
    """Model types that the installed mlx-lm runs, found without importing it, which takes over a second."""
    spec = find_spec("mlx_lm")
    if spec is None or not spec.submodule_search_locations:
        return frozenset()
    root = Path(spec.submodule_search_locations[0])
    names = {path.stem for path in (root / "models").glob("*.py") if not path.stem.startswith("_")}
    return frozenset(names | _other_names(root / "utils.py").keys())


def mlx_lm_runs(model_type: str) -> bool:
    """Whether mlx-lm has a model of this type; what it uses inside, such as its caches, is not one."""
    return model_type in mlx_lm_types() - {"base", "cache", "activations", "rope_utils", "ssm", "switch_layers"}


def _other_names(utils: Path) -> dict[str, str]:
    """The table of types that share another's code."""
    for node in ast.parse(utils.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == "MODEL_REMAPPING" for target in node.targets
        ):
            table: dict[str, str] = ast.literal_eval(node.value)
            return table
    return {}


def _of_tensors(model_type: object, tensors: Mapping[str, TensorInfo], parameters: int | None, repo: str) -> Contents:
    try:
        plain = {name: tensors[stored] for name, stored in plain_names(tensors).items()}
        refuse_data(plain, repo)
        found = detect(Evidence({name: plain[stored] for name, stored in canonical_names(plain).items()}, Hints()))
    except MixerError as error:
        return Contents("unknown", None, f"something that needs telling: {error}", parameters)
    if isinstance(found, Family):
        return Contents("mixer checkpoint", found.name, f"a masked mixer of the family {found.name}", parameters)
    if found is not None:
        named = f" (type {quoted(model_type)}, which this mlx-lm does not know)" if found.name == "transformer" else ""
        return Contents("unsupported", found.name, f"{found.what}{named}", parameters)
    named = f"a model of type {quoted(model_type)}" if isinstance(model_type, str) else "weights of an unknown kind"
    return Contents("unsupported", None, f"{named}, neither a masked mixer nor one that mlx-lm runs", parameters)


def _is_quantised_elsewhere(config: Mapping[str, Any]) -> bool:
    quantised = config.get("quantization_config")
    method = quantised.get("quant_method") if isinstance(quantised, dict) else None
    return isinstance(method, str) and method in ("bitsandbytes", "aqlm", "eetq", "hqq", "higgs", "vptq")


def _is_shape(shape: list[Any]) -> bool:
    return len(shape) <= MAX_DIMENSIONS and all(type(size) is int and 0 <= size < 1 << 48 for size in shape)


def _check_name(name: str, what: str) -> None:
    try:
        check_name(name, Path(what))
    except MixerError as error:
        raise ConversionError(str(error)) from error
