"""Metal text to C++: what `metal_shim.h` cannot do with macros. Line numbers stay as they are."""

import re
from dataclasses import dataclass

from tests.metal.assemble import Assembled

# A declaration such as `threadgroup float tile[8 * 4];` that stands on its own line of a function.
THREADGROUP_ARRAY = re.compile(r"^(\s*)threadgroup\s+(\w+)\s+(\w+)((?:\[[^\]]+\])+);", re.MULTILINE)
# MLX asks for one instantiation by name, in Metal's syntax.
INSTANTIATION = re.compile(r'template \[\[host_name\(".*?"\)\]\] \[\[kernel\]\]')
_PARAMETER = re.compile(
    r"^\s*(?P<type>[\w ]+?)\s*(?P<indirection>[*&]?)\s*(?P<name>\w+) \[\[(?P<attribute>\w+)(?:\((?P<index>\d+)\))?\]\]$"
)
# Attributes that MLX turns into parameters when the text contains their names, and where the runtime keeps them.
ATTRIBUTES = {
    "thread_position_in_grid": "emulator::self->in_grid",
    "thread_position_in_threadgroup": "emulator::self->in_group",
    "threadgroup_position_in_grid": "emulator::dispatch.group",
    "threads_per_threadgroup": "emulator::dispatch.group_size",
    "dispatch_threads_per_threadgroup": "emulator::dispatch.requested_size",
    "threadgroups_per_grid": "emulator::dispatch.group_count",
    "threads_per_grid": "emulator::dispatch.grid",
    "thread_index_in_threadgroup": "emulator::self->index",
    "thread_index_in_simdgroup": "emulator::self->lane",
    "simdgroup_index_in_threadgroup": "emulator::self->simdgroup",
    "simdgroups_per_threadgroup": "emulator::dispatch.simdgroups",
    "threads_per_simdgroup": "emulator::SIMD_WIDTH",
}


@dataclass(frozen=True)
class Program:
    """C++ that runs a kernel for the current thread: `emulated_kernel(void* const* buffers)`.

    Attributes:
        text: The program.
        buffers: Names of the buffers, by index.
    """

    text: str
    buffers: tuple[str, ...]


def translate(kernel: Assembled) -> Program:
    """Make a program of a kernel's text."""
    body = INSTANTIATION.sub("template", THREADGROUP_ARRAY.sub(_storage, kernel.source))
    entry, buffers = _entry(kernel)
    text = f'#include "metal_shim.h"\n#line 1 "kernel.metal"\n{body}\n#line 1 "entry"\n{entry}\n'
    return Program(text, buffers)


def _storage(match: re.Match[str]) -> str:
    indent, scalar, name, sizes = match.groups()
    return f'{indent}auto& {name} = emulator::threadgroup_array<{scalar}{sizes}>("{name}");'


def _entry(kernel: Assembled) -> tuple[str, tuple[str, ...]]:
    name = re.escape(kernel.name)
    signature = re.search(rf"\[\[kernel\]\] void {name}\(\n(.*?)\) \{{", kernel.source, re.DOTALL)
    instance = re.search(rf"decltype\({name}(<.*?>)\) {name}", kernel.source)
    assert signature is not None, "MLX writes signatures in another way than this was made for"
    arguments, buffers = [], []
    for line in signature[1].split(",\n"):
        parameter = _PARAMETER.match(line)
        assert parameter is not None, f"cannot read the parameter {line!r}"
        if parameter["attribute"] == "buffer":
            buffers.append(parameter["name"])
        arguments.append(_argument(parameter))
    called = kernel.name + (instance[1] if instance else "")
    listed = ",\n    ".join(arguments)
    return f'extern "C" void emulated_kernel(void* const* buffers) {{\n  {called}(\n    {listed});\n}}', tuple(buffers)


def _argument(parameter: re.Match[str]) -> str:
    if parameter["attribute"] == "buffer":
        scalar = re.sub(r"\b(device|constant)\b", "", parameter["type"]).strip()
        pointer = f"({scalar}*)buffers[{parameter['index']}]"
        return f"*({pointer})" if parameter["indirection"] == "&" else pointer
    value = ATTRIBUTES[parameter["attribute"]]
    if parameter["type"].strip() == "uint3":
        return f"uint3{{{value}.x, {value}.y, {value}.z}}"
    return f"uint({value})"
