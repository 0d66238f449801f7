#include "packing.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <stdexcept>
#include <vector>

#include "winograd.h"

namespace cmudrn {
namespace {

constexpr std::size_t kMaxPacked = std::size_t{1} << 28;  // floats: 1 GiB
constexpr int kLine = 16;                                 // floats

class Packer {
 public:
  Packer(Program& program, const float* numbers) : program_(program), numbers_(numbers) {}

  void pack(Operation& operation) {
    if (operation.kind == Kind::convolution) {
      pack_convolution(operation);
      operation.bias = pack_groups(operation.bias, operation);
      if (operation.slopes >= 0) operation.slopes = pack_groups(operation.slopes, operation);
      if (!operation.mix.empty()) pack_mix(operation);
    } else {
      operation.bias = pack_vector(operation.bias, operation.outputs);
      operation.slopes = pack_vector(operation.slopes, operation.outputs);
    }
    if (operation.kind == Kind::combination)
      for (Source& source : operation.sources)
        source.weights = pack_vector(source.weights, operation.outputs);
  }

 private:
  // Returns where `count` zeros were appended, at a cache line.
  std::size_t reserve(std::size_t count) {
    const std::size_t first = program_.packed.size();
    const std::size_t padded = (count + kLine - 1) / kLine * kLine;
    if (padded > kMaxPacked - first) throw std::invalid_argument("too many weights");
    program_.packed.resize(first + padded, 0.f);
    return first;
  }

  long pack_vector(long first, int count) {
    if (first < 0) return -1;
    const std::size_t to = reserve(static_cast<std::size_t>(count) + kLine);
    std::memcpy(&program_.packed[to], numbers_ + first,
                sizeof(float) * static_cast<std::size_t>(count));
    return static_cast<long>(to);
  }

  // Numbers of every output, each part's padded to whole vectors; zeros where there are none.
  long pack_groups(long first, const Operation& operation) {
    const auto padded = static_cast<std::size_t>(operation.padded_outputs);
    const auto parts = static_cast<std::size_t>(operation.parts());
    const std::size_t to = reserve(padded * parts);
    const auto count = static_cast<std::size_t>(operation.group_outputs());
    for (std::size_t part = 0; first >= 0 && part < parts; ++part)
      std::memcpy(&program_.packed[to + part * padded], numbers_ + first + part * count,
                  sizeof(float) * count);
    return static_cast<long>(to);
  }

  // Factors one after another, each padded to `kMixUnit` channels.
  void pack_mix(Operation& operation) {
    const auto count = static_cast<std::size_t>(operation.group_outputs());
    const auto pitch = static_cast<std::size_t>(round_up(operation.group_outputs(), kMixUnit));
    const std::size_t to = reserve(pitch * operation.mix.size());
    for (std::size_t k = 0; k < operation.mix.size(); ++k)
      if (operation.mix[k] >= 0)
        std::memcpy(&program_.packed[to + k * pitch], numbers_ + operation.mix[k],
                    sizeof(float) * count);
    operation.mix = {static_cast<long>(to)};
  }

  void pack_convolution(Operation& operation) {
    const int lanes = program_.kernels.lanes;
    operation.padded_outputs = round_up(operation.group_outputs(), lanes);
    const bool picture = reads_picture(operation);
    operation.rounded = program_.kernels.convolve_rounded && !picture &&
                        operation.group_inputs() >= kLeastRoundedInputs;
    operation.winograd = !operation.rounded && operation.kernel == 3 && operation.stride == 1 &&
                         operation.pad == 1 && operation.group_inputs() >= kLeastWinogradChannels &&
                         operation.group_outputs() >= kLeastWinogradChannels;
    operation.exact = !program_.kernels.bf16 || picture || operation.group_inputs() % 2 != 0;
    if (operation.winograd) operation.tile_rows = operation.exact ? kSquareRows : kTileRows;
    const auto outputs = static_cast<std::size_t>(operation.padded_outputs);
    const auto inputs = static_cast<std::size_t>(operation.group_inputs());
    const auto taps = static_cast<std::size_t>(operation.kernel * operation.kernel);
    const std::size_t float_count =
        (operation.winograd ? kSquareFrequencies : taps) * inputs * outputs;
    const std::size_t bf16_count = (kFrequencies + 1) * inputs * outputs / 2;
    operation.group_floats = operation.winograd && !operation.exact ? bf16_count : float_count;
    if (operation.rounded)
      operation.group_floats =
          static_cast<std::size_t>(operation.kernel * row_inputs(operation)) * outputs / 2;
    operation.group_floats = (operation.group_floats + kLine - 1) / kLine * kLine;
    const float* weights = numbers_ + operation.weights;
    const auto parts = static_cast<std::size_t>(operation.parts());
    if (operation.group_floats > kMaxPacked / parts)
      throw std::invalid_argument("too many weights");
    const std::size_t first = reserve(operation.group_floats * parts);
    operation.weights = static_cast<long>(first);
    for (std::size_t part = 0; part < parts; ++part) {
      float* to = &program_.packed[first + part * operation.group_floats];
      const float* from =
          weights + part * taps * inputs * static_cast<std::size_t>(operation.group_outputs());
      if (operation.rounded)
        pack_rounded(operation, from, to);
      else if (!operation.winograd)
        pack_direct(operation, from, to);
      else if (operation.exact)
        pack_winograd(operation, from, to);
      else
        pack_winograd_bf16(operation, from, to);
    }
  }

  // Whether it reads the degraded picture itself: rounding that would cost more than all other
  // rounding together.
  bool reads_picture(const Operation& operation) const {
    for (const Operation& other : program_.operations)
      if (other.kind == Kind::input && other.value == operation.sources[0].value) return true;
    return false;
  }

  // Calls call(output, first, width) for the vectors of outputs that are computed together: their
  // first output, the first number of their weights, of which an input has `each` for every output,
  // and how many outputs they hold.
  template <class Call>
  void each_part(const Operation& operation, long each, const Call& call) const {
    const int lanes = program_.kernels.lanes;
    long first = 0;
    for (int left = operation.padded_outputs / lanes, output = 0; left > 0;) {
      const int vectors = together(left, program_.kernels.vectors);
      call(output, first, vectors * lanes);
      first += each * operation.group_inputs() * vectors * lanes;
      output += vectors * lanes;
      left -= vectors;
    }
  }

  // [part of the outputs][tap][input][output]
  void pack_direct(const Operation& operation, const float* from, float* to) const {
    const int taps = operation.kernel * operation.kernel, inputs = operation.group_inputs();
    each_part(operation, taps, [&](int output, long first, int width) {
      for (int lane = 0; lane < width && output + lane < operation.group_outputs(); ++lane)
        for (int in = 0; in < inputs; ++in)
          for (int tap = 0; tap < taps; ++tap)
            to[first + (static_cast<long>(tap) * inputs + in) * width + lane] =
                from[(static_cast<long>(output + lane) * inputs + in) * taps + tap];
    });
  }

  // [part of the outputs][frequency][input][output]
  void pack_winograd(const Operation& operation, const float* from, float* to) const {
    const int inputs = operation.group_inputs();
    each_part(operation, kSquareFrequencies, [&](int output, long first, int width) {
      for (int lane = 0; lane < width && output + lane < operation.group_outputs(); ++lane)
        for (int in = 0; in < inputs; ++in)
          for (int f = 0; f < kSquareFrequencies; ++f)
            to[first + (static_cast<long>(f) * inputs + in) * width + lane] = static_cast<float>(
                square_weight(from + 9 * (static_cast<long>(output + lane) * inputs + in), f));
    });
  }

  // [part of the outputs][frequency, at last what rounding took from kMean][pair of
  // inputs][output][2]
  void pack_winograd_bf16(const Operation& operation, const float* from, float* to) const {
    const int inputs = operation.group_inputs();
    each_part(operation, kFrequencies + 1, [&](int output, long first, int width) {
      for (int lane = 0; lane < width && output + lane < operation.group_outputs(); ++lane)
        for (int in = 0; in < inputs; ++in) {
          const float* taps = from + 9 * (static_cast<long>(output + lane) * inputs + in);
          for (int f = 0; f <= kFrequencies; ++f) {
            const double weight = frequency_weight(taps, f == kFrequencies ? kMean : f);
            std::uint16_t bits = to_bf16(static_cast<float>(weight));
            if (f == kFrequencies) bits = to_bf16(static_cast<float>(weight) - from_bf16(bits));
            const long at =
                first + (static_cast<long>(f) * inputs + in / 2 * 2) * width + 2 * lane + in % 2;
            std::memcpy(reinterpret_cast<char*>(to) + 2 * at, &bits, sizeof bits);
          }
        }
    });
  }

  // Inputs of a row of a kernel in whole tile registers.
  static int row_inputs(const Operation& operation) {
    return round_up(operation.kernel * rounded_pitch(operation.group_inputs()), kTileInputs);
  }

  // [part of the outputs][row][tile of inputs][vector][pair of inputs][output][2]
  void pack_rounded(const Operation& operation, const float* from, float* to) const {
    const int kernel = operation.kernel, taps = kernel * kernel, inputs = operation.group_inputs();
    const int lanes = program_.kernels.lanes, all = operation.padded_outputs / lanes;
    const int pitch = rounded_pitch(inputs), tiles = row_inputs(operation) / kTileInputs;
    std::vector<std::uint16_t> rounded(static_cast<std::size_t>(taps));
    for (int output = 0; output < operation.group_outputs(); ++output)
      for (int in = 0; in < inputs; ++in) {
        round_taps(from + (static_cast<long>(output) * inputs + in) * taps, rounded);
        const int vector = output / lanes, part = vector / kTileVectors * kTileVectors;
        const int vectors = std::min(all - part, kTileVectors);
        for (int tap = 0; tap < taps; ++tap) {
          const int k = tap % kernel * pitch + in, row = k % kTileInputs;
          const long tile = (static_cast<long>(part) * kernel + tap / kernel * vectors) * tiles +
                            k / kTileInputs * vectors + vector - part;
          const long at = (tile * kTileInputs + row / 2 * 2) * lanes + output % lanes * 2 + row % 2;
          std::memcpy(reinterpret_cast<char*>(to) + 2 * at, &rounded[static_cast<std::size_t>(tap)],
                      sizeof(std::uint16_t));
        }
      }
  }

  // Rounds the weights of one input and one output, the largest first. What rounding took from one
  // is added to the next: their sum, which even areas are multiplied by, stays as it was.
  static void round_taps(const float* taps, std::vector<std::uint16_t>& rounded) {
    std::vector<std::size_t> order(rounded.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
      return std::fabs(taps[a]) > std::fabs(taps[b]);
    });
    double missing = 0;
    for (const std::size_t tap : order) {
      const double wanted = taps[tap] + missing;
      rounded[tap] = to_bf16(static_cast<float>(wanted));
      missing = wanted - from_bf16(rounded[tap]);
    }
  }

  static constexpr int kLeastWinogradChannels = 8;  // fewer do not pay for the transforms
  static constexpr int kLeastRoundedInputs = 8;     // fewer leave tile registers empty

  Program& program_;
  const float* numbers_;
};

}  // namespace

void pack(Program& program, const float* numbers) {
  Packer packer(program, numbers);
  for (Operation& operation : program.operations) packer.pack(operation);
}

}  // namespace cmudrn
