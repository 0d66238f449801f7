// Runs a schedule on pictures.
#pragma once

#include <atomic>
#include <vector>

#include "schedule.h"

namespace cmudrn {

// Planes (3, height, width) of the caller.
struct Pictures {
  const float* degraded;
  float* const* made;  // one for every picture of the program; nullptr: not wanted
};

class Executor {
 public:
  // Throws as Schedule, and std::bad_alloc.
  Executor(const Program& program, Size size, int threads);

  void run(const Pictures& pictures);

 private:
  void work(const Pictures& pictures, std::size_t thread, std::size_t segment);

  Schedule schedule_;
  std::size_t threads_;
  AlignedFloats arena_;
  std::vector<AlignedFloats> scratch_;  // of every thread
  std::vector<std::atomic<std::size_t>> next_task_;
};

}  // namespace cmudrn
