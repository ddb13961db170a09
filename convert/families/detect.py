"""Which family a checkpoint belongs to, told by its keys; the first rule that matches decides."""

import re
from collections.abc import Callable, Mapping

from convert.families.autoencoder import autoencoder
from convert.families.bidirectional import DOUBLE
from convert.families.block_tables import aliases
from convert.families.family import Evidence, Family, Unsupported, Verdict
from convert.families.key_table import fill, pattern_of
from convert.families.registry import EXPANDED, FLAT, HEADED, HEADED_LEGACY, KERNEL, LINEAR, NEAR_LINEAR
from convert.families.retrieval import RETRIEVAL
from convert.families.structured import structured
from convert.families.structured_tables import ALIASES as STRUCTURED_ALIASES
from convert.sources.weight_file import TensorInfo

# Where keys alone do not tell, a function looks at the rest.
Decide = Callable[[Evidence], Verdict]

_ALIASES = tuple(
    (pattern_of(stored), known)
    for table in (
        aliases("mixerblocks.{i}"),
        aliases("encoderblocks.{i}"),
        aliases("decoderblocks.{n}"),
        STRUCTURED_ALIASES,
    )
    for stored, known in table.items()
)
_EXPERIMENT = "convert one of the language mixers, which share its other parts"
_LATER = "this version does not convert it yet; convert a language mixer or an autoencoder"
_ATTENTION = r"self_attn|self_attention|attn|attention|SelfAttention|EncDecAttention"


_TRANSFORMER = Unsupported(
    "transformer", "a transformer", "mlx-lm runs those: give the whole folder, with its config.json"
)
_MIXING = re.compile(
    rf"(.*\.)?(mixerblocks|mixer_blocks)\.\d+\.(conv|token_mixing).*|.*\.({_ATTENTION})\.(mixerhead|convs?)\..*"
)


def _experiment(name: str, what: str) -> Unsupported:
    return Unsupported(name, f"{what}, a research experiment that cannot be converted", _EXPERIMENT)


_SIGNATURES: tuple[tuple[str, Verdict | Decide], ...] = (
    (rf".*\.({_ATTENTION})\..*", lambda evidence: _with_attention(evidence.tensors)),
    (
        r"embed_tokens\.weight",
        Unsupported(
            "mlx-mixer", "a model in mlx-mixer's own form, which needs no conversion", "use its folder as it is"
        ),
    ),
    (r"retrieval_head\.weight", RETRIEVAL),
    (r"reward_head\.weight", Unsupported("srm_reward", "a reward model", _LATER)),
    (r"(input_layer|output_layer)\.weight", structured),
    (r"(decoder_wte|encoder\.model_wte)\.weight", Unsupported("memory", "a memory mixer", _LATER)),
    (r"encoderblocks\.\d+\.channel_norm\..*", Unsupported("srm_autoencoder", "a recurrent autoencoder", _LATER)),
    (r"encoderblocks\.\d+\..*", autoencoder),
    (r"mixerblocks\.\d+\.convf\.weight", DOUBLE),
    (r"mixerblocks\.\d+\.(parallelconvs|mobius_ff)\..*", _experiment("mobius", "a parallel (Möbius) mixer")),
    (r"mixerblocks\.\d+\.a_layer.*", _experiment("complex", "a complex-valued mixer")),
    (r"mixerblocks\.\d+\.token_proj.*", _experiment("concatenating", "a concatenating mixer")),
    (r"mixerblocks\.\d+\.patch_ff\.weight", _experiment("linear_fineweb", "a linear mixer")),
    (r"mixerblocks\.\d+\.patch_ff\.1\.weight", _experiment("linear_ff", "a mixer without activation")),
)


def canonical_names(tensors: Mapping[str, TensorInfo]) -> dict[str, str]:
    """Map the name that the key tables use to each stored name.

    Where both the old and the new name of a tensor are there, neither is renamed; the key table then refuses one.
    """
    aliases = {name: _alias(name) for name in tensors}
    return {name if alias in tensors else alias: name for name, alias in aliases.items()}


def detect(evidence: Evidence) -> Verdict | None:
    """Tell the family; None if it is none of those known.

    Raises:
        ConversionError: If keys do not tell and the hint that would is missing.
    """
    tensors = evidence.tensors
    if any(info.dtype.startswith("C") for info in tensors.values()):
        return _experiment("complex", "a complex-valued mixer")
    for pattern, verdict in _SIGNATURES:
        if any(re.fullmatch(pattern, name) for name in tensors):
            return verdict if isinstance(verdict, Family | Unsupported) else verdict(evidence)
    return _detect_token_mixing(_first_block(tensors), tensors.get("wte.weight"))


def _with_attention(tensors: Mapping[str, TensorInfo]) -> Unsupported:
    if any(_MIXING.fullmatch(name) for name in tensors):
        return _experiment("hybrid", "a hybrid of a mixer and a transformer")
    return _TRANSFORMER


def _first_block(tensors: Mapping[str, TensorInfo]) -> dict[str, TensorInfo]:
    """The tensors of the lowest block there is, by their names within it; the key table says if block 0 is missing."""
    blocks: dict[int, dict[str, TensorInfo]] = {}
    for name, info in tensors.items():
        if match := re.fullmatch(r"mixerblocks\.(\d{1,4})\.(.*)", name):
            blocks.setdefault(int(match[1]), {})[match[2]] = info
    return blocks[min(blocks)] if blocks else {}


def _alias(name: str) -> str:
    for pattern, known in _ALIASES:
        if match := pattern.fullmatch(name):
            return fill(known, **match.groupdict())
    return name


def _detect_token_mixing(block: Mapping[str, TensorInfo], embedding: TensorInfo | None) -> Family | Unsupported | None:
    norm = block.get("seq_layernorm.weight")
    if "conv.convs.0.weight" in block:
        output = block.get("conv.out_proj.weight")
        is_legacy = output is not None and len(output.shape) == 2 and output.shape[1] > output.shape[0]
        return HEADED_LEGACY if is_legacy else HEADED
    if "conv.0.weight" in block:
        return EXPANDED
    if "conv.weight" not in block:
        return None
    if norm is None:
        return NEAR_LINEAR if "patch_ff.0.weight" in block else LINEAR
    if embedding is not None and embedding.shape and norm.shape == (embedding.shape[-1] + 1,):
        return _experiment("posencoding", "a mixer with a position column")
    shape = block["conv.weight"].shape
    return KERNEL if len(shape) == 3 and shape[2] > 1 else FLAT
