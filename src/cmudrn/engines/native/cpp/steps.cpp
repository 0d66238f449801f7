// In which steps a picture goes through all segments, and which rows have to be kept between them.
#include <algorithm>
#include <cstdint>
#include <limits>

#include "schedule.h"

namespace cmudrn {
namespace {

constexpr int kTasksPerThread = 3;  // at most
constexpr int kLeastRows = 16;      // of a task
constexpr int kTwice = 16;          // rows that a task computes beside its own, about
constexpr int kUnit = 4;            // tasks begin at every so many rows

// The rows of a step as tasks, so that all threads end together and little is computed twice.
std::vector<Range> divided(Range rows, int phase, std::size_t strips, int threads) {
  const int length = rows.end - rows.begin, columns = static_cast<int>(strips);
  // How long it takes: as many tasks one after another as the thread with the most of them has.
  const auto cost = [&](int tasks) {
    const int turns = (columns * tasks + threads - 1) / threads;
    return turns * (static_cast<double>(length) / tasks + kTwice);
  };
  int tasks = 1;
  const int most = std::min(kTasksPerThread * std::min(threads, length), length / kLeastRows);
  for (int more = 2; more <= most; ++more)
    if (cost(more) < cost(tasks)) tasks = more;
  std::vector<Range> made;
  for (int i = 0; i < tasks; ++i) {
    const auto edge = [&](int n) {
      const auto even = static_cast<long>(length) * n / tasks;
      if (n == 0 || n == tasks) return n == 0 ? rows.begin : rows.end;
      return std::max(rows.begin, tile_begin(rows.begin + static_cast<int>(even), phase, kUnit));
    };
    if (edge(i) < edge(i + 1)) made.push_back({edge(i), edge(i + 1)});
  }
  return made;
}

// The first row of the degraded picture that a range of an operation reads, and the end of them.
Range degraded_rows_of(const Operation& operation, Range range) {
  const bool reads =
      operation.kind == Kind::input || (operation.kind == Kind::output && operation.add_degraded);
  if (!reads || range.empty()) return {};
  return {range.begin * operation.factor, range.end * operation.factor};
}

std::size_t at(int value) { return static_cast<std::size_t>(value); }

// The rows of every operation that a segment runs where its base goes on over some rows.
std::vector<Range> fresh_rows(const Schedule& schedule, const Segment& segment, Range base) {
  std::vector<Range> fresh, before, maps;
  if (base.empty()) return fresh;
  propagate(schedule, segment, {0, base.end}, true, fresh, maps);
  if (base.begin == 0) return fresh;
  propagate(schedule, segment, {0, base.begin}, true, before, maps);
  for (std::size_t i = 0; i < fresh.size(); ++i)
    if (!before[i].empty()) fresh[i].begin = before[i].end;
  return fresh;
}

}  // namespace

// How far every map has to be made for a picture that is finished to a row far from its edges.
void Schedule::infer_ahead() {
  constexpr int kFinished = 1 << 14;  // a multiple of what all scales divide by
  const auto finished = [&](int value) {
    return static_cast<int>(std::int64_t{kFinished} * height_of(value) / size.height);
  };
  ahead.assign(sizes.size(), 0);
  for (std::size_t i = program.operations.size(); i-- > 0;) {
    const Operation& operation = program.operations[i];
    const bool leaves = operation.kind == Kind::output;
    const int made = leaves ? finished(operation.sources[0].value)
                            : finished(operation.value) + ahead[at(operation.value)];
    for (std::size_t s = 0; s < operation.sources.size(); ++s) {
      const int value = operation.sources[s].value;
      const int end = needed(operation, s, {0, made}, std::numeric_limits<int>::max()).end;
      ahead[at(value)] = std::max(ahead[at(value)], end - finished(value));
    }
  }
}

void Schedule::plan_steps(int step_rows, int threads) {
  std::vector<std::vector<Range>> bases;  // of every step and segment
  const bool whole = step_rows < 1 || step_rows >= size.height || !plan_ranges(step_rows, bases);
  if (whole) {
    bases.assign(1, {});
    for (const Segment& segment : segments) bases[0].push_back({0, segment.base.height});
    steps = {{size.height, size.height}};
  }
  for (std::size_t s = 0; s < segments.size(); ++s) {
    Segment& segment = segments[s];
    segment.steps.assign(bases.size(), {});
    for (std::size_t k = 0; k < bases.size() && !segment.operations.empty(); ++k) {
      if (bases[k][s].empty()) continue;
      if (whole)
        segment.steps[k] =
            divided(bases[k][s], segment.base_phase, segment.columns.size(), threads);
      else
        segment.steps[k] = {bases[k][s]};
    }
  }
  degraded_rows = size.height;
  if (!whole) keep_rows(bases);
}

// Runs back from the finished rows of every step to what each segment has to have made. Returns
// false where the pictures do not end at the same row, so that the network has to run in one step.
bool Schedule::plan_ranges(int step_rows, std::vector<std::vector<Range>>& bases) {
  std::vector<std::size_t> maker(program.channels.size(), segments.size());
  for (std::size_t s = 0; s < segments.size(); ++s)
    for (const SegmentMap& map : segments[s].maps)
      if (map.made) maker[at(map.value)] = s;
  std::vector<int> done(segments.size(), 0);
  std::vector<Range> operations, maps;
  for (int finished = 0, loaded = 0; finished < size.height;) {
    finished = std::min(size.height, finished + step_rows);
    const bool last = finished == size.height;
    std::vector<int> wanted(segments.size(), 0);
    std::vector<Range> step(segments.size());
    for (std::size_t s = segments.size(); s-- > 0;) {
      const Segment& segment = segments[s];
      const int height = segment.base.height;
      if (segment.operations.empty()) continue;
      for (const Operation* operation : segment.operations)
        if (operation->kind == Kind::output)
          wanted[s] = std::max(wanted[s], base_end(finished / operation->factor,
                                                   size.height / operation->factor, height));
      step[s] = {done[s], last ? height : std::min(height, wanted[s])};
      if (step[s].empty()) continue;
      done[s] = step[s].end;
      propagate(*this, segment, step[s], true, operations, maps);
      for (std::size_t i = 0; i < operations.size(); ++i) {
        const Operation& operation = *segment.operations[i];
        loaded = std::max(loaded, degraded_rows_of(operation, operations[i]).end);
        if (operation.kind == Kind::output && operations[i].end * operation.factor != finished)
          return false;
      }
      for (std::size_t m = 0; m < maps.size(); ++m) {
        const auto value = static_cast<std::size_t>(segment.maps[m].value);
        const std::size_t by = maker[value];
        if (by < s && !maps[m].empty())
          wanted[by] = std::max(
              wanted[by], base_end(maps[m].end, sizes[value].height, segments[by].base.height));
      }
    }
    steps.push_back({last ? size.height : std::max(loaded, finished), finished});
    bases.push_back(std::move(step));
  }
  return true;
}

// Notes how many rows of every whole map, and of the degraded picture, are between the newest one
// of a step and the oldest one that this step or a later one reads.
void Schedule::keep_rows(const std::vector<std::vector<Range>>& bases) {
  constexpr int kNone = 1 << 30;
  std::vector<int> oldest(sizes.size(), kNone), kept(sizes.size(), 0);  // of every value
  int oldest_degraded = kNone;
  degraded_rows = 0;
  for (std::size_t k = bases.size(); k-- > 0;) {
    std::vector<Range> written(sizes.size());
    for (std::size_t s = 0; s < segments.size(); ++s) {
      const Segment& segment = segments[s];
      const std::vector<Range> fresh = fresh_rows(*this, segment, bases[k][s]);
      for (std::size_t i = 0; i < fresh.size(); ++i) {
        if (fresh[i].empty()) continue;
        const Operation& operation = *segment.operations[i];
        const Range read = degraded_rows_of(operation, fresh[i]);
        if (!read.empty()) oldest_degraded = std::min(oldest_degraded, read.begin);
        for (std::size_t j = 0; j < operation.sources.size(); ++j) {
          const int value = operation.sources[j].value;
          if (segment.maps[segment.index(value)].made) continue;
          int& first = oldest[at(value)];
          first = std::min(first, needed(operation, j, fresh[i], height_of(value)).begin);
        }
        if (operation.value < 0) continue;
        Range& here = written[at(operation.value)];
        here = joined(here, fresh[i]);
      }
    }
    degraded_rows = std::max(degraded_rows, steps[k].loaded - oldest_degraded);
    for (std::size_t v = 0; v < sizes.size(); ++v)
      if (!written[v].empty())
        kept[v] = std::max(kept[v], written[v].end - std::min(oldest[v], written[v].begin));
  }
  for (std::size_t v = 0; v < sizes.size(); ++v)
    if (kept[v] < sizes[v].height) layouts[v].capacity = kept[v];
  degraded_rows = std::min(size.height, degraded_rows);
}

}  // namespace cmudrn
