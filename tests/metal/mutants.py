"""Injected bugs: one small change each to a kernel's text, and the check that must notice it."""
# ruff: noqa: E501 - a table, one bug per line

from dataclasses import dataclass
from typing import Literal

BARRIER = "threadgroup_barrier(mem_flags::mem_threadgroup);"


@dataclass(frozen=True)
class Mutant:
    """A bug.

    Attributes:
        name: What is wrong, in words.
        kernel: Which kernel it is put into.
        old: Text to be replaced, in the header or the body.
        new: What replaces it.
        caught_by: A piece of the message that must come.
        occurrence: Which occurrence of `old` is replaced, from 0.
    """

    name: str
    kernel: Literal["step", "product", "outer"]
    old: str
    new: str
    caught_by: str
    occurrence: int = 0


def mutated(text: str, mutant: Mutant) -> str:
    """The text with the bug in it."""
    parts = text.split(mutant.old)
    assert len(parts) > mutant.occurrence + 1, f"{mutant.name}: the kernel no longer contains {mutant.old!r}"
    cut = mutant.occurrence + 1
    return mutant.old.join(parts[:cut]) + mutant.new + mutant.old.join(parts[cut:])


STEP_MUTANTS = (
    Mutant("no barrier after the sums", "step", BARRIER, "", "[race] write then read"),
    Mutant("no barrier after the squares", "step", BARRIER, "", "[race] write then read", 1),
    Mutant("no barrier after the partial sums", "step", BARRIER, "", "[race] read then write", 2),
    Mutant("a barrier that orders nothing", "step", BARRIER, "threadgroup_barrier(mem_flags::mem_none);", "[race]", 2),
    Mutant("a barrier for the wrong memory", "step", BARRIER, "threadgroup_barrier(mem_flags::mem_device);", "[race]"),
    Mutant("a barrier for live lanes only", "step", BARRIER, f"if (live) {BARRIER}", "[divergence]", 2),
    Mutant("a collective for some lanes only", "step", "sum = simd_sum(sum);", "if (lane < 16) sum = simd_sum(sum);", "[divergence]"),
    Mutant("sums and squares share an array", "step", "if (lane == 0) squares[group]", "if (lane == 0) sums[group]", "[race] read then write"),
    Mutant("two groups share a slot", "step", "partial[group * LANES + lane] = total", "partial[(group / 2) * LANES + lane] = total", "[race] write then write"),
    Mutant("partial sums overrun their array", "step", "partial[SIMD_GROUPS * LANES];", "partial[LANES];", "[crash]"),
    Mutant("too much threadgroup memory", "step", "partial[SIMD_GROUPS * LANES];", "partial[SIMD_GROUPS * LANES * 32];", "[limit]"),
    Mutant("an accumulator without a start", "step", "float total = 0.0f;", "float total;", "uninitialized"),
    Mutant("the store guard is forgotten", "step", "if (group == 0 && live)", "if (group == 0)", "[out of bounds]"),
    Mutant("the new row is not written", "step", "row[batch * dims + column] = fresh;", "", "[unwritten]"),
    Mutant("a result is not cast", "step", "y[batch * dims + column] = T(value);", "y[batch * dims + column] = value;", "no match for"),
    Mutant("takes a tiny input to be in device memory", "step", "float mean = 0.0f;", "const device T* first = x; float mean = 0.0f * float(first[0]);", "address_space"),
    Mutant("a typographic character", "step", "// Squares of", "// Squares \u2014 of", "not ASCII"),
    Mutant("a name that drags in a parameter", "step", "const int index =", "const int my_thread_index_in_simdgroup = 0; const int index =", "MLX adds a parameter"),
    Mutant("double precision", "step", "float value =", "double value =", "no_double"),
    Mutant("reads its own slot of the recent rows", "step", "s < slot;", "s <= slot;", "differs"),
    Mutant("misses the row before", "step", "s < slot;", "s < slot - 1;", "differs"),
    Mutant("counts rows once per group", "step", "int s = group; s < slot; s += SIMD_GROUPS", "int s = 0; s < slot; s++", "differs"),
    Mutant("weights of the first row", "step", "(head * BLOCK + slot) * BLOCK", "(head * BLOCK) * BLOCK", "differs"),
    Mutant("weights of the next position", "step", "BLOCK + slot) * BLOCK;", "BLOCK + slot + 1) * BLOCK;", "differs"),
    Mutant("weights of the wrong head", "step", "column / (dims / heads)", "column % heads", "differs"),
    Mutant("weights of the first head", "step", "(head * BLOCK + slot) * BLOCK", "slot * BLOCK", "differs"),
    Mutant("what lies ahead of the next slot", "step", "ahead[(batch * BLOCK + slot)", "ahead[(batch * BLOCK + slot + 1)", "differs"),
    Mutant("recent rows of the first sequence", "step", "recent[(batch * BLOCK + s)", "recent[(s)", "differs"),
    Mutant("the unnormalised row mixes", "step", "float(mixing[slot]) * float(fresh)", "float(mixing[slot]) * input", "differs"),
    Mutant("the residual is lost", "step", "if (RESIDUAL) value += input;", "", "differs"),
    Mutant("a variance around zero", "step", "float(x[batch * dims + i]) - mean;", "float(x[batch * dims + i]);", "differs"),
    Mutant("no epsilon", "step", "+ epsilon[0]", "", "differs"),
    Mutant("a sum that leaves a group out", "step", "g < SIMD_GROUPS; g++) mean", "g < SIMD_GROUPS - 1; g++) mean", "differs"),
)  # fmt: skip

PRODUCT_MUTANTS = (
    Mutant("no barrier after staging", "product", BARRIER, "", "[race] write then read"),
    Mutant("no barrier before staging again", "product", BARRIER, "", "[race] read then write", 1),
    Mutant("no barrier before the store", "product", BARRIER, "", "[race] write then read", 2),
    Mutant("a matrix load for one SIMD-group", "product", "      simdgroup_load(a[i]", "      if (column == 0) simdgroup_load(a[i]", "differs"),
    Mutant("a matrix load for some lanes", "product", "place_quadrant(total, tile, row, column);\n    thread", "if (index % 32 < 16) place_quadrant(total, tile, row, column);\n    thread", "[divergence]"),
    Mutant("lanes disagree on a pointer", "product", "const int row = (group / 2) * 16;", "const int row = (index / 64) * 16 + index % 2;", "[divergence]"),
    Mutant("quadrants overlap", "product", "const int row = (group / 2) * 16;", "const int row = (group % 2) * 16;", "[race] write then write"),
    Mutant("the diagonal is masked", "product", "s <= offset + t;", "s < offset + t;", "differs"),
    Mutant("the mask lets one position in", "product", "s <= offset + t;", "s <= offset + t + 1;", "differs"),
    Mutant("the start is forgotten", "product", "s <= offset + t;", "s <= t;", "differs"),
    Mutant("the last tile is left out", "product", "offset + min(first_row + TILE, height)", "offset + min(first_row, height)", "differs"),
    Mutant("the first rows are left out", "product", "max(first_row - offset, 0)", "first_row", "differs"),
    Mutant("the row guard is forgotten", "product", "t < height && s < width", "s < width", "[out of bounds]"),
    Mutant("the column guard is forgotten", "product", "t < height && s < width", "t < height", "[out of bounds]"),
    Mutant("the depth guard is forgotten", "product", "k + r < end && first_column", "first_column", "[out of bounds]"),
    Mutant("the store guard is forgotten", "product", "if (first_row + r < out_rows && first_column + c < dims)", "if (first_column + c < dims)", "[out of bounds]"),
    Mutant("features are not guarded", "product", "first_row + r < out_rows && first_column + c < dims", "first_row + r < out_rows", "[out of bounds]"),
    Mutant("the pitch of the other tile", "product", "8 * i) * LEFT_PITCH + k, LEFT_PITCH", "8 * i) * LEFT_PITCH + k, RIGHT_PITCH", "[out of bounds]"),
    Mutant("half the depth", "product", "k < DEPTH;", "k < 8;", "differs"),
    Mutant("an accumulator is not cleared", "product", "clear_quadrant(total);\n    const", "const", "differs"),
    Mutant("the matrix of another head", "product", "(pair % heads)", "(pair / heads)", "differs"),
    Mutant("a tile without padding", "product", "left[TILE * LEFT_PITCH]", "left[TILE * DEPTH]", "[out of bounds]"),
    Mutant("a result is not cast", "product", "= T(tile[", "= (tile[", "no match for"),
    Mutant("a pointer without an address space", "product", "auto factor =", "const T* factor =", "address_space"),
    Mutant("takes a tiny matrix to be in device memory", "product", "auto matrix =", "const device T* matrix =", "address_space"),
    Mutant("a minimum of two types", "product", "min(first_row + TILE, height)", "min(first_row + TILE, uint(height))", "ambiguous"),
    Mutant("a write to an input", "product", "auto out = result", "auto out = (device T*)rows", "[out of bounds]"),
)  # fmt: skip

OUTER_MUTANTS = (
    Mutant("no barrier after staging", "outer", BARRIER, "", "[race] write then read"),
    Mutant("no barrier before staging again", "outer", BARRIER, "", "[race] read then write", 1),
    Mutant("tiles above the diagonal are not zeroed", "outer", "    place_quadrant(total", "    if (!reached) return;\n    place_quadrant(total", "[unwritten]"),
    Mutant("the mask is forgotten", "outer", "s <= offset + t ?", "true ?", "differs"),
    Mutant("the diagonal is masked", "outer", "s <= offset + t ?", "s < offset + t ?", "differs"),
    Mutant("the first sequence is left out", "outer", "int b = 0;", "int b = 1;", "differs"),
    Mutant("the right tile is not transposed", "outer", "right[c * RIGHT_PITCH + r]", "right[r * RIGHT_PITCH + c]", "[out of bounds]"),
    Mutant("rows of the first head", "outer", "rows + (int64_t)(b * heads + head)", "rows + (int64_t)(b * heads)", "differs"),
    Mutant("the row guard is forgotten", "outer", "inside && first_column + r < width", "inside", "[out of bounds]"),
    Mutant("tiles on the diagonal are skipped", "outer", "first_column <= offset + first_row + TILE - 1", "first_column < first_row", "differs"),
    Mutant("the store guard is forgotten", "outer", "if (t < height && s < width)", "if (s < width)", "[out of bounds]"),
)  # fmt: skip

MUTANTS = STEP_MUTANTS + PRODUCT_MUTANTS + OUTER_MUTANTS
