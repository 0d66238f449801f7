// Runs a schedule on pictures.
#pragma once

#include <atomic>
#include <vector>

#include "schedule.h"

namespace cmudrn {

// Planes of the degraded picture and of what is made of it, rows of the picture's width.
struct Pictures {
  const float* degraded;
  long plane;          // floats from one colour to the next
  int degraded_rows;   // that are there: row y is at y % degraded_rows
  float* const* made;  // one for every picture of the program; nullptr: not wanted
  long made_plane;
  int made_first;  // the row at the beginning of a plane
};

class Executor {
 public:
  // Takes the picture in steps of that many rows; 0: whole. Throws as Schedule, and std::bad_alloc.
  Executor(const Program& program, Size size, int threads, int step_rows);

  // Planes (3, height, width); only where the picture is taken whole.
  void run(const float* degraded, float* const* made);

  // Takes the next rows, and writes those that are then finished at the start of `made`; returns
  // how many those are. After the last row of a picture comes the first one of another.
  int push(const float* degraded, long plane, int rows, float* const* made, long made_plane);

  // Rows that were not pushed yet.
  int left() const { return schedule_.size.height - loaded_; }

  bool whole() const { return !schedule_.in_steps(); }

 private:
  void run_step(const Pictures& pictures, std::size_t step);
  void work(const Pictures& pictures, std::size_t thread, std::size_t segment, std::size_t step);
  void load(const float* rows, long plane, int count);
  void begin_picture();

  Schedule schedule_;
  std::size_t threads_;
  AlignedFloats arena_;
  AlignedFloats degraded_;              // the latest rows that were pushed
  std::vector<AlignedFloats> scratch_;  // of every thread
  AlignedFloats rings_;                 // of every segment and strip, where the picture is in steps
  std::vector<std::vector<std::vector<int>>> done_;  // of those: how far each operation is
  std::vector<std::atomic<std::size_t>> next_task_;
  int loaded_ = 0;
  std::size_t step_ = 0;
};

}  // namespace cmudrn
