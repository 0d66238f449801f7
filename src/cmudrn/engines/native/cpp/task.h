// One strip of one segment over some rows, on one thread.
#pragma once

#include <vector>

#include "executor.h"

namespace cmudrn {

// Where the pixels of a map are.
struct MapView {
  float* base = nullptr;
  long row = 0;      // floats from one row to the next
  long pixel = 0;    // floats from one pixel to the next
  int capacity = 0;  // rows of a ring; 0: all rows of the map are there
  int left = 0;      // column of base

  // A pixel's first channel.
  float* at(int y, int x) const {
    return base + (capacity > 0 ? y % capacity : y) * row + (static_cast<long>(x) - left) * pixel;
  }
};

// Some pixels of a row that one part of a convolution makes.
struct Part {
  int x;      // of the first one, before pixel shuffle
  int count;  // of pixels; may be 0 or less
  const float* weights;
  const float* bias;
  Epilogue epilogue;
  float* out;
  long pixel;  // floats from one to the next
};

// A pixel of a picture, and a colour of it.
struct Place {
  int colour, row, column;
};

class Task {
 public:
  // `rings` holds the rings of a strip that goes on later; nullptr: they lie in `scratch`.
  Task(const Schedule& schedule, const Segment& segment, const ColumnStrip& strip, float* arena,
       float* scratch, const Pictures& pictures, float* rings = nullptr);

  // Makes the base rows of what the segment hands on.
  void run(Range rows);

  // The same for the rows below those that made `done` and `rings` what they are.
  void go_on(Range rows, std::vector<int>& done);

  // What the scratch memory of a thread has to hold.
  static std::size_t scratch_floats(const Schedule& schedule);

 private:
  void clear_guards(Range rows);
  void run_operation(std::size_t index, Range rows, Range columns);
  void run_winograd(const Operation& operation, std::size_t index, Range rows, Range columns);
  void winograd_block(const Operation& operation, int y, int x, int tiles);
  Part part_of(const Operation& operation, int y, Range columns, int group, int dx) const;
  void run_direct(const Operation& operation, Range rows, Range columns);
  void mix(const Operation& operation, Range rows, Range columns) const;
  static std::size_t rounded_floats(const Schedule& schedule);  // of a convolution's rounded rows
  void run_rounded(const Operation& operation, Range rows, Range columns);
  void run_combination(const Operation& operation, Range rows, Range columns);
  void run_input(const Operation& operation, Range rows, Range columns);
  void run_output(const Operation& operation, Range rows, Range columns);
  void copy_whole(const Operation& operation, Range rows);
  const float* degraded_at(const Place& place) const;
  const float* input_row(const Operation& operation, int y, int x, int channel) const;
  Epilogue epilogue(const Operation& operation, int part) const;
  // Returns what is added to a place of a group's outputs, or null.
  const float* residual_at(const Operation& operation, int y, int x, int group) const;

  const MapView& reads(int value) const { return read_[index(value)]; }
  std::size_t index(int value) const {
    return static_cast<std::size_t>(segment_.map_of[static_cast<std::size_t>(value)]);
  }
  Size size_of(int value) const { return schedule_.sizes[static_cast<std::size_t>(value)]; }

  const Schedule& schedule_;
  const Segment& segment_;
  const ColumnStrip& strip_;
  const Pictures& pictures_;
  std::vector<MapView> read_;   // of every map of the segment: what operations read and write
  std::vector<MapView> whole_;  // the whole map, where there is one
  Range rows_;                  // of the base
  float* zeros_;                // a row outside the picture
  float* unused_;               // a row that nobody reads
  float* block_;
  float* sums_;
  float* rounded_;  // rows in bfloat16
};

}  // namespace cmudrn
