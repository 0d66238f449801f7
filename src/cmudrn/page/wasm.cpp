// What a web page calls: the executor of layer lists for WebAssembly, on one thread. Pages divide
// their work between workers, each with a memory of its own. Built by `make wasm`; exceptions end
// the instance, and the page makes a new one.
#include <cstdint>

#include "task.h"

// The page is told of progress after each part of the work.
extern "C" __attribute__((import_module("page"), import_name("progress"))) void page_progress(
    int done, int all);

namespace {

using cmudrn::AlignedFloats;
using cmudrn::Schedule;
using cmudrn::Segment;
using cmudrn::Task;

// Runs a schedule on pictures, in one step.
void run(const Schedule& schedule, const cmudrn::Pictures& pictures) {
  AlignedFloats arena, scratch;
  arena.resize(schedule.arena);
  scratch.resize(Task::scratch_floats(schedule));
  int done = 0, all = 0;
  for (const Segment& segment : schedule.segments)
    all += static_cast<int>(segment.columns.size() * segment.steps[0].size());
  for (const Segment& segment : schedule.segments)
    for (const cmudrn::ColumnStrip& strip : segment.columns) {
      for (const cmudrn::Range rows : segment.steps[0]) {
        Task(schedule, segment, strip, arena.data(), scratch.data(), pictures).run(rows);
        page_progress(++done, all);
      }
    }
}

}  // namespace

#define CMUDRN_PAGE(name) extern "C" __attribute__((export_name(name)))

// Memory for some bytes, aligned as any number.
CMUDRN_PAGE("allocate") void* page_allocate(std::size_t bytes) { return operator new(bytes); }

CMUDRN_PAGE("release") void page_release(void* memory) { operator delete(memory); }

// A program from the numbers that the page was built with (program_writer.py).
CMUDRN_PAGE("open")
cmudrn::Program* page_open(const std::int64_t* code, long code_count, const float* numbers,
                           long count) {
  return new cmudrn::Program(cmudrn::kPortableLayers, cmudrn::kPortableLayers, code, code_count,
                             numbers, count);
}

// Restores planes (3, height, width) into as many planes as the program has pictures.
CMUDRN_PAGE("restore")
void page_restore(const cmudrn::Program* program, int height, int width, const float* degraded,
                  float* const* made) {
  const long plane = static_cast<long>(height) * width;
  run(Schedule(*program, {height, width}, 1), {degraded, plane, height, made, plane, 0});
}
