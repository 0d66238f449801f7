#include "task.h"

#include <algorithm>
#include <cstring>

namespace cmudrn {
namespace {

constexpr std::size_t kSlack = 64;  // floats that vectors read beyond a row

std::size_t row_room(const Schedule& schedule) { return schedule.longest_row + kSlack; }

// Floats of a transformed block of any convolution, or of its sums.
std::size_t block_room(const Schedule& schedule) {
  long most = 0;
  for (const Operation& operation : schedule.program.operations) {
    const int pitch = std::max(round_up(operation.group_inputs(), 16), operation.padded_outputs);
    if (!operation.winograd) continue;
    most = std::max(most, operation.exact ? kSquareFrequencies * square_step(kLongestBlock, pitch)
                                          : kFrequencies / 2 * block_step(kLongestBlock, pitch));
  }
  return static_cast<std::size_t>(most) + kSlack;
}

// Of a channel at pixel 0 of row y, after pixel shuffle.
Place place_of(const Operation& operation, int y, int channel) {
  const int f = operation.factor, c = channel;
  const int colour = operation.depth_last ? c / (f * f) : c % 3;
  const int dy = operation.depth_last ? c / f % f : c / 3 / f;
  const int dx = operation.depth_last ? c % f : c / 3 % f;
  return {colour, y * f + dy, dx};
}

// Calls run(i) for i from 0 to `count`, in a loop that the compiler knows for the usual ones.
template <class Do>
inline void each_of(int count, const Do& run) {
  if (count == 2) return run(0), run(1);
  for (int i = 0; i < count; ++i) run(i);
}

}  // namespace

std::size_t Task::scratch_floats(const Schedule& schedule) {
  const std::size_t all = schedule.scratch + 2 * row_room(schedule) + 2 * block_room(schedule) +
                          rounded_floats(schedule);
  return all + 5 * 16;
}

Task::Task(const Schedule& schedule, const Segment& segment, const ColumnStrip& strip, float* arena,
           float* scratch, const Pictures& pictures, float* rings)
    : schedule_(schedule), segment_(segment), strip_(strip), pictures_(pictures) {
  const auto next = [&scratch](std::size_t floats) {
    float* here = scratch;
    scratch += (floats + 15) / 16 * 16;
    return here;
  };
  zeros_ = next(row_room(schedule));
  unused_ = next(row_room(schedule));
  block_ = next(block_room(schedule));
  sums_ = next(block_room(schedule));
  rounded_ = next(rounded_floats(schedule));
  std::memset(zeros_, 0, row_room(schedule) * sizeof(float));
  for (std::size_t m = 0; m < segment.maps.size(); ++m) {
    const SegmentMap& map = segment.maps[m];
    const Layout& layout = schedule.layouts[static_cast<std::size_t>(map.value)];
    const long pixel = layout.pixel, guards = layout.left + layout.right;
    MapView whole;
    if (map.whole || !map.made)
      whole = {arena + layout.offset, (size_of(map.value).width + guards) * pixel, pixel,
               layout.capacity, -layout.left};
    MapView view = whole;
    if (map.ring) {
      const Range columns = strip.maps[m];
      view = {(rings ? rings : scratch) + map.offset,
              (columns.end - columns.begin + guards) * pixel, pixel, map.capacity,
              columns.begin - layout.left};
    }
    whole_.push_back(whole);
    read_.push_back(view);
  }
}

void Task::run(Range rows) {
  std::vector<int> done;
  go_on(rows, done);
}

void Task::go_on(Range rows, std::vector<int>& done) {
  rows_ = rows;
  clear_guards(rows);
  walk(schedule_, segment_, rows, done, [&](std::size_t i, Range fresh, const std::vector<int>&) {
    if (!strip_.operations[i].empty()) run_operation(i, fresh, strip_.operations[i]);
  });
}

// Zeros on either side of every row that this task will write: convolutions read them where the
// picture ends.
void Task::clear_guards(Range rows) {
  for (std::size_t m = 0; m < segment_.maps.size(); ++m) {
    const SegmentMap& map = segment_.maps[m];
    if (!map.made) continue;
    const Size size = size_of(map.value);
    const auto clear = [&](const MapView& view, int y, int from, int to) {
      std::memset(view.at(y, from), 0,
                  static_cast<std::size_t>((to - from) * view.pixel) * sizeof(float));
    };
    const Layout& layout = schedule_.layouts[static_cast<std::size_t>(map.value)];
    if (map.ring)
      for (int y = 0; y < read_[m].capacity; ++y) {
        clear(read_[m], y, strip_.maps[m].begin - layout.left, strip_.maps[m].begin);
        clear(read_[m], y, strip_.maps[m].end, strip_.maps[m].end + layout.right);
      }
    if (!map.whole) continue;
    const Range part = scaled(rows, segment_.base.height, size.height);
    for (int y = part.begin; y < part.end; ++y) {
      if (strip_.base.begin == 0) clear(whole_[m], y, -layout.left, 0);
      if (strip_.base.end == segment_.base.width)
        clear(whole_[m], y, size.width, size.width + layout.right);
    }
  }
}

void Task::run_operation(std::size_t index, Range rows, Range columns) {
  const Operation& operation = *segment_.operations[index];
  switch (operation.kind) {
    case Kind::input:
      run_input(operation, rows, columns);
      break;
    case Kind::output:
      return run_output(operation, rows, columns);
    case Kind::combination:
    case Kind::product:
      run_combination(operation, rows, columns);
      break;
    case Kind::convolution:
      if (operation.winograd)
        run_winograd(operation, index, rows, columns);
      else if (operation.rounded)
        run_rounded(operation, rows, columns);
      else
        run_direct(operation, rows, columns);
  }
  const SegmentMap& map = segment_.maps[segment_.index(operation.value)];
  if (map.ring && map.whole) copy_whole(operation, rows);
}

// Copies what this task alone hands on from the ring to the whole map. A strip that goes on later
// hands on all that it makes: it makes it once.
void Task::copy_whole(const Operation& operation, Range rows) {
  const Size size = size_of(operation.value);
  const Range part = schedule_.in_steps() ? Range{0, size.height}
                                          : scaled(rows_, segment_.base.height, size.height);
  const Range columns = scaled(strip_.base, segment_.base.width, size.width);
  const MapView &from = reads(operation.value), &to = whole_[index(operation.value)];
  const auto floats = static_cast<std::size_t>(operation.outputs);
  const bool all =
      operation.outputs == schedule_.program.channels[static_cast<std::size_t>(operation.value)];
  for (int y = std::max(rows.begin, part.begin); y < std::min(rows.end, part.end); ++y) {
    if (all) {
      const auto count = static_cast<std::size_t>((columns.end - columns.begin) * to.pixel);
      std::memcpy(to.at(y, columns.begin), from.at(y, columns.begin), count * sizeof(float));
      continue;
    }
    for (int x = columns.begin; x < columns.end; ++x)
      std::memcpy(to.at(y, x) + operation.channel, from.at(y, x) + operation.channel,
                  floats * sizeof(float));
  }
}

// The row of a convolution's input from a column on, or zeros where the map has no such row.
const float* Task::input_row(const Operation& operation, int y, int x, int channel) const {
  const Source& source = operation.sources[0];
  const MapView& view = reads(source.value);
  if (y < 0 || y >= size_of(source.value).height) {
    return zeros_ + (static_cast<long>(x) - view.left) * view.pixel;
  }
  return view.at(y, x) + source.channel + channel;
}

Epilogue Task::epilogue(const Operation& operation, int part) const {
  Epilogue epilogue{};
  epilogue.activation = operation.activation;
  epilogue.add_first = operation.add_first;
  if (operation.slopes >= 0)
    epilogue.slopes = schedule_.program.packed.data() + operation.slopes +
                      static_cast<long>(part) * operation.padded_outputs;
  if (operation.has_residual())
    epilogue.residual_pixel = operation.up * reads(operation.sources[1].value).pixel;
  return epilogue;
}

const float* Task::residual_at(const Operation& operation, int y, int x, int group) const {
  if (!operation.has_residual()) return nullptr;
  const Source& residual = operation.sources[1];
  return reads(residual.value).at(y, x) + residual.channel + group * operation.group_outputs();
}

void Task::run_winograd(const Operation& operation, std::size_t index, Range rows, Range columns) {
  const LayerKernels& kernels = schedule_.program.kernels;
  const Phase phase = segment_.phases[index];
  const int first = tile_begin(columns.begin, phase.columns, kTileColumns);
  const int tiles = (columns.end - first + kTileColumns - 1) / kTileColumns;
  // Blocks of about the same length and of whole `unit`s, which are multiplied together; the last
  // one takes the tiles that are left over: a few tiles by themselves would need as many weights.
  const int vectors = together(operation.padded_outputs / kernels.lanes, kernels.vectors);
  const int unit = tiles_together(kernels.sums, vectors);
  const int units = std::max(1, tiles / unit), most = kWinogradTiles / unit;
  const MapView& out = reads(operation.value);
  const Size size = size_of(operation.value);
  // What tiles wrote beyond the picture becomes zeros again.
  const auto clear = [&](int row, int from, int to) {
    if (from < to)
      std::memset(out.at(row, from), 0,
                  static_cast<std::size_t>((to - from) * out.pixel) * sizeof(float));
  };
  for (int y = tile_begin(rows.begin, phase.rows, operation.tile_rows); y < rows.end;
       y += operation.tile_rows) {
    for (int tile = 0, left = units; left > 0;) {
      const int some = together(left, most);
      left -= some;
      const int end = left > 0 ? tile + some * unit : tiles;
      winograd_block(operation, y, first + tile * kTileColumns, end - tile);
      tile = end;
    }
    for (int row = std::max(0, y); row < std::min(y + operation.tile_rows, size.height); ++row) {
      clear(row, first, 0);
      clear(row, size.width, first + tiles * kTileColumns);
    }
  }
}

void Task::winograd_block(const Operation& operation, int y, int x, int tiles) {
  const Program& program = schedule_.program;
  const LayerKernels& kernels = operation.exact ? program.exact : program.kernels;
  const MapView& out = reads(operation.value);
  const int inputs = operation.group_inputs(), outputs = operation.group_outputs();
  const int height = size_of(operation.value).height;
  for (int group = 0; group < operation.groups; ++group) {
    WinogradInput input{};
    for (int row = 0; row < operation.tile_rows + 2; ++row)
      input.rows[row] = input_row(operation, y - 1 + row, x, group * inputs);
    input.pixel = reads(operation.sources[0].value).pixel;
    input.tiles = tiles;
    input.channels = inputs;
    input.pitch = round_up(inputs, program.kernels.lanes);
    kernels.transform(input, block_);
    const float* weights = program.packed.data() + operation.weights;
    const float* bias = program.packed.data() + operation.bias;
    const WinogradProduct product = {
        weights + static_cast<std::size_t>(group) * operation.group_floats,
        bias + static_cast<long>(group) * operation.padded_outputs,
        tiles,
        inputs,
        input.pitch,
        outputs};
    kernels.multiply(block_, product, sums_);
    Epilogue after = epilogue(operation, group);
    after.bias = product.bias;
    float* rows[kSquareRows];
    for (int row = 0; row < operation.tile_rows; ++row) {
      const bool here = y + row >= 0 && y + row < height;
      rows[row] = here ? out.at(y + row, x) + operation.channel + group * outputs : unused_;
      if (here) after.residual[row] = residual_at(operation, y + row, x, group);
    }
    kernels.finish(sums_, tiles, outputs, after, rows, out.pixel);
  }
  const Range here = {std::max(0, y), std::min(y + operation.tile_rows, height)};
  mix(operation, here, {x, x + tiles * kTileColumns});
}

// Mixes the groups of a convolution where that is part of it.
void Task::mix(const Operation& operation, Range rows, Range columns) const {
  if (operation.mix.empty()) return;
  const MapView& out = reads(operation.value);
  for (int y = rows.begin; y < rows.end; ++y)
    schedule_.program.exact.mix(out.at(y, columns.begin) + operation.channel, out.pixel,
                                columns.end - columns.begin, operation.groups,
                                operation.group_outputs(),
                                schedule_.program.packed.data() + operation.mix[0]);
}

// Every up-th pixel of a row of one group, from `dx` on.
Part Task::part_of(const Operation& operation, int y, Range columns, int group, int dx) const {
  const int up = operation.up, index = (group * up + y % up) * up + dx;
  const int x = columns.begin + (dx - columns.begin % up + up) % up;
  const float* packed = schedule_.program.packed.data();
  const MapView& out = reads(operation.value);
  Part part{};
  part.x = x / up;
  part.count = (columns.end - x + up - 1) / up;
  part.weights =
      packed + operation.weights + static_cast<std::size_t>(index) * operation.group_floats;
  part.bias = packed + operation.bias + static_cast<long>(index) * operation.padded_outputs;
  part.epilogue = epilogue(operation, index);
  part.epilogue.residual[0] = residual_at(operation, y, x, group);
  part.out = out.at(y, x) + operation.channel + group * operation.group_outputs();
  part.pixel = up * out.pixel;
  return part;
}

void Task::run_direct(const Operation& operation, Range rows, Range columns) {
  const int inputs = operation.group_inputs(), up = operation.up, stride = operation.stride;
  DirectInput input{};
  input.pixel = reads(operation.sources[0].value).pixel;
  input.kernel = operation.kernel;
  input.stride = stride;
  input.inputs = inputs;
  for (int y = rows.begin; y < rows.end; ++y) {
    for (int k = 0; k < operation.groups * up; ++k) {
      const Part part = part_of(operation, y, columns, k / up, k % up);
      for (int ky = 0; ky < operation.kernel; ++ky)
        input.rows[ky] = input_row(operation, y / up * stride - operation.pad + ky,
                                   part.x * stride - operation.pad, k / up * inputs);
      schedule_.program.exact.convolve(input, part.weights, part.bias, operation.group_outputs(),
                                       part.epilogue, part.count, part.out, part.pixel);
    }
    mix(operation, {y, y + 1}, columns);
  }
}

void Task::run_combination(const Operation& operation, Range rows, Range columns) {
  const auto packed = [&](long index) {
    return index < 0 ? nullptr : schedule_.program.packed.data() + index;
  };
  const MapView& out = reads(operation.value);
  for (int y = rows.begin; y < rows.end; ++y) {
    CombineSource sources[kMaxSources];
    for (std::size_t j = 0; j < operation.sources.size(); ++j) {
      const Source& source = operation.sources[j];
      const MapView& view = reads(source.value);
      const int row = y / source.up * source.down + source.top;
      const long channel =
          source.channel + static_cast<long>(y % source.up) * source.up * source.phases;
      sources[j] = {view.at(row, source.left) + channel,
                    packed(source.weights),
                    view.pixel,
                    source.up,
                    source.phases,
                    source.down};
    }
    schedule_.program.exact.combine(sources, static_cast<int>(operation.sources.size()),
                                    operation.kind == Kind::product, packed(operation.bias),
                                    operation.activation, packed(operation.slopes), columns.begin,
                                    columns.end - columns.begin, operation.outputs,
                                    out.at(y, columns.begin) + operation.channel, out.pixel);
  }
}

const float* Task::degraded_at(const Place& place) const {
  return pictures_.degraded + place.colour * pictures_.plane + place.column +
         static_cast<long>(place.row % pictures_.degraded_rows) * schedule_.size.width;
}

// Pixel unshuffle of the degraded picture. Channels of one row of it lie together, `run` at a time.
void Task::run_input(const Operation& operation, Range rows, Range columns) {
  const int f = operation.factor, run = operation.depth_last ? f : 1;
  const MapView& out = reads(operation.value);
  for (int y = rows.begin; y < rows.end; ++y)
    for (int channel = 0; channel < 3 * f * f; channel += run) {
      const float* from = degraded_at(place_of(operation, y, channel));
      float* to = out.at(y, columns.begin) + operation.channel + channel;
      for (long x = columns.begin; x < columns.end; ++x, to += out.pixel)
        each_of(run, [&](int i) { to[i] = from[x * f + i]; });
    }
}

// Pixel shuffle, the inverse of run_input.
void Task::run_output(const Operation& operation, Range rows, Range columns) {
  float* made = pictures_.made[operation.picture];
  if (!made) return;
  const int f = operation.factor, run = operation.depth_last ? f : 1;
  const Source& source = operation.sources[0];
  const MapView& view = reads(source.value);
  for (int y = rows.begin; y < rows.end; ++y)
    for (int channel = 0; channel < 3 * f * f; channel += run) {
      const Place place = place_of(operation, y, channel);
      const float* from = view.at(y, columns.begin) + source.channel + channel;
      const float* degraded = operation.add_degraded ? degraded_at(place) : nullptr;
      float* to = made + place.colour * pictures_.made_plane + place.column +
                  static_cast<long>(place.row - pictures_.made_first) * schedule_.size.width;
      for (long x = columns.begin; x < columns.end; ++x, from += view.pixel)
        each_of(run,
                [&](int i) { to[x * f + i] = degraded ? from[i] + degraded[x * f + i] : from[i]; });
    }
}

}  // namespace cmudrn
