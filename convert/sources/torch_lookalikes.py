"""What else `torch.save` and its relatives write, told by the members of the archive and by what it describes."""

from collections.abc import Collection, Mapping

from convert.sources.lookalikes import LookalikeError
from convert.sources.pickle_program import StoredTensor

_GIVE_FOLDER = "give the checkpoint folder or pytorch_model.bin"
# Keys that stand in such a state together, and in no table of weights.
_STATES = (
    ({"param_groups"}, "the state of an optimizer, not weights"),
    ({"base_lrs", "last_epoch"}, "the state of a learning-rate schedule, not weights"),
    ({"growth_factor", "backoff_factor"}, "the state of a gradient scaler, not weights"),
)
# Where the weights of a whole training checkpoint are, the likeliest first.
_WEIGHTS_IN = ("state_dict", "model_state_dict", "model_state", "model", "module", "net", "weights")
_ARCHIVES = (
    ("constants.pkl", "a TorchScript program", "save the state dict of the module it was made from"),
    ("serialized_exported_program.json", "a program of torch.export", "save the state dict of its module"),
    ("model.weights.h5", "a Keras model", "give the .safetensors or .bin file with the weights"),
    (".data/extern_modules", "a torch.package archive, which holds code", "save the state dict of the module in it"),
)


def refuse_archive(members: Collection[str], name: str) -> None:
    """Refuse archives of other formats.

    Args:
        members: Names below the top folder of the archive.
        name: Of the file.

    Raises:
        LookalikeError: If a member gives it away.
    """
    for member, what, advice in _ARCHIVES:
        if member in members:
            raise LookalikeError(name, what, advice)
    if any(member.endswith(".npy") for member in members):
        raise LookalikeError(name, "a NumPy archive", "give the .safetensors or .bin file with the weights")


def refuse_description(described: object, name: str) -> None:
    """Refuse descriptions of something else than one flat table of tensors, where it is known what else.

    Raises:
        LookalikeError: If it is.
    """
    if isinstance(described, StoredTensor | list):
        what = "a single tensor" if isinstance(described, StoredTensor) else "a list"
        raise LookalikeError(name, f"{what}, not a table of weights", "save model.state_dict() and convert that file")
    if not isinstance(described, Mapping):
        return
    for keys, what in _STATES:
        if keys <= described.keys():
            raise LookalikeError(name, what, _GIVE_FOLDER)
    if "ds_config" in described or "ds_version" in described:
        raise LookalikeError(name, "a part of a DeepSpeed checkpoint", "first run the zero_to_fp32.py beside it")
    for key in _WEIGHTS_IN:
        if isinstance(described.get(key), Mapping):
            raise LookalikeError(
                name,
                "a whole training checkpoint",
                f"save its part {key!r} alone: torch.save(torch.load({name!r})[{key!r}], 'model.bin')",
            )
