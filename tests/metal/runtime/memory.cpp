// Where the kernel's arrays live, and what every load and store is held against: bounds, races, missing writes.
#include <string.h>
#include <sys/mman.h>

#include "internal.h"

namespace emulator {
namespace {

// Every array sits in an arena of address space with room around it, so that an index off by a lot hits no other array.
// There is more room before and after them all than an index that wraps at 32 bits can leap.
constexpr size_t MARGIN = size_t(17) << 30, ARENA = 2 * MARGIN + (size_t(8) << 30), ROOM = size_t(16) << 20;
constexpr size_t MOST_THREADGROUP_MEMORY = 32 << 10;

// Who touched an element last. Two accesses are ordered if one thread made both or a barrier lies between.
struct Access {
  unsigned group = 0, thread = 0, epoch = 0;
};
struct Element {
  Access writer;
  Access readers[2];  // of different threads, so that one of them is not the thread that writes
  bool written = false;
};
struct Region {
  char* start;
  size_t bytes, element;
  std::string name;
  Buffer* buffer;  // none for threadgroup memory
  std::vector<Element> elements;

  bool is_input() const { return buffer && !buffer->is_output; }
  bool is_threadgroup() const { return !buffer; }
};

char *arena, *arena_end, *free_space;
std::vector<Region> regions;
size_t first_threadgroup_region;

Region& add_region(const char* name, size_t bytes, size_t element, Buffer* buffer) {
  char* start = free_space + ROOM;
  free_space = start + bytes + ROOM / 2;
  free_space -= size_t(free_space) % 4096;
  if (free_space + MARGIN > arena_end) {
    report(LIMIT, 0, "the emulator has no room for %s", name);
    abandon();
  }
  regions.push_back({start, bytes, element, name, buffer, {}});
  Region& region = regions.back();
  if (!region.is_input()) region.elements.resize(bytes / element);
  return region;
}

// Also for a pointer beyond an array: the room around belongs to the nearest array below.
Region* region_of(const char* pointer) {
  Region* found = nullptr;
  for (Region& region : regions)
    if (region.start - ROOM / 4 <= pointer && (!found || region.start > found->start)) found = &region;
  return found;
}

bool is_ordered(const Access& before, const Access& now, const Region& region) {
  if (before.group == 0) return true;
  // Threadgroup memory is fresh for each group. Nothing orders the device memory of two groups of one dispatch.
  if (before.group != now.group) return region.is_threadgroup();
  return before.thread == now.thread || before.epoch < now.epoch;
}

void require_order(const Access& before, const Access& now, const Region& region, size_t index, const char* how,
                   uint64_t site) {
  if (is_ordered(before, now, region)) return;
  const char* why = before.group == now.group ? "no barrier between" : "of different threadgroups";
  report(RACE, site, "%s on %s[%zu] by threads %u and %u, %s", how, region.name.c_str(), index, before.thread, now.thread,
         why);
}

void check_read(Element& element, const Access& now, const Region& region, size_t index, uint64_t site) {
  if (!element.written)
    report(UNINITIALISED, site, "%s[%zu] is read before anything wrote it, by thread %u", region.name.c_str(), index,
           now.thread);
  require_order(element.writer, now, region, index, "write then read", site);
  for (Access& reader : element.readers) {
    if (is_ordered(reader, now, region)) {
      reader = now;
      return;
    }
  }
}

void check_write(Element& element, const Access& now, const Region& region, size_t index, uint64_t site) {
  require_order(element.writer, now, region, index, "write then write", site);
  for (const Access& reader : element.readers) require_order(reader, now, region, index, "read then write", site);
  element = {now, {}, true};
}

}  // namespace

void start_memory() {
  if (!arena) {
    arena = (char*)mmap(nullptr, ARENA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    arena_end = arena + ARENA;
  } else {
    madvise(arena + MARGIN, free_space - (arena + MARGIN), MADV_DONTNEED);
  }
  free_space = arena + MARGIN;
  regions.clear();
  first_threadgroup_region = 0;
}

void* add_buffer(Buffer& buffer) {
  buffer.read = buffer.written = 0;
  Region& region = add_region(buffer.name, buffer.bytes, buffer.element, &buffer);
  if (buffer.is_output)
    memset(region.start, 0xff, region.bytes);  // NaN in every float format
  else
    memcpy(region.start, buffer.data, region.bytes);
  first_threadgroup_region = regions.size();
  return region.start;
}

void start_group_memory() {
  for (size_t i = first_threadgroup_region; i < regions.size(); i++) {
    memset(regions[i].start, 0xff, regions[i].bytes);
    regions[i].elements.assign(regions[i].elements.size(), {});
  }
}

void* threadgroup_memory(const char* name, size_t bytes, size_t element) {
  size_t total = bytes;
  for (size_t i = first_threadgroup_region; i < regions.size(); i++) {
    if (regions[i].name == name) return regions[i].start;
    total += regions[i].bytes;
  }
  if (total > MOST_THREADGROUP_MEMORY) {
    report(LIMIT, 0, "%zu bytes of threadgroup memory, the limit is %zu", total, MOST_THREADGROUP_MEMORY);
    abandon();
  }
  if (total > largest_threadgroup_memory) largest_threadgroup_memory = total;
  Region& region = add_region(name, bytes, element, nullptr);
  memset(region.start, 0xff, bytes);
  return region.start;
}

void check_access(const void* address, size_t bytes, bool write, uint64_t site) {
  const char* pointer = (const char*)address;
  // Anything else is private memory of the thread, or the shim's.
  if (pointer < arena || pointer >= arena_end || !self) return;
  const char* verb = write ? "write" : "read";
  Region* region = region_of(pointer);
  if (!region || pointer < region->start || pointer + bytes > region->start + region->bytes) {
    const long index = region ? (pointer - region->start) / long(region->element) : 0;
    report(OUT_OF_BOUNDS, site, "%s of %s[%ld], which has %zu elements, by thread %u", verb,
           region ? region->name.c_str() : "no array", index, region ? region->bytes / region->element : 0, self->index);
    abandon();
  }
  if (region->buffer) (write ? region->buffer->written : region->buffer->read) += bytes;
  if (region->is_input()) {
    if (write) report(OUT_OF_BOUNDS, site, "write to the input %s", region->name.c_str());
    if (write) abandon();
    return;
  }
  const Access now{group_number, self->index, epoch[region->is_threadgroup() ? 0 : 1]};
  const size_t first = (pointer - region->start) / region->element;
  const size_t last = (pointer + bytes - 1 - region->start) / region->element;
  for (size_t i = first; i <= last; i++) (write ? check_write : check_read)(region->elements[i], now, *region, i, site);
}

void check_outputs() {
  for (size_t i = 0; i < first_threadgroup_region; i++) {
    size_t missing = 0, first = 0;
    for (size_t e = regions[i].elements.size(); e-- > 0;)
      if (!regions[i].elements[e].written) missing++, first = e;
    if (missing)
      report(UNWRITTEN, i, "%zu of %zu elements of %s are never written, the first is [%zu]", missing,
             regions[i].elements.size(), regions[i].name.c_str(), first);
  }
}

void copy_outputs() {
  for (Region& region : regions)
    if (region.buffer && region.buffer->is_output) memcpy(region.buffer->data, region.start, region.bytes);
}

}  // namespace emulator
