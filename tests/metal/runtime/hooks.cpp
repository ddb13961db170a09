// What -fsanitize=thread calls before every load and store: here, in place of that sanitizer's own runtime.
#include <string.h>

#include "internal.h"

#define SITE uint64_t(__builtin_return_address(0))
#define HOOKS(bytes)                                                                                               \
  void __tsan_read##bytes(void* p) { emulator::check_access(p, bytes, false, SITE); }                              \
  void __tsan_write##bytes(void* p) { emulator::check_access(p, bytes, true, SITE); }                              \
  void __tsan_unaligned_read##bytes(void* p) { emulator::check_access(p, bytes, false, SITE); }                    \
  void __tsan_unaligned_write##bytes(void* p) { emulator::check_access(p, bytes, true, SITE); }

extern "C" {
HOOKS(1)
HOOKS(2)
HOOKS(4)
HOOKS(8)
HOOKS(16)
void __tsan_read_range(void* p, unsigned long bytes) { emulator::check_access(p, bytes, false, SITE); }
void __tsan_write_range(void* p, unsigned long bytes) { emulator::check_access(p, bytes, true, SITE); }
void* __tsan_memcpy(void* to, const void* from, unsigned long bytes) { return memcpy(to, from, bytes); }
void* __tsan_memset(void* to, int value, unsigned long bytes) { return memset(to, value, bytes); }
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
}
