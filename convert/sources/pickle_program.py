"""A pickle read as data: opcodes build plain values and inert markers; nothing it names is ever imported or called.

`torch.save` describes a state dict with a small part of the pickle language. Only that part is understood here; a call
of anything but the few constructors below stops the reading with the name of what the file wanted to run.
"""

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Never

from mlx_mixer.errors import ConversionError
from mlx_mixer.foreign import quoted


@dataclass(frozen=True)
class Global:
    """A name the pickle would import."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(frozen=True)
class StoredTensor:
    """A tensor as `torch.save` describes it: a strided view of one storage.

    The fields are whatever the file says; `convert.sources.torch_file` checks them.
    """

    storage: object
    offset: object
    shape: object
    strides: object


@dataclass(frozen=True)
class PersistentId:
    """Reference to a storage beside the pickle: ("storage", type, key, device, number of elements)."""

    fields: tuple[object, ...]


def _rebuild_tensor(arguments: tuple[Any, ...]) -> StoredTensor:
    storage, offset, shape, strides, *_ = arguments
    return StoredTensor(storage, offset, shape, strides)


CONSTRUCTORS: dict[str, Callable[[tuple[Any, ...]], object]] = {
    "collections.OrderedDict": lambda _: {},
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_parameter": lambda arguments: arguments[0],
    "torch._utils._rebuild_parameter_with_state": lambda arguments: arguments[0],
}


def _more_than_weights(named: Global) -> str:
    """What a file is that names this, and what to do instead."""
    if named.module.startswith("torch.distributed"):
        return "it is a shard of a distributed (FSDP) checkpoint; first put it together: accelerate merge-weights"
    if "TrainingArguments" in named.name:
        return "it holds the settings of a training run, not weights"
    if named.module == "__main__" or named.module.startswith("torch.nn."):
        return "it holds a whole pickled module; save model.state_dict() alone and convert that file"
    return "it holds more than weights and is not opened"


class PickleProgram:
    """Interpreter of the harmless part of the pickle language.

    Args:
        raw: The pickle.
        what: What it is, to begin an error message with.
    """

    def __init__(self, raw: bytes, what: str) -> None:
        self._raw = raw
        self._what = what
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def run(self) -> Any:  # whatever the pickle describes
        """Return the value that the pickle describes.

        Raises:
            ConversionError: If it is damaged, or needs more than plain values and tensors.
        """
        try:
            for opcode, argument, _ in pickletools.genops(self._raw):
                if opcode.name == "STOP":
                    return self._stack.pop()
                self._step(opcode.name, argument)
        except ConversionError:
            raise
        # Malformed pickles fail in as many ways as there are opcodes; all of them are plain Python errors.
        except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
            # Some of them quote the whole file.
            raise ConversionError(f"{self._what} is damaged: {quoted(error)}") from error
        raise ConversionError(f"{self._what} is damaged: it ends too early")

    def _step(self, name: str, argument: Any) -> None:
        if name in _PUSHED_ARGUMENTS:
            self._stack.append(argument)
        elif name in _PUSHED_CONSTANTS:
            self._stack.append(_PUSHED_CONSTANTS[name]())
        elif name in _ACTIONS:
            _ACTIONS[name](self, argument)
        elif name in _MAKERS_OF_OBJECTS:
            self._refuse_object()
        elif name not in _NOTHING_TO_DO:
            raise ConversionError(
                f"{self._what} uses the pickle operation {name}, which a file of weights does not need"
            )

    def _pop_to_mark(self) -> list[Any]:
        position = self._marks.pop()
        items = self._stack[position:]
        del self._stack[position:]
        return items

    def _pop_many(self, count: int) -> list[Any]:
        if len(self._stack) < count:
            raise IndexError("the stack is empty")
        items = self._stack[-count:]
        del self._stack[-count:]
        return items

    def _put(self, index: int) -> None:
        self._memo[index] = self._stack[-1]

    def _set_items(self, items: list[Any]) -> None:
        table = self._stack[-1]
        if not isinstance(table, dict):
            raise TypeError("items for something that is not a table")
        for key, value in zip(items[::2], items[1::2], strict=True):
            # The hash of a nested tuple may take for ever.
            if not isinstance(key, str | int):
                raise ConversionError(f"{self._what} has a table key that is neither text nor a number")
            table[key] = value

    def _extend(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, list):
            raise TypeError("items for something that is not a list")
        target.extend(items)

    def _global(self, module: object, name: object) -> None:
        # Turning a hostile nested value into text could take for ever.
        if not (isinstance(module, str) and isinstance(name, str)):
            raise TypeError("a global that is not named by text")
        self._stack.append(Global(module, name))

    def _reduce(self) -> None:
        function, arguments = self._pop_many(2)
        if not isinstance(function, Global):
            raise ConversionError(f"{self._what} wants to run {quoted(function)}; it is not opened")
        constructor = CONSTRUCTORS.get(str(function))
        if constructor is None:
            raise ConversionError(f"{self._what} wants to run {quoted(str(function))}; {_more_than_weights(function)}")
        if not isinstance(arguments, tuple):
            raise TypeError("a call whose arguments are no tuple")
        self._stack.append(constructor(arguments))

    def _refuse_object(self) -> Never:
        """Name the class of an object: below its arguments on the stack, or pushed last."""
        kind = next((value for value in reversed(self._stack) if isinstance(value, Global)), None)
        if kind is None:
            raise ConversionError(f"{self._what} holds an object of an unknown class; it is not opened")
        raise ConversionError(f"{self._what} holds an object of {quoted(str(kind))}; {_more_than_weights(kind)}")

    def _build(self) -> None:
        target, state = self._pop_many(2)
        # The only state in a state dict is the version note that PyTorch attaches to its ordered table. Any other
        # attribute, such as __setstate__, would be a way to run something.
        if not (isinstance(target, dict) and isinstance(state, dict) and state.keys() <= {"_metadata"}):
            raise ConversionError(f"{self._what} sets attributes of an object; it holds more than weights")
        self._stack.append(target)

    def _persistent_id(self) -> None:
        fields = self._stack.pop()
        if not isinstance(fields, tuple):
            raise TypeError("a persistent id that is no tuple")
        self._stack.append(PersistentId(fields))


_PUSHED_ARGUMENTS = frozenset(
    ("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8")
)
_PUSHED_CONSTANTS: dict[str, Callable[[], object]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
}
_MAKERS_OF_OBJECTS = frozenset(("NEWOBJ", "NEWOBJ_EX", "OBJ"))
_NOTHING_TO_DO = frozenset(("PROTO", "FRAME"))
_ACTIONS: dict[str, Callable[[PickleProgram, Any], None]] = {
    "MARK": lambda program, _: program._marks.append(len(program._stack)),
    "BINPUT": lambda program, index: program._put(index),
    "LONG_BINPUT": lambda program, index: program._put(index),
    "MEMOIZE": lambda program, _: program._put(len(program._memo)),
    "BINGET": lambda program, index: program._stack.append(program._memo[index]),
    "LONG_BINGET": lambda program, index: program._stack.append(program._memo[index]),
    "TUPLE": lambda program, _: program._stack.append(tuple(program._pop_to_mark())),
    "TUPLE1": lambda program, _: program._stack.append(tuple(program._pop_many(1))),
    "TUPLE2": lambda program, _: program._stack.append(tuple(program._pop_many(2))),
    "TUPLE3": lambda program, _: program._stack.append(tuple(program._pop_many(3))),
    "SETITEM": lambda program, _: program._set_items(program._pop_many(2)),
    "SETITEMS": lambda program, _: program._set_items(program._pop_to_mark()),
    "APPEND": lambda program, _: program._extend(program._pop_many(1)),
    "APPENDS": lambda program, _: program._extend(program._pop_to_mark()),
    "GLOBAL": lambda program, names: program._global(*names.split(" ", 1)),
    "STACK_GLOBAL": lambda program, _: program._global(*program._pop_many(2)),
    "REDUCE": lambda program, _: program._reduce(),
    "BUILD": lambda program, _: program._build(),
    "BINPERSID": lambda program, _: program._persistent_id(),
}
