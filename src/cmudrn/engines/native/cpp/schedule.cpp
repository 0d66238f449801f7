#include "schedule.h"

#include <algorithm>
#include <new>
#include <stdexcept>

namespace cmudrn {
namespace {

constexpr std::size_t kRingFloats = 192 * 1024;  // rings of a thread: 768 KiB, part of an L2 cache
constexpr int kMaxReach = 8;       // pixels that a segment's convolutions see, added up
constexpr int kLeastColumns = 32;  // narrower strips overlap too much
constexpr int kUnit = 4;           // strips begin at multiples of it
constexpr int kMaxSide = 1 << 20;
constexpr int kMaxScale = 64;  // a map is at most so much larger than the picture
constexpr std::size_t kMaxArena = std::size_t{1} << 31;  // floats
constexpr std::size_t kSlack = 64;                       // floats that vectors read beyond a map

Size output_size(const Operation& operation, std::size_t source, Size from) {
  if (operation.kind == Kind::convolution && source == 0) {
    const auto side = [&](int length) {
      return ((length + 2 * operation.pad - operation.kernel) / operation.stride + 1) *
             operation.up;
    };
    if (from.height + 2 * operation.pad < operation.kernel ||
        from.width + 2 * operation.pad < operation.kernel)
      throw std::invalid_argument("a map is smaller than a kernel");
    return {side(from.height), side(from.width)};
  }
  const Source& view = operation.sources[source];
  if (from.height % view.down != 0 || from.width % view.down != 0)
    throw std::invalid_argument("a map cannot be divided");
  if (from.height > kMaxSide / view.up || from.width > kMaxSide / view.up)
    throw std::invalid_argument("a map is too large");
  return {from.height / view.down * view.up, from.width / view.down * view.up};
}

bool same(Size a, Size b) { return a.height == b.height && a.width == b.width; }

bool changes_scale(const Operation& operation, const Source& source) {
  const bool filters = operation.kind == Kind::convolution && &source == operation.sources.data();
  return (filters && (operation.stride > 1 || operation.up > 1)) || source.up > 1 ||
         source.down > 1;
}

// What it costs that rings do not fit the part of an L2 cache that they should: more where tile
// registers multiply, which wait for memory sooner. The numbers were chosen by a few tries on one
// processor.
double cache_penalty(std::size_t floats, const LayerKernels& kernels) {
  const double times = static_cast<double>(floats) / static_cast<double>(kRingFloats);
  const double each = kernels.convolve_rounded ? 0.03 : 0.01;
  return times <= 1 ? 0 : std::min(0.4, each * (times - 1));
}

}  // namespace

Schedule::Schedule(const Program& chosen, Size picture, int threads, int step_rows)
    : program(chosen), size(picture) {
  if (picture.height < 1 || picture.width < 1 || picture.height > kMaxSide ||
      picture.width > kMaxSide || threads < 1)
    throw std::invalid_argument("no such size");
  infer_sizes();
  infer_layouts();
  build_segments(assign_segments());
  infer_ahead();
  const bool steps_wanted = step_rows > 0 && step_rows < size.height;
  for (Segment& segment : segments) divide(segment, steps_wanted ? threads : 1);
  plan_steps(step_rows, threads);
  for (Segment& segment : segments) {
    if (segment.operations.empty()) continue;
    measure_rings(segment);
    if (!in_steps()) {
      scratch = std::max(scratch, segment.memory);
      continue;
    }
    segment.memory = (segment.memory + kSlack) / 16 * 16;  // every strip's rings begin at a vector
    segment.offset = rings;
    rings += segment.memory * segment.columns.size();
    if (rings > kMaxArena) throw std::bad_alloc();
  }
  place_whole_maps();
}

void Schedule::infer_sizes() {
  sizes.resize(program.channels.size());
  for (const Operation& operation : program.operations) {
    Size made{};
    if (operation.kind == Kind::input) {
      if (size.height % operation.factor != 0 || size.width % operation.factor != 0)
        throw std::invalid_argument("the picture cannot be divided");
      made = {size.height / operation.factor, size.width / operation.factor};
    } else if (operation.kind == Kind::output) {
      const Size from = sizes[static_cast<std::size_t>(operation.sources[0].value)];
      if (size.height % operation.factor != 0 || size.width % operation.factor != 0 ||
          !same(from, {size.height / operation.factor, size.width / operation.factor}))
        throw std::invalid_argument("a picture comes out in another size");
      continue;
    }
    for (std::size_t s = 0; s < operation.sources.size(); ++s) {
      const Size from = sizes[static_cast<std::size_t>(operation.sources[s].value)];
      const Size here = output_size(operation, s, from);
      if (s > 0 && !same(here, made)) throw std::invalid_argument("maps differ in size");
      made = here;
    }
    Size& known = sizes[static_cast<std::size_t>(operation.value)];
    if (known.height != 0 && !same(known, made)) throw std::invalid_argument("maps differ in size");
    if (made.height > kMaxSide || made.width > kMaxSide || made.height / kMaxScale > size.height ||
        made.width / kMaxScale > size.width)
      throw std::invalid_argument("a map is too large");
    known = made;
  }
}

void Schedule::infer_layouts() {
  layouts.resize(program.channels.size());
  for (std::size_t v = 0; v < layouts.size(); ++v) {
    const int channels = program.channels[v];
    layouts[v].pixel = round_up(channels, channels <= 12 ? 4 : 8);
    layouts[v].left = layouts[v].right = kTileColumns;
  }
  for (const Operation& operation : program.operations) {
    if (operation.kind != Kind::convolution) continue;
    Layout& layout = layouts[static_cast<std::size_t>(operation.sources[0].value)];
    layout.left = std::max(layout.left, round_up(operation.pad, kTileColumns));
    layout.right = std::max(layout.right, round_up(operation.pad, kTileColumns));
  }
  for (Layout& layout : layouts) layout.right += kTileColumns;  // what a last tile writes beyond
}

// A segment for every change of scale on the longest way to an operation, and a new one where the
// strips would overlap too far. Convolutions that are only enlarged go to the segment that enlarges
// them: their inputs take less memory. What writes the same map runs in the same segment.
std::vector<int> Schedule::assign_segments() const {
  std::vector<int> segment_of(program.operations.size()), of_value(program.channels.size(), 0);
  std::vector<int> reach_of(program.channels.size(), 0);
  for (std::size_t i = 0; i < segment_of.size(); ++i) {
    const Operation& operation = program.operations[i];
    int reach = 0;
    for (std::size_t s = 0; s < operation.sources.size(); ++s) {
      const auto value = static_cast<std::size_t>(operation.sources[s].value);
      const int own = operation.kind == Kind::convolution && s == 0 ? operation.pad : 0;
      const bool leaves = changes_scale(operation, operation.sources[s]) ||
                          (own > 0 && reach_of[value] + own > kMaxReach);
      const int segment = of_value[value] + leaves;
      if (segment > segment_of[i]) reach = 0;
      if (segment >= segment_of[i]) reach = std::max(reach, leaves ? own : reach_of[value] + own);
      segment_of[i] = std::max(segment_of[i], segment);
    }
    if (operation.value < 0) continue;
    const auto made = static_cast<std::size_t>(operation.value);
    reach_of[made] = of_value[made] == segment_of[i] ? std::max(reach_of[made], reach) : reach;
    of_value[made] = std::max(of_value[made], segment_of[i]);
  }
  constexpr int kNever = 1 << 30;
  std::vector<int> enlarged(program.channels.size(), kNever);  // by which segment; -1: not only
  for (std::size_t i = 0; i < segment_of.size(); ++i)
    for (const Source& source : program.operations[i].sources) {
      int& by = enlarged[static_cast<std::size_t>(source.value)];
      by = source.up > 1 ? std::min(by, segment_of[i]) : -1;
    }
  for (std::size_t i = 0; i < segment_of.size(); ++i) {
    const Operation& operation = program.operations[i];
    if (operation.kind != Kind::convolution) continue;
    const int by = enlarged[static_cast<std::size_t>(operation.value)];
    if (by >= 0 && by != kNever) segment_of[i] = std::max(segment_of[i], by);
    if (operation.value < 0) continue;
    int& made = of_value[static_cast<std::size_t>(operation.value)];
    made = std::max(made, segment_of[i]);
  }
  for (std::size_t i = 0; i < segment_of.size(); ++i)
    if (const int value = program.operations[i].value; value >= 0)
      segment_of[i] = of_value[static_cast<std::size_t>(value)];
  return segment_of;
}

void Schedule::build_segments(const std::vector<int>& segment_of) {
  const int count = *std::max_element(segment_of.begin(), segment_of.end()) + 1;
  for (int s = 0; s < count; ++s) {
    Segment segment;
    segment.map_of.assign(program.channels.size(), -1);
    const auto map = [&](int value) -> SegmentMap& {
      int& index = segment.map_of[static_cast<std::size_t>(value)];
      if (index < 0) {
        index = static_cast<int>(segment.maps.size());
        segment.maps.emplace_back().value = value;
      }
      return segment.maps[static_cast<std::size_t>(index)];
    };
    for (std::size_t i = 0; i < segment_of.size(); ++i) {
      if (segment_of[i] != s) continue;
      const Operation& operation = program.operations[i];
      for (const Source& source : operation.sources) {
        map(source.value).ring = true;
        map(source.value).readers.push_back(segment.operations.size());
      }
      if (operation.value >= 0) {
        map(operation.value).made = true;
        map(operation.value).writers.push_back(segment.operations.size());
      }
      segment.operations.push_back(&operation);
    }
    for (std::size_t i = 0; i < segment_of.size(); ++i)
      for (const Source& source : program.operations[i].sources)
        if (const int index = segment.map_of[static_cast<std::size_t>(source.value)];
            index >= 0 && segment_of[i] > s)
          segment.maps[static_cast<std::size_t>(index)].whole = true;
    for (SegmentMap& here : segment.maps) here.ring = here.ring && here.made;
    if (!segment.operations.empty()) segments.push_back(std::move(segment));
  }
}

std::size_t Schedule::row_floats(int value, int columns) const {
  const Layout& layout = layouts[static_cast<std::size_t>(value)];
  return (static_cast<std::size_t>(columns) + static_cast<std::size_t>(layout.left) +
          static_cast<std::size_t>(layout.right)) *
         static_cast<std::size_t>(layout.pixel);
}

// Has the tiles of every convolution begin at the column where a strip first needs its results, and
// end at the row up to which a step needs them, so that next to nothing is computed beside them.
// That is the same for all strips, which begin at multiples of kUnit, and for all steps.
void Schedule::choose_phases(Segment& segment) const {
  std::vector<int> reach(segment.maps.size(), 0);  // what is needed before a strip's beginning
  segment.phases.assign(segment.operations.size(), {});
  for (std::size_t i = segment.operations.size(); i-- > 0;) {
    const Operation& operation = *segment.operations[i];
    const int own = operation.value < 0 ? 0 : reach[segment.index(operation.value)];
    segment.phases[i] = {operation.value < 0 ? 0 : ahead[static_cast<std::size_t>(operation.value)],
                         -own};
    for (std::size_t s = 0; s < operation.sources.size(); ++s) {
      const Source& source = operation.sources[s];
      const bool filters = operation.kind == Kind::convolution && s == 0;
      const int here =
          filters ? (own + operation.up - 1) / operation.up * operation.stride + operation.pad
                  : (own + source.up - 1) / source.up * source.down;
      int& needed_here = reach[segment.index(source.value)];
      needed_here = std::max(needed_here, here);
    }
  }
}

// Chooses strips whose rings fit the cache. Where every strip is one task, they are shared out
// among `threads`.
void Schedule::divide(Segment& segment, int threads) {
  segment.base = {kMaxSide + 1, kMaxSide + 1};
  const auto hands_on = [&](int value) {
    const Size made = sizes[static_cast<std::size_t>(value)];
    segment.base.height = std::min(segment.base.height, made.height);
    segment.base.width = std::min(segment.base.width, made.width);
    if (made.height == segment.base.height)
      segment.base_phase = ahead[static_cast<std::size_t>(value)];
  };
  for (const SegmentMap& map : segment.maps)
    if (map.whole && map.made) hands_on(map.value);
  for (const Operation* operation : segment.operations)
    if (operation->kind == Kind::output) hands_on(operation->sources[0].value);
  if (segment.base.height > kMaxSide) {  // nothing reads what it makes
    segment.operations.clear();
    segment.maps.clear();
    return;
  }
  choose_phases(segment);
  segment.steps = {{{0, segment.base.height}}};
  const int most = std::max(1, segment.base.width / kLeastColumns);
  double least = 0;
  int best = 1;
  for (int strips = 1; strips <= most; strips += std::max(1, strips / 4)) {
    cut_columns(segment, strips);
    measure_rings(segment);
    const int turns = (strips + threads - 1) / threads;
    const double cost = work(segment) * (1 + cache_penalty(segment.memory, program.kernels)) *
                        turns * threads / strips;
    if (strips == 1 || cost < least) {
      least = cost;
      best = strips;
    }
    if (segment.memory <= kRingFloats && strips >= threads) break;
  }
  cut_columns(segment, best);
}

// Multiply-adds of one row of every convolution, with what strips compute twice.
double Schedule::work(const Segment& segment) const {
  double total = 0;
  for (std::size_t i = 0; i < segment.operations.size(); ++i) {
    const Operation& operation = *segment.operations[i];
    const double each = operation.kind != Kind::convolution
                            ? operation.outputs
                            : static_cast<double>(operation.group_inputs()) * operation.outputs *
                                  operation.kernel * operation.kernel;  // pixel shuffle or not
    for (const ColumnStrip& strip : segment.columns)
      total += each * (strip.operations[i].end - strip.operations[i].begin);
  }
  return total;
}

void Schedule::cut_columns(Segment& segment, int strips) {
  segment.columns.clear();
  const auto edge = [&](int n) {
    const auto even = static_cast<long>(segment.base.width) * n / strips;
    return n == strips ? segment.base.width : static_cast<int>(even / kUnit * kUnit);
  };
  for (int i = 0; i < strips; ++i) {
    if (edge(i) >= edge(i + 1)) continue;
    ColumnStrip strip;
    strip.base = {edge(i), edge(i + 1)};
    propagate(*this, segment, strip.base, false, strip.operations, strip.maps);
    for (std::size_t k = 0; k < segment.operations.size(); ++k)
      if (const int value = segment.operations[k]->value; value >= 0) {
        Range& map =
            strip.maps[static_cast<std::size_t>(segment.map_of[static_cast<std::size_t>(value)])];
        map = joined(map, strip.operations[k]);
      }
    segment.columns.push_back(std::move(strip));
  }
}

// Notes how many rows of each map are alive at once: from the oldest one that is still to be read
// to the newest one that is written.
void Schedule::measure_task(Segment& segment, Range rows) {
  std::vector<int> begin;
  walk(*this, segment, rows, begin, [&](std::size_t i, Range fresh, const std::vector<int>& done) {
    const int value = segment.operations[i]->value;
    if (value < 0) return;
    SegmentMap& map = segment.maps[segment.index(value)];
    int oldest = fresh.begin;
    for (const std::size_t j : map.writers) oldest = std::min(oldest, done[j]);
    for (const std::size_t j : map.readers) {
      const Operation& reader = *segment.operations[j];
      for (std::size_t s = 0; s < reader.sources.size(); ++s)
        if (reader.sources[s].value == value && done[j] >= 0)
          oldest =
              std::min(oldest, needed(reader, s, {done[j], done[j] + 1}, height_of(value)).begin);
    }
    map.capacity = std::max(map.capacity, fresh.end - oldest);
  });
}

void Schedule::measure_rings(Segment& segment) {
  for (SegmentMap& map : segment.maps) map.capacity = 1;
  if (in_steps())
    measure_task(segment, {0, segment.base.height});
  else
    for (const Range rows : segment.steps[0]) measure_task(segment, rows);
  segment.memory = 0;
  for (std::size_t m = 0; m < segment.maps.size(); ++m) {
    SegmentMap& map = segment.maps[m];
    int widest = 0;
    for (const ColumnStrip& strip : segment.columns)
      widest = std::max(widest, strip.maps[m].end - strip.maps[m].begin);
    const std::size_t row = row_floats(map.value, widest);
    longest_row = std::max(longest_row, row);
    map.offset = segment.memory;
    if (map.ring) segment.memory += static_cast<std::size_t>(map.capacity) * row + kSlack;
  }
}

// Gives every whole map a place in the arena that no other map needs at the same time.
void Schedule::place_whole_maps() {
  struct Placed {
    std::size_t begin, end, first, last;
  };
  std::vector<Placed> placed;
  for (std::size_t s = 0; s < segments.size(); ++s)
    for (const SegmentMap& map : segments[s].maps) {
      if (!map.whole || !map.made) continue;
      const auto value = static_cast<std::size_t>(map.value);
      const std::size_t row = row_floats(map.value, sizes[value].width);
      longest_row = std::max(longest_row, row);
      const int rows = layouts[value].capacity > 0 ? layouts[value].capacity : sizes[value].height;
      const std::size_t floats = row * static_cast<std::size_t>(rows) + kSlack;
      if (floats > kMaxArena) throw std::bad_alloc();
      const std::size_t first = in_steps() ? 0 : s;
      std::size_t last = s;
      for (std::size_t later = s; later < segments.size(); ++later)
        if (segments[later].map_of[value] >= 0 || in_steps()) last = later;
      std::size_t at = 0;
      for (bool moved = true; moved;) {
        moved = false;
        for (const Placed& other : placed)
          if (other.first <= last && first <= other.last && other.begin < at + floats &&
              at < other.end) {
            at = other.end;
            moved = true;
          }
      }
      layouts[value].offset = at;
      placed.push_back({at, at + floats, first, last});
      arena = std::max(arena, at + floats);
      if (arena > kMaxArena) throw std::bad_alloc();
    }
}

}  // namespace cmudrn
