// The threads of a threadgroup as coroutines: each runs until it must wait for others, and one that nobody can release
// is a divergence.
#include <sys/mman.h>

#include <algorithm>
#include <numeric>

#include "internal.h"

namespace emulator {

Thread* self;
Dispatch dispatch;
Exchange exchanges[MOST_THREADS / SIMD_WIDTH];
std::vector<Fiber> fibers;
unsigned thread_count, epoch[2], group_number;
uint64_t barriers, collectives, multiplications, largest_threadgroup_memory;
int current_line;

namespace {

constexpr size_t STACK = 128 << 10;
jmp_buf scheduler;
void (*entry)(void* const*);
void* const* entry_arguments;

void run_fiber() {
  entry(entry_arguments);
  static_cast<Fiber*>(self)->state = DONE;
  _longjmp(scheduler, 1);
}

// A jump costs nanoseconds where swapcontext makes a system call; only the first entry needs a context.
void resume(Fiber& fiber) {
  self = &fiber;
  if (!_setjmp(scheduler)) {
    if (fiber.started) _longjmp(fiber.resume, 1);
    fiber.started = true;
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack;
    fiber.context.uc_stack.ss_size = STACK;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, run_fiber, 0);
    setcontext(&fiber.context);
  }
  self = nullptr;
}

void suspend(State state, const char* what, int line, unsigned flags) {
  Fiber& fiber = *static_cast<Fiber*>(self);
  fiber.state = state, fiber.what = what, fiber.line = line, fiber.flags = flags;
  if (!_setjmp(fiber.resume)) _longjmp(scheduler, 1);
}

bool waits_like(const Fiber& fiber, const Fiber& first) {
  return fiber.state == first.state && fiber.line == first.line;
}

const char* place(const Fiber& fiber) { return fiber.state == DONE ? "the end" : fiber.what; }

// Releases the fibers [begin, end) if they all wait at the place where the first that waits in `state` does.
bool release(State state, unsigned begin, unsigned end) {
  const auto from = fibers.begin() + begin, to = fibers.begin() + end;
  const auto first = std::find_if(from, to, [=](const Fiber& fiber) { return fiber.state == state; });
  if (first == to) return false;
  const auto odd = std::find_if(from, to, [&](const Fiber& fiber) { return !waits_like(fiber, *first); });
  if (odd != to) {
    report(DIVERGENCE, first->line, "thread %u waits in %s (line %d) while thread %u is at %s (line %d)", first->index,
           first->what, first->line, odd->index, place(*odd), odd->line);
    abandon();
  }
  std::for_each(from, to, [](Fiber& fiber) { fiber.state = RUNNING; });
  return true;
}

bool release_simdgroup(unsigned number) {
  const unsigned begin = number * SIMD_WIDTH, end = std::min(begin + SIMD_WIDTH, thread_count);
  if (!release(AT_SIMDGROUP, begin, end)) return false;
  exchanges[number].turn ^= 1;
  exchanges[number].lanes = end - begin == SIMD_WIDTH ? ~0u : (1u << (end - begin)) - 1;
  collectives++;
  return true;
}

bool release_threadgroup() {
  if (!release(AT_THREADGROUP, 0, thread_count)) return false;
  if (fibers[0].flags & THREADGROUP) epoch[0]++;
  if (fibers[0].flags & DEVICE) epoch[1]++;
  barriers++;
  return true;
}

void prepare_fibers() {
  const Uint3 size = dispatch.group_size;
  thread_count = size.x * size.y * size.z;
  dispatch.simdgroups = (thread_count + SIMD_WIDTH - 1) / SIMD_WIDTH;
  for (unsigned i = fibers.size(); i < thread_count; i++) {
    fibers.emplace_back();
    fibers[i].stack = (char*)mmap(nullptr, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  }
  for (unsigned i = 0; i < thread_count; i++) {
    Fiber& fiber = fibers[i];
    fiber.index = i, fiber.lane = i % SIMD_WIDTH, fiber.simdgroup = i / SIMD_WIDTH;
    fiber.in_group = {i % size.x, i / size.x % size.y, i / size.x / size.y};
    const Uint3 group = dispatch.group, full = dispatch.requested_size;
    fiber.in_grid = {group.x * full.x + fiber.in_group.x, group.y * full.y + fiber.in_group.y,
                     group.z * full.z + fiber.in_group.z};
    fiber.started = false, fiber.state = RUNNING, fiber.line = 0;
  }
}

// 0 is ascending, 1 descending, anything else a shuffle with that seed.
std::vector<unsigned> thread_order(unsigned order) {
  std::vector<unsigned> threads(thread_count);
  std::iota(threads.begin(), threads.end(), 0);
  if (order == 1) std::reverse(threads.begin(), threads.end());
  uint64_t random = order;
  for (unsigned i = thread_count; order > 1 && i > 1; i--) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    std::swap(threads[i - 1], threads[(random >> 33) % i]);
  }
  return threads;
}

}  // namespace

void wait_for_simdgroup(const char* what, int line) { suspend(AT_SIMDGROUP, what, line, 0); }
void wait_for_threadgroup(int line, unsigned flags) { suspend(AT_THREADGROUP, "threadgroup_barrier", line, flags); }

void run_group(void (*kernel)(void* const*), void* const* arguments, unsigned order) {
  entry = kernel, entry_arguments = arguments;
  prepare_fibers();
  const std::vector<unsigned> threads = thread_order(order);
  for (bool released = true; released;) {
    for (unsigned i : threads)
      if (fibers[i].state == RUNNING) resume(fibers[i]);
    released = false;
    for (unsigned number = 0; number < dispatch.simdgroups; number++) released |= release_simdgroup(number);
    if (!released) released = release_threadgroup();
  }
}

}  // namespace emulator
