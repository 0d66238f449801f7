// Which rows and columns of every map a part of a segment's results needs.
#include <algorithm>

#include "schedule.h"

namespace cmudrn {
namespace {

Range aligned(const Operation& operation, Range range, int length, int phase, int unit) {
  if (!operation.winograd || range.empty()) return range;
  return {std::max(0, tile_begin(range.begin, phase, unit)),
          std::min(tile_begin(range.end + unit - 1, phase, unit), length)};
}

int ratio_of(int length, int base_length) {
  return std::max(1, (length + base_length / 2) / base_length);
}

}  // namespace

int tile_begin(int at, int phase, int unit) {
  const int beyond = (at - phase) % unit;
  return at - (beyond < 0 ? beyond + unit : beyond);
}

int base_end(int rows, int length, int base_length) {
  const int ratio = ratio_of(length, base_length);
  return rows >= length ? base_length : std::min(base_length, (rows + ratio - 1) / ratio);
}

Range joined(Range a, Range b) {
  if (a.empty()) return b;
  if (b.empty()) return a;
  return {std::min(a.begin, b.begin), std::max(a.end, b.end)};
}

Range scaled(Range base, int base_length, int length) {
  const int ratio = ratio_of(length, base_length);
  const auto end = base.end == base_length
                       ? length
                       : std::min<long>(length, static_cast<long>(base.end) * ratio);
  return {static_cast<int>(std::min<long>(length, static_cast<long>(base.begin) * ratio)),
          static_cast<int>(end)};
}

Range needed(const Operation& operation, std::size_t source, Range outputs, int input_length) {
  Range range = outputs;
  if (operation.kind == Kind::convolution && source == 0) {
    range.begin = outputs.begin / operation.up * operation.stride - operation.pad;
    range.end =
        (outputs.end - 1) / operation.up * operation.stride - operation.pad + operation.kernel;
  } else if (operation.kind == Kind::combination || operation.kind == Kind::product) {
    const Source& view = operation.sources[source];
    range.begin = outputs.begin / view.up * view.down;
    range.end = ((outputs.end - 1) / view.up + 1) * view.down;
  }
  return {std::clamp(range.begin, 0, input_length), std::clamp(range.end, 0, input_length)};
}

void propagate(const Schedule& schedule, const Segment& segment, Range base, bool rows,
               std::vector<Range>& operations, std::vector<Range>& maps) {
  const auto length = [&](int value) {
    const Size size = schedule.sizes[static_cast<std::size_t>(value)];
    return rows ? size.height : size.width;
  };
  const int base_length = rows ? segment.base.height : segment.base.width;
  operations.assign(segment.operations.size(), {});
  maps.assign(segment.maps.size(), {});
  for (std::size_t m = 0; m < maps.size(); ++m)
    if (segment.maps[m].whole && segment.maps[m].made)
      maps[m] = scaled(base, base_length, length(segment.maps[m].value));
  for (std::size_t i = operations.size(); i-- > 0;) {
    const Operation& operation = *segment.operations[i];
    const auto map_of = [&](int value) {
      return static_cast<std::size_t>(segment.map_of[static_cast<std::size_t>(value)]);
    };
    Range& range = operations[i];
    if (operation.kind == Kind::output)
      range = scaled(base, base_length, length(operation.sources[0].value));
    else
      range = aligned(operation, maps[map_of(operation.value)], length(operation.value),
                      rows ? segment.phases[i].rows : segment.phases[i].columns,
                      rows ? operation.tile_rows : kTileColumns);
    if (range.empty()) continue;
    for (std::size_t s = 0; s < operation.sources.size(); ++s) {
      const std::size_t m = map_of(operation.sources[s].value);
      maps[m] = joined(maps[m], needed(operation, s, range, length(operation.sources[s].value)));
    }
  }
}

void walk(const Schedule& schedule, const Segment& segment, Range rows, std::vector<int>& done,
          const RunRows& run) {
  const std::size_t count = segment.operations.size();
  done.resize(count, -1);
  std::vector<Range> wanted, maps;
  // Whether what writes this segment's maps is as far as an operation needs it.
  const auto ready = [&](std::size_t i, Range outputs) {
    const Operation& operation = *segment.operations[i];
    for (std::size_t s = 0; s < operation.sources.size(); ++s) {
      const int value = operation.sources[s].value;
      const Range read = needed(operation, s, outputs, schedule.height_of(value));
      for (const std::size_t j : segment.maps[segment.index(value)].writers)
        if (done[j] < read.end) return false;
    }
    return true;
  };
  for (int at = rows.begin; at < rows.end; at += Schedule::kStepRows) {
    const Range part = {rows.begin, std::min(rows.end, at + Schedule::kStepRows)};
    propagate(schedule, segment, part, true, wanted, maps);
    for (std::size_t i = 0; i < count; ++i)
      if (done[i] < 0 && !wanted[i].empty()) done[i] = wanted[i].begin;
    for (bool behind = true; behind;) {
      behind = false;
      for (std::size_t i = 0; i < count; ++i) {
        if (wanted[i].empty()) continue;
        const Operation& operation = *segment.operations[i];
        const int value = operation.value < 0 ? operation.sources[0].value : operation.value;
        const int height = schedule.height_of(value);
        const int few = std::max(operation.tile_rows,
                                 Schedule::kStepRows * height / std::max(1, segment.base.height));
        const int whole = tile_begin(done[i] + few, segment.phases[i].rows, operation.tile_rows);
        const Range fresh = {done[i], std::min(wanted[i].end, whole)};
        if (!fresh.empty() && ready(i, fresh)) {
          run(i, fresh, done);
          done[i] = fresh.end;
        }
        behind = behind || done[i] < wanted[i].end;
      }
    }
  }
}

}  // namespace cmudrn
