// What a kernel under test and the emulator's runtime know of each other.
#pragma once
#include <stddef.h>
#include <stdint.h>

// The shim's own work is not the kernel's: its loads and stores are not looked at.
#define UNCHECKED __attribute__((no_sanitize("thread")))

namespace emulator {

constexpr unsigned SIMD_WIDTH = 32;
constexpr unsigned MOST_THREADS = 1024;

struct Uint3 {
  unsigned x, y, z;
};

// What a Metal thread may know of itself.
struct Thread {
  Uint3 in_grid, in_group;
  unsigned index, lane, simdgroup;
};

// What is the same for all threads of the threadgroup that runs now.
struct Dispatch {
  Uint3 group, group_size, requested_size, group_count, grid;
  unsigned simdgroups;
};

// Where the lanes of a SIMD-group leave values for each other. There are two sets of slots, used in turn: a lane may
// leave its next value while a slower one still reads the last.
struct Exchange {
  alignas(16) char slot[2][SIMD_WIDTH][32];
  unsigned turn, lanes;
};

enum Fault { RACE, OUT_OF_BOUNDS, UNINITIALISED, DIVERGENCE, LIMIT, CRASH, UNWRITTEN };
enum MemoryFlags { NOTHING = 0, DEVICE = 1, THREADGROUP = 2 };

extern Thread* self;
extern Dispatch dispatch;
extern Exchange exchanges[MOST_THREADS / SIMD_WIDTH];
extern uint64_t multiplications;

// Line of the kernel that is being carried out by the shim on its behalf; 0 while the kernel itself runs.
extern int current_line;

void report(Fault fault, uint64_t site, const char* format, ...);
[[noreturn]] void abandon();

// Block until every live thread of the SIMD-group, or of the threadgroup, waits at the same line.
void wait_for_simdgroup(const char* what, int line);
void wait_for_threadgroup(int line, unsigned flags);

// The array of that name of the running threadgroup; the same for each of its threads.
void* threadgroup_memory(const char* name, size_t bytes, size_t element);

template <class Array>
Array& threadgroup_array(const char* name) {
  Array* array = nullptr;
  return *(Array*)threadgroup_memory(name, sizeof(Array), sizeof((*array)[0]));
}

}  // namespace emulator
