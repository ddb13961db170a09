// What the parts of the runtime share.
#pragma once
#include <setjmp.h>
#include <ucontext.h>

#include <string>
#include <vector>

#include "../shim/runtime.h"

namespace emulator {

// A buffer of the launch; shared with emulator.py through ctypes, so keep the two in step.
struct Buffer {
  void* data;
  uint64_t bytes;
  const char* name;
  uint64_t read, written;  // bytes the kernel read and wrote
  uint32_t element;        // bytes of one scalar
  uint32_t is_output;
};

enum State { RUNNING, AT_SIMDGROUP, AT_THREADGROUP, DONE };

// A Metal thread as a coroutine.
struct Fiber : Thread {
  ucontext_t context;
  jmp_buf resume;
  char* stack;
  bool started;
  State state;
  const char* what;
  int line;
  unsigned flags;
};

extern std::vector<Fiber> fibers;
extern unsigned thread_count;
extern jmp_buf abandoned;

// Grows when a barrier orders accesses: [0] to threadgroup memory, [1] to device memory.
extern unsigned epoch[2];
// Number of the running threadgroup, from 1.
extern unsigned group_number;
extern uint64_t barriers, collectives, largest_threadgroup_memory;

void start_memory();
void* add_buffer(Buffer& buffer);
void start_group_memory();
void check_outputs();
void copy_outputs();
void check_access(const void* pointer, size_t bytes, bool write, uint64_t site);

void run_group(void (*kernel)(void* const*), void* const* arguments, unsigned order);
void start_reports();
void print_reports(char* out, size_t room);

}  // namespace emulator
