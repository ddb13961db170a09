"""Pickles for fuzzing: attacks of known shapes, and Python's own unpickler as the judge of what would have run."""

import contextlib
import io
import pickle
import pickletools
import random
from typing import Any

from tests.convert.files import REBUILD, Call, Name, Stored, pickled, view
from tests.fuzz.mutate import LIMITS, damage_bytes, pick

MARK = b"("


def text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + len(raw).to_bytes(4, "little") + raw


def named(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def stack_named(module: str, name: str) -> bytes:
    return text(module) + text(name) + b"\x93"


COMMAND = text("touch /tmp/mlx-mixer-fuzz-marker")
SYSTEM = named("os", "system")
# Pieces of program that leave one value on the stack and run something on the way, in every way that pickle knows.
ATTACKS: dict[str, bytes] = {
    "reduce os.system": SYSTEM + COMMAND + b"\x85R",
    "reduce posix.system": named("posix", "system") + COMMAND + b"\x85R",
    "reduce nt.system": named("nt", "system") + COMMAND + b"\x85R",
    "stack global os.system": stack_named("os", "system") + COMMAND + b"\x85R",
    "dotted stack global": stack_named("os", "path.os.system") + COMMAND + b"\x85R",
    "dotted allowed name": stack_named("collections", "OrderedDict.__init__.__globals__") + b")R",
    "allowed name with a trailing blank": named("collections", "OrderedDict ") + b")R",
    "allowed name in another module": named("torch", "_utils._rebuild_tensor_v2") + b")R",
    "eval": named("builtins", "eval") + text("__import__('os').getpid()") + b"\x85R",
    "exec": named("builtins", "exec") + text("import os") + b"\x85R",
    "python 2 eval": named("__builtin__", "eval") + text("1") + b"\x85R",
    "import": named("builtins", "__import__") + text("os") + b"\x85R",
    "getattr": named("builtins", "getattr") + named("os", "") + text("system") + b"\x86R",
    "importlib": named("importlib", "import_module") + text("os") + b"\x85R",
    "runpy": named("runpy", "_run_code") + text("1") + b"\x85R",
    "subprocess": named("subprocess", "Popen") + text("true") + b"\x85R",
    "pty": named("pty", "spawn") + text("sh") + b"\x85R",
    "timeit": named("timeit", "timeit") + text("1") + b"\x85R",
    "cProfile": named("cProfile", "run") + text("1") + b"\x85R",
    "webbrowser": named("webbrowser", "open") + text("http://localhost") + b"\x85R",
    "operator.attrgetter": named("operator", "attrgetter") + text("system") + b"\x85R",
    "functools.partial": named("functools", "partial") + SYSTEM + COMMAND + b"\x86R",
    "map": named("builtins", "map") + SYSTEM + b"]" + COMMAND + b"a\x86R",
    "torch.load": named("torch", "load") + text("evil.pt") + b"\x85R",
    "torch.hub.load": named("torch.hub", "load") + text("owner/name") + b"\x85R",
    "torch.jit": named("torch.jit", "script") + text("1") + b"\x85R",
    "torch.storage": named("torch.storage", "_load_from_bytes") + text("x") + b"\x85R",
    "torch.serialization": named("torch.serialization", "load") + text("x") + b"\x85R",
    "torch inductor": named("torch._inductor.codecache", "compile_file") + text("x") + b"\x85R",
    "numpy reconstruct": named("numpy.core.multiarray", "_reconstruct") + b")R",
    "numpy exec": named("numpy.testing._private.utils", "runstring") + text("1") + b"\x85R",
    "codecs": named("_codecs", "encode") + text("x") + text("latin1") + b"\x86R",
    "dill": named("dill._dill", "_create_function") + b")R",
    "cloudpickle": named("cloudpickle.cloudpickle", "_builtin_type") + text("CodeType") + b"\x85R",
    "inst": MARK + COMMAND + b"ios\nsystem\n",
    "obj": MARK + SYSTEM + COMMAND + b"o",
    "newobj": SYSTEM + COMMAND + b"\x85\x81",
    "newobj ex": SYSTEM + COMMAND + b"\x85}\x92",
    "ext1": b"\x82\x01",
    "ext2": b"\x83\x01\x01",
    "ext4": b"\x84\x01\x01\x01\x01",
    "build setstate": SYSTEM + b"}" + text("__setstate__") + SYSTEM + b"sb",
    "build on a class": named("collections", "OrderedDict") + b"}" + text("__reduce__") + SYSTEM + b"sb",
    "build twice": named("collections", "OrderedDict")
    + b")R}"
    + text("__setstate__")
    + SYSTEM
    + b"sb"
    + COMMAND
    + b"b",
    "build slots": named("collections", "OrderedDict") + b")R" + b"N}" + text("x") + SYSTEM + b"s\x86b",
    "reduce with a dict subclass": named("collections", "Counter") + text("aa") + b"\x85R",
    "persistent id of a call": SYSTEM + COMMAND + b"\x85RQ",
    "persistent id of text": b"Pos.system\n",
    "persistent id that is deep": b")" + b"\x85" * 400 + b"Q",
    "memo read before it is written": b"h\xc8",
    "memo written twice": SYSTEM + b"q\x050" + named("collections", "OrderedDict") + b"q\x05" + b"h\x05)R",
    "memo of a callable": SYSTEM + b"\x94" + COMMAND + b"\x85R",
    "memo with a huge number": b"}r\xff\xff\xff\xff",
    "nested attack": b"}" + text("a") + MARK + b"]" + SYSTEM + COMMAND + b"\x85Ratsh\x00" + b"0N",
    "attack as a key": b"}" + SYSTEM + COMMAND + b"\x85R" + b"Ns",
    "attack as a shape": named(REBUILD.module, REBUILD.name)
    + MARK
    + b"NK\x00"
    + SYSTEM
    + COMMAND
    + b"\x85R)\x89Nt"
    + b"R",
    "rebuild without arguments": named(REBUILD.module, REBUILD.name) + b")R",
    "rebuild with a list": named(REBUILD.module, REBUILD.name) + b"]R",
    "deep tuples": b")" + b"\x85" * 2000,
    "deep lists": b"]" * 2000 + b"a" * 1999,
    "doubling tuples": b")" + b"".join(b"\x94h" + bytes([index]) + b"\x86" for index in range(60)),
    "laughing tuples": b"K\x01" + b"(" + b"K\x01" * 50 + b"t" + b"\x94" + b"\x85\x85\x85",
    "a table in itself": b"}q\xc9" + text("a") + b"h\xc9s",
    "huge whole number": b"\x8b" + (100_000).to_bytes(4, "little") + b"\xff" * 100_000,
    "negative length": b"\x8b\xff\xff\xff\xff",
    "long text number": b"L" + b"9" * 5000 + b"L\n",
    "text number": b"I" + b"9" * 5000 + b"\n",
    "python 2 text": b"S'os.system'\n",
    "unquoted text": b"S" + b"x" * 5000 + b"\n",
    "unicode escapes": b"V\\u0000\\ud800\n",
    "bytes": b"\x8e\x08\0\0\0\0\0\0\0abcdefgh",
    "byte array": b"\x96\xff\xff\xff\xff\xff\xff\xff\x7f",
    "next buffer": b"\x97",
    "read only buffer": b"\x97\x98",
    "a frame beyond the end": b"\x95\xff\xff\xff\xff\xff\xff\xff\xff" + b"N",
    "another protocol": b"\x80\xff" + b"N",
    "two ends": b"N.",
    "a frozen set": b"(\x91",
    "a set": b"\x8f(K\x01\x90",
    "pop": SYSTEM + b"0N",
    "pop to mark": b"N(K\x011",
    "duplicate": SYSTEM + b"20",
}


def state() -> dict[str, Any]:
    return {
        "wte.weight": view((4, 2), (2, 1), key="0", elements=8),
        "lm_head.weight": view((4, 2), (2, 1), key="0", elements=8),
        "a.b": view((2, 3), (1, 2), key="1", elements=6, storage=Name("torch", "HalfStorage")),
        "c": Call(
            Name("torch._utils", "_rebuild_parameter"),
            (view((), (), key="2", elements=1), True, Call(Name("collections", "OrderedDict"), ())),
        ),
    }


def damaged_state(generator: random.Random) -> dict[str, Any]:
    """A description that still is one, with a number or a name of one tensor changed."""
    value = state()
    name = pick(generator, ("wte.weight", "a.b"))
    call = value[name]
    arguments = list(call.arguments)
    fields = list(arguments[0].fields)
    match generator.randrange(6):
        case 0:
            fields[4] = _long(pick(generator, LIMITS))
        case 1:
            fields[2] = pick(generator, ("1", "2", "9", "", "../data.pkl", "0/", "\x00", 0, None))
        case 2:
            fields[1] = Name("torch", pick(generator, ("ByteStorage", "ComplexFloatStorage", "Storage", "load")))
        case 3:
            arguments[1] = _long(pick(generator, LIMITS))
        case 4:
            arguments[2] = tuple(_long(pick(generator, LIMITS)) for _ in range(generator.randrange(10)))
        case _:
            arguments[3] = tuple(_long(pick(generator, LIMITS)) for _ in range(generator.randrange(4)))
    arguments[0] = Stored(tuple(fields))
    value[name] = Call(call.function, tuple(arguments))
    return value


def _long(value: int) -> int:
    return max(-(1 << 70), min(value, 1 << 70))


def mutated_program(generator: random.Random) -> bytes:
    """A program cut at its operations and put together again differently, often with an attack in it."""
    raw = pickled(damaged_state(generator)) if generator.random() < 0.3 else pickled(state())
    if generator.random() < 0.3:
        raw = pickle.dumps({"a": [1, (2.5, None, True)], "b": {"c": "d"}, "e": -(1 << 40)}, generator.randrange(6))
    steps = operations(raw)
    for _ in range(generator.choice((0, 1, 1, 2, 4))):
        at = generator.randrange(len(steps))
        match generator.randrange(6):
            case 0:
                del steps[at]
            case 1:
                steps.insert(at, pick(generator, steps))
            case 2:
                other = generator.randrange(len(steps))
                steps[at], steps[other] = steps[other], steps[at]
            case 3:
                steps[at:at] = [pick(generator, tuple(ATTACKS.values()))]
            case 4:
                steps[at] = pick(generator, tuple(ATTACKS.values()))
            case _:
                steps[at] = bytes([generator.randrange(256)]) + steps[at][1:]
        if not steps:
            return b""
    raw = b"".join(steps)
    return damage_bytes(generator, raw) if generator.random() < 0.2 else raw


def operations(raw: bytes) -> list[bytes]:
    places = [position for _, _, position in pickletools.genops(raw)]
    return [raw[begin:end] for begin, end in zip(places, [*places[1:], len(raw)], strict=True)]


class _Inert:
    """Stands for every global: calling it, making it or giving it a state is noted and does nothing."""

    def __init__(self, name: str, called: set[str]) -> None:
        self._name, self._called = name, called

    def __call__(self, *_arguments: object, **_named: object) -> object:
        self._called.add(self._name)
        return _Table() if self._name == "collections.OrderedDict" else ()


class _Table(dict[Any, Any]):
    """What an ordered table is to an unpickler: something that can be given attributes, and so methods."""


class _Judge(pickle._Unpickler):  # type: ignore[attr-defined, misc, name-defined]  # the C one allocates what a memo says
    """Python's own unpickler, with inert globals."""

    def __init__(self, raw: bytes) -> None:
        super().__init__(io.BytesIO(raw))
        self.called: set[str] = set()

    def find_class(self, module: str, name: str) -> object:
        return _Inert(f"{module}.{name}", self.called)

    def persistent_load(self, _identity: object) -> object:
        return ()

    def get_extension(self, code: int) -> None:
        self.called.add(f"extension {code}")
        raise pickle.UnpicklingError("an extension")


def would_call(raw: bytes) -> set[str]:
    """What Python would call to load this pickle; nothing is called."""
    judge = _Judge(raw)
    with contextlib.suppress(Exception):
        judge.load()
    return judge.called
