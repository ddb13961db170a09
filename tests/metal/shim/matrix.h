// simdgroup_matrix: 8 x 8 elements spread over 32 lanes, two each. Which lane holds which is not specified, and there
// is no way here to ask.
#pragma once
#include "groups.h"

namespace emulator {

template <class A, class B> constexpr bool same = false;
template <class A> constexpr bool same<A, A> = true;

// Every lane must come with the same arguments; they are gathered as bits.
struct MatrixAccess {
  const void* pointer;
  unsigned long stride;
  bool transposed;
};
UNCHECKED inline void require_uniform(MatrixAccess mine, const char* what, int line) {
  const Lanes<MatrixAccess> lanes(mine, what, line);
  for (unsigned lane = 0; lane < SIMD_WIDTH; lane++) {
    const MatrixAccess other = lanes.from(lane, what, line);
    if (other.pointer == mine.pointer && other.stride == mine.stride && other.transposed == mine.transposed) continue;
    report(DIVERGENCE, line, "%s: lanes %u and %u come with different arguments", what, self->lane, lane);
    abandon();
  }
}

}  // namespace emulator

namespace metal {

template <class T, int Rows, int Columns>
struct simdgroup_matrix {
  static_assert(Rows == 8 && Columns == 8, "Metal has 8 x 8 matrices only");
  static_assert(emulator::same<T, float> || emulator::same<T, half> || emulator::same<T, bfloat>, "element type");
  T element[2];  // of row-major index 2 * lane and the next
};

template <class T, int Rows, int Columns>
simdgroup_matrix<T, Rows, Columns> make_filled_simdgroup_matrix(T value) {
  return {{value, value}};
}

template <class T>
void simdgroup_load(simdgroup_matrix<T, 8, 8>& matrix, const T* source, ulong stride = 8, ulong2 origin = ulong2(0),
                    bool transpose = false, HERE) {
  emulator::require_uniform({source, stride, transpose}, "simdgroup_load", line);
  emulator::current_line = line;
  for (unsigned i = 0; i < 2; i++) {
    const unsigned at = 2 * emulator::self->lane + i, row = transpose ? at % 8 : at / 8, column = transpose ? at / 8 : at % 8;
    matrix.element[i] = source[(origin.y + row) * stride + origin.x + column];
  }
  emulator::current_line = 0;
}

template <class T>
void simdgroup_store(const simdgroup_matrix<T, 8, 8>& matrix, T* target, ulong stride = 8, ulong2 origin = ulong2(0),
                     bool transpose = false, HERE) {
  emulator::require_uniform({target, stride, transpose}, "simdgroup_store", line);
  emulator::current_line = line;
  for (unsigned i = 0; i < 2; i++) {
    const unsigned at = 2 * emulator::self->lane + i, row = transpose ? at % 8 : at / 8, column = transpose ? at / 8 : at % 8;
    target[(origin.y + row) * stride + origin.x + column] = matrix.element[i];
  }
  emulator::current_line = 0;
}

// result = a b + c; factors of one type, sums of one type, which may be the wider.
template <class T, class F>
UNCHECKED void simdgroup_multiply_accumulate(simdgroup_matrix<T, 8, 8>& result, const simdgroup_matrix<F, 8, 8>& a,
                                   const simdgroup_matrix<F, 8, 8>& b, const simdgroup_matrix<T, 8, 8>& c, HERE) {
  struct Factors {
    F a[2], b[2];
  };
  const char* what = "simdgroup_multiply_accumulate";
  const emulator::Lanes<Factors> lanes({{a.element[0], a.element[1]}, {b.element[0], b.element[1]}}, what, line);
  if (!lanes.has(emulator::SIMD_WIDTH - 1)) {
    emulator::report(emulator::DIVERGENCE, line, "%s in a SIMD-group of fewer than 32 threads", what);
    emulator::abandon();
  }
  float left[64], right[64];
  for (unsigned lane = 0; lane < emulator::SIMD_WIDTH; lane++) {
    const Factors factors = lanes[lane];
    for (unsigned i = 0; i < 2; i++) left[2 * lane + i] = float(factors.a[i]), right[2 * lane + i] = float(factors.b[i]);
  }
  simdgroup_matrix<T, 8, 8> total = c;
  for (unsigned i = 0; i < 2; i++) {
    const unsigned at = 2 * emulator::self->lane + i;
    float sum = float(c.element[i]);
    for (unsigned k = 0; k < 8; k++) sum += left[at / 8 * 8 + k] * right[k * 8 + at % 8];
    total.element[i] = T(sum);
  }
  result = total;
  if (emulator::self->lane == 0) emulator::multiplications++;
}

}  // namespace metal
