// How a program runs on pictures of one size: segments, column strips, rows in flight, memory.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

#include "program.h"

namespace cmudrn {

struct Range {
  int begin = 0, end = 0;
  bool empty() const { return begin >= end; }
};

struct Size {
  int height = 0, width = 0;
};

// A map within a segment.
struct SegmentMap {
  int value = 0;
  bool made = false;   // written here
  bool ring = false;   // read here too: only its latest rows are kept, for each task
  bool whole = false;  // read by later segments
  std::vector<std::size_t> writers, readers;  // operations of the segment
  int capacity = 0;                           // rows of the ring
  std::size_t offset = 0;                     // of the ring, floats in a task's memory
};

// The columns of one strip, in the units of every operation and every map of its segment.
struct ColumnStrip {
  Range base;
  std::vector<Range> operations, maps;
};

// Where the tiles of a Winograd convolution begin: at these rows and columns, and every tile on.
struct Phase {
  int rows = 0, columns = 0;
};

// Operations between two changes of resolution, which run together on strips and rows.
struct Segment {
  std::vector<const Operation*> operations;
  std::vector<Phase> phases;  // of every operation
  std::vector<SegmentMap> maps;
  std::vector<int> map_of;  // value -> index in maps; -1: not here
  Size base;                // the smallest of what it hands on: the units of strips and rows
  int base_phase = 0;       // of its rows: tasks begin there, and every few rows on
  std::vector<ColumnStrip> columns;
  std::vector<std::vector<Range>> steps;  // of every step: the base rows of each task
  std::size_t memory = 0;                 // floats of rings of a task
  std::size_t offset = 0;                 // of its rings, where every strip keeps its own

  std::size_t index(int value) const {
    return static_cast<std::size_t>(map_of[static_cast<std::size_t>(value)]);
  }
};

// Pixels of a map in memory; a guard of zeros lies on either side of every row.
struct Layout {
  int left = 0, right = 0;  // columns of the guards
  int pixel = 0;            // floats
  int capacity = 0;         // rows that are kept where the picture comes in steps; 0: all
  std::size_t offset = 0;   // in the arena; maps that are never whole have none
};

// What is done of the picture after a step: every segment runs as far as the finished rows need.
struct Step {
  int loaded = 0;    // rows of the degraded picture that have to be there
  int finished = 0;  // rows of the pictures that it makes
};

class Schedule {
 public:
  // A picture goes through in steps of that many rows, and only the latest rows of whole maps are
  // kept; 0: in one step. Between steps every strip keeps its rings and goes on where it was.
  // Throws std::invalid_argument where the program does not take this size, std::bad_alloc where
  // the maps would be too large.
  Schedule(const Program& program, Size size, int threads, int step_rows = 0);

  int height_of(int value) const { return sizes[static_cast<std::size_t>(value)].height; }

  bool in_steps() const { return steps.size() > 1; }

  const Program& program;
  const Size size;
  std::vector<Size> sizes;      // of every value
  std::vector<Layout> layouts;  // of every value
  std::vector<int> ahead;       // of every value: rows beyond those of a finished picture
  std::vector<Segment> segments;
  std::vector<Step> steps;
  int degraded_rows = 0;        // of the degraded picture that are kept between steps
  std::size_t arena = 0;        // floats of whole maps
  std::size_t rings = 0;        // floats of the rings of all strips, where they are kept
  std::size_t scratch = 0;      // floats of rings of a thread, where they are not
  std::size_t longest_row = 0;  // floats

  static constexpr int kStepRows = 4;  // base rows that a strip moves on at a time

 private:
  void infer_sizes();
  void infer_layouts();
  void infer_ahead();
  std::vector<int> assign_segments() const;
  void build_segments(const std::vector<int>& segment_of);
  void choose_phases(Segment& segment) const;
  void divide(Segment& segment, int threads);
  double work(const Segment& segment) const;
  void cut_columns(Segment& segment, int strips);
  void measure_rings(Segment& segment);
  void measure_task(Segment& segment, Range rows);
  void plan_steps(int step_rows, int threads);
  bool plan_ranges(int step_rows, std::vector<std::vector<Range>>& bases);
  void keep_rows(const std::vector<std::vector<Range>>& bases);
  void place_whole_maps();
  std::size_t row_floats(int value, int columns) const;
};

// The rows (or columns, in units of `unit`) of every operation and map of a segment that a part of
// its base needs.
void propagate(const Schedule& schedule, const Segment& segment, Range base, bool rows,
               std::vector<Range>& operations, std::vector<Range>& maps);

// Runs through a task of a segment: calls run(operation, rows, done) for every few rows of every
// operation, as soon as their inputs are there. `done` is how far each operation is at that moment.
// No operation runs ahead of those that read it, so that few rows of each map are alive at once.
// `done` is empty for a task that begins, and what the task above it left for one that goes on.
using RunRows = std::function<void(std::size_t, Range, const std::vector<int>&)>;
void walk(const Schedule& schedule, const Segment& segment, Range rows, std::vector<int>& done,
          const RunRows& run);

// The beginning of the tile that a row or column lies in; tiles begin at `phase`, and every `unit`.
int tile_begin(int at, int phase, int unit);

// How far the base has to go for so many rows of a map of that length; the inverse of `scaled`.
int base_end(int rows, int length, int base_length);

// The smallest range that holds both.
Range joined(Range a, Range b);

// The part of a map of that length that a part of the base stands for.
Range scaled(Range base, int base_length, int length);

// The inputs that some outputs need of one source, along rows or columns.
Range needed(const Operation& operation, std::size_t source, Range outputs, int input_length);

}  // namespace cmudrn
