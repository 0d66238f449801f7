// One picture flowing through the whole network: rows in at the top, restored rows out below.
//
// Every stage is cut into column strips, and every strip of every stage is a task that moves some
// rows on. In one step all tasks run at the same time, each on rows that the step before left
// behind, so threads meet once a step and memory does not grow with the picture's height.
#pragma once

#include <atomic>
#include <vector>

#include "pipeline.h"

namespace cmudrn {

// The latest rows of a picture, 4 floats a pixel (red, green, blue, unused).
class RowRing {
 public:
  static constexpr int kPixel = 4;

  RowRing(int rows, int width)
      : rows_(rows), width_(width), memory_(static_cast<size_t>(rows) * width * kPixel) {}

  float* row(int row) const {
    return memory_.data() + static_cast<size_t>(row % rows_) * width_ * kPixel;
  }

 private:
  int rows_, width_;
  Floats memory_;
};

// Planes (3, rows, columns) of the caller; a plane is `plane` floats, a row `width` floats.
struct Planes {
  float* data;
  long plane;
};

class Stream {
 public:
  Stream(const Network& network, int height, int width, int stages, int recursions, int threads);

  // Takes the next `rows` rows of `degraded` and writes every row that is then finished, to the
  // start of `restored` and of each branch's planes (`branches` may be null). Returns how many.
  int push(const float* degraded, long plane, int rows, Planes restored, const Planes* branches);

  // Rows that were not pushed yet.
  int left() const { return height_ - loaded_; }

 private:
  // A stage, or after the last one the fusion head.
  struct Section {
    const Pipeline* pipeline;
    std::vector<Strip> strips;
    int taken = 0;  // rows it has read
    int done = 0;   // rows it has finished
    int limit = 0;  // rows it may read in this step
  };

  struct Task {
    size_t section, strip;
  };

  void add_section(const Pipeline& pipeline, int threads);
  void plan_step();
  void finish_step();
  void load_degraded();
  void work();
  void run(const Task& task);
  void run_stage(size_t stage, Strip& strip);
  void run_fusion(Strip& strip);
  void load_inputs(size_t stage, const Strip& strip, int row) const;
  void emit_estimates(size_t stage, const Strip& strip, int row) const;
  void emit_restored(const Strip& strip, int row) const;

  const Network& network_;
  int height_, width_, threads_;
  Pipeline first_, later_, fusion_;
  std::vector<Section> sections_;
  RowRing degraded_;
  std::vector<std::vector<RowRing>> estimates_;  // [stage][branch]
  int loaded_ = 0;                               // rows in degraded_

  // One call of push.
  const float* source_ = nullptr;
  long source_plane_ = 0;
  int source_end_ = 0, source_begin_ = 0, target_begin_ = 0;
  Planes restored_ = {};
  const Planes* branches_ = nullptr;
  std::vector<Task> tasks_;
  std::atomic<size_t> next_task_{0};
};

}  // namespace cmudrn
