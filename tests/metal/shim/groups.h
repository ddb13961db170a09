// Barriers and SIMD-group collectives. Each blocks its thread until all that must take part have arrived.
#pragma once
#include <string.h>

#include "runtime.h"
#include "scalars.h"

#define HERE int line = __builtin_LINE()

namespace emulator {

// The lanes of one SIMD-group after they have exchanged a value each.
template <class T>
class Lanes {
 public:
  UNCHECKED Lanes(T mine, const char* what, int line) : exchange_(exchanges[self->simdgroup]) {
    static_assert(sizeof(T) <= sizeof(exchange_.slot[0][0]));
    memcpy(exchange_.slot[exchange_.turn][self->lane], &mine, sizeof(T));
    wait_for_simdgroup(what, line);  // which moves the turn on
  }
  UNCHECKED bool has(unsigned lane) const { return lane < SIMD_WIDTH && (exchange_.lanes >> lane & 1); }
  UNCHECKED T operator[](unsigned lane) const {
    T value;
    memcpy((void*)&value, exchange_.slot[exchange_.turn ^ 1][lane], sizeof(T));
    return value;
  }
  // In lane order: every lane gets the same sum, bit by bit.
  template <class Combine>
  UNCHECKED T reduce(Combine combine) const {
    T total = (*this)[0];
    for (unsigned lane = 1; has(lane); lane++) total = combine(total, (*this)[lane]);
    return total;
  }
  UNCHECKED T from(unsigned lane, const char* what, int line) const {
    if (has(lane)) return (*this)[lane];
    report(DIVERGENCE, line, "%s reads lane %u, which is not there", what, lane);
    abandon();
  }

 private:
  Exchange& exchange_;
};

}  // namespace emulator

namespace metal {

template <class T> T simd_sum(T value, HERE) {
  return emulator::Lanes<T>(value, "simd_sum", line).reduce([](T a, T b) { return T(a + b); });
}
template <class T> T simd_max(T value, HERE) {
  return emulator::Lanes<T>(value, "simd_max", line).reduce([](T a, T b) { return max(a, b); });
}
template <class T> T simd_broadcast(T value, ushort lane, HERE) {
  return emulator::Lanes<T>(value, "simd_broadcast", line).from(lane, "simd_broadcast", line);
}
template <class T> T simd_shuffle_xor(T value, ushort mask, HERE) {
  const unsigned lane = emulator::self->lane ^ mask;
  return emulator::Lanes<T>(value, "simd_shuffle_xor", line).from(lane, "simd_shuffle_xor", line);
}

enum class mem_flags : unsigned {
  mem_none = emulator::NOTHING,
  mem_device = emulator::DEVICE,
  mem_threadgroup = emulator::THREADGROUP
};
inline mem_flags operator|(mem_flags a, mem_flags b) { return mem_flags(unsigned(a) | unsigned(b)); }
inline void threadgroup_barrier(mem_flags flags, HERE) { emulator::wait_for_threadgroup(line, unsigned(flags)); }

}  // namespace metal
