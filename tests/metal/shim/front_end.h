// Declarations for a clang front end, which parses kernels with address spaces as parts of types and runs nothing:
// a device pointer to a threadgroup array is an error here, as it is on a Mac. No qualifier means `thread`.
#define thread
#define device __attribute__((address_space(1)))
#define constant __attribute__((address_space(2)))
#define threadgroup __attribute__((address_space(3)))
#define double there_is_no_double_in_metal

typedef unsigned char uint8_t;
typedef signed char int8_t;
typedef unsigned short ushort, uint16_t;
typedef short int16_t;
typedef unsigned int uint, uint32_t;
typedef int int32_t;
typedef unsigned long ulong, uint64_t, size_t;
typedef long int64_t;
typedef _Float16 half, float16_t;
// The builtin, because a class cannot be loaded through an address space in C++.
typedef __bf16 bfloat, bfloat16_t;

struct uint3 { uint x, y, z; };
struct ulong2 { ulong x, y; explicit ulong2(ulong); };

namespace metal {

#define OVERLOADS(name) \
  float name(float, float); half name(half, half); int name(int, int); uint name(uint, uint); int64_t name(int64_t, int64_t);
OVERLOADS(max) OVERLOADS(min)
#define FUNCTION(name) float name(float); half name(half);
#define FUNCTIONS FUNCTION(exp) FUNCTION(sqrt) FUNCTION(rsqrt)
FUNCTIONS
namespace precise { FUNCTIONS }
namespace fast { FUNCTIONS }
template <class T> T abs(T);

template <class T> T simd_sum(T);
template <class T> T simd_max(T);
template <class T> T simd_broadcast(T, ushort);
template <class T> T simd_shuffle_xor(T, ushort);

enum class mem_flags { mem_none, mem_device, mem_threadgroup };
mem_flags operator|(mem_flags, mem_flags);
void threadgroup_barrier(mem_flags);

template <class T, int Rows, int Columns>
struct simdgroup_matrix {
  static_assert(Rows == 8 && Columns == 8, "Metal has 8 x 8 matrices only");
  static_assert(__is_same(T, float) || __is_same(T, half) || __is_same(T, bfloat), "element type");
};
template <class T, int Rows, int Columns> simdgroup_matrix<T, Rows, Columns> make_filled_simdgroup_matrix(T);
#define MOVES(space) \
  template <class T> void simdgroup_load(thread simdgroup_matrix<T, 8, 8>&, const space T*, ulong = 8, ulong2 = ulong2(0), bool = false); \
  template <class T> void simdgroup_store(simdgroup_matrix<T, 8, 8>, space T*, ulong = 8, ulong2 = ulong2(0), bool = false);
MOVES(device) MOVES(threadgroup)
template <class T, class F>
void simdgroup_multiply_accumulate(thread simdgroup_matrix<T, 8, 8>&, simdgroup_matrix<F, 8, 8>, simdgroup_matrix<F, 8, 8>, simdgroup_matrix<T, 8, 8>);

}  // namespace metal
using namespace metal;
