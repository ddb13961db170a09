"""What Apple's compiler would refuse although a C++ compiler takes it: mixed address spaces above all.

The text is parsed by clang's front end (the `libclang` package; nothing is compiled) with the words for address spaces
as real qualifiers, against declarations only (`shim/front_end.h`).
"""

import re
from collections.abc import Iterator

from clang import cindex

from tests.metal.compiler import HERE
from tests.metal.translate import ATTRIBUTES, INSTANTIATION, THREADGROUP_ARRAY

_ARGUMENTS = (
    *("-x", "c++", "-std=c++17", "-nostdinc", "-nostdinc++", "-fno-exceptions", "-fno-rtti"),
    *("-target", "x86_64-linux-gnu", "-Wno-everything", "-Wuninitialized"),
)
# C++ that Metal leaves out.
_NOT_METAL = re.compile(r"\b(new|delete|throw|try|goto|virtual|dynamic_cast|typeid)\b|\[[&=]?\]\s*\(")
_PREFIX = '#include "front_end.h"\n'


def complaints(source: str) -> list[str]:
    """One line per objection to a kernel's text; none if it is clean."""
    lines = source.splitlines()
    found = [*_diagnostics(source), *_odd_words(lines)]
    return [f"  line {number}: {message}\n    {lines[number - 1].strip()}" for number, message in found]


def _diagnostics(source: str) -> Iterator[tuple[int, str]]:
    # C++ allows storage in an address space only where it is static; Metal allows it in the kernel's own body.
    static = THREADGROUP_ARRAY.sub(r"\1static threadgroup \2 \3\4;", source)
    text = _PREFIX + INSTANTIATION.sub("template", re.sub(r"#include <metal_\w+>", "", static))
    unit = cindex.Index.create().parse(
        "kernel.cpp",
        args=[*_ARGUMENTS, f"-I{HERE / 'shim'}"],
        unsaved_files=[("kernel.cpp", text)],
    )
    for diagnostic in unit.diagnostics:
        if diagnostic.severity >= cindex.Diagnostic.Warning:
            yield max(1, diagnostic.location.line - _PREFIX.count("\n")), diagnostic.spelling


def _odd_words(lines: list[str]) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(lines, start=1):
        if not line.isascii():
            yield number, "not ASCII, which MLX passes to Metal as ASCII"
        if word := _NOT_METAL.search(line.partition("//")[0]):
            yield number, f"Metal has no `{word[0]}`"
        for name in ATTRIBUTES:
            for found in re.finditer(rf"\w*{name}\w*", line):
                if found[0] not in ATTRIBUTES:
                    yield number, f"MLX adds a parameter {name}, because it is a part of `{found[0]}`"
