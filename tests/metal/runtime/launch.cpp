// One launch of a kernel: buffers in, threadgroups one after the other, findings and outputs out.
#include <signal.h>
#include <string.h>

#include <algorithm>

#include "internal.h"

namespace emulator {
namespace {

void on_signal(int number, siginfo_t* info, void*) {
  // The address is the instruction's, except for a bad pointer. One more, as for the return addresses that reports expect.
  const bool is_pointer = number == SIGSEGV || number == SIGBUS;
  report(CRASH, is_pointer ? 0 : uint64_t(info->si_addr) + 1, "signal %d (4 is a failed check of an index, shift or division), thread %d", number,
         self ? int(self->index) : -1);
  abandon();
}

constexpr int SIGNALS[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP};

// Restores the handlers of the process when it goes.
class SignalGuard {
 public:
  SignalGuard() {
    static char alternate[64 << 10];
    stack_t stack{};
    stack.ss_sp = alternate, stack.ss_size = sizeof(alternate);
    sigaltstack(&stack, &old_stack_);
    struct sigaction action {};
    action.sa_sigaction = on_signal;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    for (size_t i = 0; i < std::size(SIGNALS); i++) sigaction(SIGNALS[i], &action, &old_[i]);
  }
  ~SignalGuard() {
    for (size_t i = 0; i < std::size(SIGNALS); i++) sigaction(SIGNALS[i], &old_[i], nullptr);
    sigaltstack(&old_stack_, nullptr);
  }

 private:
  struct sigaction old_[std::size(SIGNALS)];
  stack_t old_stack_;
};

Uint3 last_group_aware_size() {
  const Uint3 full = dispatch.requested_size, grid = dispatch.grid, group = dispatch.group;
  return {std::min(full.x, grid.x - group.x * full.x), std::min(full.y, grid.y - group.y * full.y),
          std::min(full.z, grid.z - group.z * full.z)};
}

void run_groups(void (*kernel)(void* const*), void* const* arguments, unsigned order) {
  const Uint3 count = dispatch.group_count;
  const unsigned total = count.x * count.y * count.z;
  for (unsigned i = 0; i < total; i++) {
    const unsigned number = order == 1 ? total - 1 - i : i;
    dispatch.group = {number % count.x, number / count.x % count.y, number / count.x / count.y};
    // Metal's dispatchThreads: the last group of each axis may be smaller.
    dispatch.group_size = last_group_aware_size();
    group_number++;
    epoch[0] = epoch[1] = 1;
    start_group_memory();
    run_group(kernel, arguments, order);
  }
}

void start_dispatch(const unsigned* grid, const unsigned* size) {
  dispatch = {};
  dispatch.grid = {grid[0], grid[1], grid[2]};
  // MLX makes the threadgroup no larger than the grid.
  const Uint3 full = {std::min(size[0], grid[0]), std::min(size[1], grid[1]), std::min(size[2], grid[2])};
  dispatch.requested_size = full;
  dispatch.group_count = {(grid[0] + full.x - 1) / full.x, (grid[1] + full.y - 1) / full.y,
                          (grid[2] + full.z - 1) / full.z};
  group_number = 0;
  barriers = collectives = multiplications = largest_threadgroup_memory = 0;
}

}  // namespace
}  // namespace emulator

using namespace emulator;

// counters: barriers, collectives, matrix multiplications, bytes of threadgroup memory.
extern "C" void emulator_launch(void (*kernel)(void* const*), Buffer* buffers, int count, const unsigned* grid,
                                const unsigned* size, unsigned order, char* findings, uint64_t room, uint64_t* counters) {
  const SignalGuard guard;
  std::vector<void*> arguments;
  start_reports();
  start_memory();
  start_dispatch(grid, size);
  self = nullptr;
  if (!_setjmp(abandoned)) {
    const Uint3 full = dispatch.requested_size;
    if (full.x * full.y * full.z > MOST_THREADS) {
      report(LIMIT, 0, "%u threads per threadgroup", full.x * full.y * full.z);
      abandon();
    }
    for (int i = 0; i < count; i++) arguments.push_back(add_buffer(buffers[i]));
    run_groups(kernel, arguments.data(), order);
    check_outputs();
  }
  self = nullptr;
  copy_outputs();
  print_reports(findings, room);
  counters[0] = barriers, counters[1] = collectives, counters[2] = multiplications;
  counters[3] = largest_threadgroup_memory;
}
