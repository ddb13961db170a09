// What was found, one line per kind and place.
#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <algorithm>
#include <set>

#include "internal.h"

namespace emulator {

jmp_buf abandoned;

namespace {

const char* const NAMES[] = {"race", "out of bounds", "uninitialised", "divergence", "limit", "crash", "unwritten"};
std::string text;
std::set<std::pair<int, uint64_t>> seen;

// Where in its library an instruction is, for addr2line; 0 if the site is a line or nothing.
uint64_t offset_of(uint64_t site) {
  Dl_info info;
  return site > 1 << 20 && dladdr((void*)site, &info) ? site - uint64_t(info.dli_fbase) : 0;
}

}  // namespace

void start_reports() {
  text.clear();
  seen.clear();
  current_line = 0;
}

void print_reports(char* out, size_t room) {
  const size_t length = std::min(text.size(), room - 1);
  memcpy(out, text.data(), length);
  out[length] = 0;
}

// Each line is: kind|offset of the instruction|line|message. Line or offset is 0 where it is not known.
void report(Fault fault, uint64_t site, const char* format, ...) {
  if (current_line) site = current_line;
  if (!seen.insert({fault, site}).second) return;
  char message[512];
  va_list values;
  va_start(values, format);
  vsnprintf(message, sizeof(message), format, values);
  va_end(values);
  const uint64_t offset = offset_of(site);
  const uint64_t line = offset || fault == UNWRITTEN ? 0 : site;
  text += std::string(NAMES[fault]) + "|" + std::to_string(offset) + "|" + std::to_string(line) + "|" + message;
  const Uint3 group = dispatch.group;
  text += ", threadgroup (" + std::to_string(group.x) + ", " + std::to_string(group.y) + ", " + std::to_string(group.z) + ")\n";
}

void abandon() { _longjmp(abandoned, 1); }

}  // namespace emulator
