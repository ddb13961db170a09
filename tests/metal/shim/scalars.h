// Number types and functions of the Metal Shading Language, as far as our kernels use them.
#pragma once
#include <stdint.h>

typedef unsigned int uint;
typedef unsigned short ushort;
typedef unsigned long ulong;
typedef _Float16 half;  // rounds after every operation, as Metal's does
typedef half float16_t;

struct uint3 {
  uint x, y, z;
};
struct ulong2 {
  ulong x, y;
  explicit ulong2(ulong both) : x(both), y(both) {}
};

// Anything becomes a bfloat only when asked to, and a float by itself: a store without a cast must not compile.
struct bfloat {
  uint16_t bits;

  bfloat() = default;
  explicit constexpr bfloat(float value) : bits(rounded(value)) {}
  explicit constexpr bfloat(int value) : bfloat(float(value)) {}
  explicit constexpr bfloat(half value) : bfloat(float(value)) {}
  constexpr operator float() const { return __builtin_bit_cast(float, uint32_t(bits) << 16); }

  static constexpr uint16_t rounded(float value) {
    const uint32_t wide = __builtin_bit_cast(uint32_t, value);
    if (value != value) return uint16_t(wide >> 16 | 0x40);
    return uint16_t((wide + 0x7fff + (wide >> 16 & 1)) >> 16);  // to nearest, ties to even
  }
};
typedef bfloat bfloat16_t;

namespace metal {

// Both arguments of one type, as in Metal's overload sets: min(int, uint) must not compile.
template <class T> T max(T a, T b) { return a < b ? b : a; }
template <class T> T min(T a, T b) { return b < a ? b : a; }
template <class T> T abs(T a) { return a < T(0) ? -a : a; }

inline float sqrt(float x) { return __builtin_sqrtf(x); }
inline float rsqrt(float x) { return 1.0f / __builtin_sqrtf(x); }
inline float exp(float x) { return __builtin_expf(x); }
namespace precise {
using metal::exp;
using metal::rsqrt;
using metal::sqrt;
}  // namespace precise

}  // namespace metal
