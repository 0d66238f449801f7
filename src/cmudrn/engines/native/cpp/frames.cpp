// What fusion over time does to planes of 8 bits, called from Python through ctypes. Everything is
// in whole numbers and gives the same as the NumPy code of `restoration`, which runs without it.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <string_view>
#include <vector>

#if defined(__x86_64__) && !defined(CMUDRN_ANY_CPU)
#include <immintrin.h>
#endif

#include "weigh.h"

#if defined(_WIN32)
#define CMUDRN_EXPORT extern "C" __declspec(dllexport)
#else
#define CMUDRN_EXPORT extern "C" __attribute__((visibility("default")))
#endif

namespace cmudrn {
namespace {

namespace plain {
#define CMUDRN_LANES 1
#include "frames.inl"
#include "weigh.inl"
#undef CMUDRN_LANES
}  // namespace plain

#if defined(__x86_64__) && !defined(CMUDRN_ANY_CPU)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2")
#endif
namespace wide {
#define CMUDRN_LANES 8
#include "frames.inl"
#include "weigh.inl"
#undef CMUDRN_LANES
}  // namespace wide
#if defined(__clang__)
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq"))), \
                             apply_to = function)
#else
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,prefer-vector-width=512")
#endif
namespace widest {
#define CMUDRN_LANES 16
#include "frames.inl"
#include "weigh.inl"
#undef CMUDRN_LANES
}  // namespace widest
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#define CMUDRN_CALL(name, ...)                    \
  (set == Set::widest ? widest::name(__VA_ARGS__) \
   : set == Set::wide ? wide::name(__VA_ARGS__)   \
                      : plain::name(__VA_ARGS__))
#else
#define CMUDRN_CALL(name, ...) (static_cast<void>(set), plain::name(__VA_ARGS__))
#endif

enum class Set { plain, wide, widest };

// Which of the above the processor can run, or the environment asks for.
Set find_set() {
#if defined(__x86_64__) && !defined(CMUDRN_ANY_CPU)
  __builtin_cpu_init();
  const char* wanted = std::getenv("CMUDRN_NATIVE_ISA");
  const std::string_view name = wanted ? wanted : "";
  if (name == "portable" || !__builtin_cpu_supports("avx2")) return Set::plain;
  const bool all = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                   __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  return all && name != "avx2" ? Set::widest : Set::wide;
#else
  return Set::plain;
#endif
}

using plain::Byte;
using plain::kCandidates;
using plain::kFrames;
using plain::kOthers;
using plain::kSquare;
using plain::kStatistics;

// Names what is summed around squares, as `look_around` expects it, and returns memory for it.
std::vector<Int> begin_sums(const Statistics& known, int columns, Sums* sums) {
  const Sums all[kSums] = {
      {kAround, kNear, known.around, nullptr}, {kAround, kFar, known.around, nullptr},
      {kRest, kNear, known.others, nullptr},   {kRest, kBeside, known.raw, nullptr},
      {kRest, kNear, known.frames, nullptr},   {kPixels, kBeside, known.filled, nullptr},
      {kPixels, kNear, known.filled, nullptr}, {kPixels, kFar, known.filled, nullptr},
      {kRest, kWide, known.moved, nullptr},
  };
  std::size_t planes = 0;
  for (const Sums& each : all) planes += each.planes;
  std::vector<Int> totals(planes * columns);
  Int* at = totals.data();
  for (int n = 0; n < kSums; ++n) {
    sums[n] = all[n];
    sums[n].columns = at;
    at += static_cast<std::ptrdiff_t>(all[n].planes) * columns;
  }
  return totals;
}

int squares_in(int side) { return (side + kSquare - 1) / kSquare; }

}  // namespace
}  // namespace cmudrn

using namespace cmudrn;

// Each returns 0, or 1 where memory is short. Planes are (channels, height, width).

// Moves planes square by square. `squares` are of eight numbers: the square's rows and columns
// (begin, end), by how much it is moved down and right, and the part of a pixel of both.
// `filters` are 16 times four weights, for each part. `missing` has `own` channels, repeated.
CMUDRN_EXPORT int cmudrn_frames_shift(const std::uint8_t* planes, const std::uint8_t* missing,
                                      std::uint8_t* result, int channels, int own, int height,
                                      int width, const std::int32_t* squares, int count,
                                      const std::int16_t* filters) try {
  const Set set = find_set();
  const std::ptrdiff_t plane = static_cast<std::ptrdiff_t>(height) * width;
  std::vector<std::int16_t> line(2 * static_cast<std::size_t>(width) + 8);
  for (int channel = 0; channel < channels; ++channel)
    for (int n = 0; n < count; ++n)
      CMUDRN_CALL(shift_square, planes + channel * plane, result + channel * plane,
                  missing + channel % own * plane, height, width, squares + 8 * n, filters,
                  line.data());
  return 0;
} catch (const std::exception&) {
  return 1;
}

// How five frames differ: 14 sums over squares (14, rows, columns). Of the restored values sorted,
// second less first, third less second, fourth less third; by how much the current value is below
// and above the third; the same five of the raw values; the difference of the current restored
// frame from the four others. `channels` is that of a raw frame.
CMUDRN_EXPORT int cmudrn_frames_compare(const std::uint8_t* const* window, int current,
                                        int channels, int height, int width,
                                        std::int32_t* result) try {
  const Set set = find_set();
  const std::size_t wide = static_cast<std::size_t>(squares_in(width)) * kSquare;
  std::vector<std::uint16_t> sums((kStatistics + kOthers) * wide);
  std::vector<std::uint8_t> scratch(5 * wide);
  for (int row = 0; row < squares_in(height); ++row)
    CMUDRN_CALL(compare_squares, window, current, channels, height, width, row, sums.data(),
                scratch.data(), result);
  return 0;
} catch (const std::exception&) {
  return 1;
}

// Sums over squares (3, rows, columns): raw and restored brightness, and red less blue.
CMUDRN_EXPORT int cmudrn_frames_means(const std::uint8_t* planes, int channels, int height,
                                      int width, std::int32_t* result) try {
  const Set set = find_set();
  std::vector<std::int16_t> sums(3 * static_cast<std::size_t>(squares_in(width)) * kSquare);
  for (int row = 0; row < squares_in(height); ++row)
    CMUDRN_CALL(mean_squares, planes, channels, height, width, row, sums.data(), result);
  return 0;
} catch (const std::exception&) {
  return 1;
}

// The fused frame (channels, height, width): the candidates of each place, by the shares (6, rows,
// columns) of its square.
CMUDRN_EXPORT int cmudrn_frames_mix(const std::uint8_t* const* window, int current, int channels,
                                    int height, int width, int takes_raw,
                                    const std::uint16_t* shares, std::uint8_t* result) try {
  const Set set = find_set();
  const int rows = squares_in(height), squares = squares_in(width), wide = squares * kSquare;
  const std::ptrdiff_t plane = static_cast<std::ptrdiff_t>(height) * width;
  std::vector<std::uint16_t> columns(kCandidates * static_cast<std::size_t>(wide));
  for (int y = 0; y < height; ++y) {
    if (y % kSquare == 0)
      for (int n = 0; n < kCandidates; ++n)
        for (int x = 0; x < wide; ++x)
          columns[static_cast<std::size_t>(n) * wide + x] =
              shares[(static_cast<std::ptrdiff_t>(n) * rows + y / kSquare) * squares + x / kSquare];
    for (int channel = 0; channel < channels; ++channel) {
      const std::uint8_t *raw[kFrames], *restored[kFrames];
      for (int n = 0; n < kFrames; ++n) {
        raw[n] = window[n] + channel * plane + static_cast<std::ptrdiff_t>(y) * width;
        restored[n] = raw[n] + channels * plane;
      }
      CMUDRN_CALL(mix_row, raw, restored, current, width, takes_raw != 0, columns.data(), wide,
                  result + channel * plane + static_cast<std::ptrdiff_t>(y) * width);
    }
  }
  return 0;
} catch (const std::exception&) {
  return 1;
}

// The shares (6, rows, columns) of what may be taken, in 256ths, of five frames' means (3, rows,
// columns) and their differences (14, rows, columns). Layers are a perceptron's: `sizes` are of its
// inputs and of what each layer makes, `weights` (outputs, inputs) and `biases` of all, one after
// another. `decay` are the exponential function's values, `count` of them.
CMUDRN_EXPORT int cmudrn_frames_weigh(const float* const* means, const float* differences,
                                      int current, int takes_raw, int rows, int columns,
                                      const std::int32_t* sizes, const std::int16_t* weights,
                                      const std::int32_t* biases, const std::int32_t* decay,
                                      int count, std::uint16_t* shares) try {
  const Set set = find_set();
  const std::size_t wide = columns, plane = static_cast<std::size_t>(rows) * wide;
  Dense layers[3];
  for (int n = 0; n < 3; ++n) {
    layers[n] = {weights, biases, sizes[n], sizes[n + 1]};
    weights += static_cast<std::ptrdiff_t>(sizes[n]) * sizes[n + 1];
    biases += sizes[n + 1];
  }
  constexpr int kPlanes = kAround + 4 * kRest + 2 * kPixels;
  std::vector<Small> known(kPlanes * plane);
  Small* at = known.data();
  const auto take = [&](int some) {
    Small* here = at;
    at += static_cast<std::ptrdiff_t>(some) * plane;
    return here;
  };
  const Statistics known_of = {take(kAround), take(kRest), take(kRest),  take(kRest),
                               take(kPixels), take(kRest), take(kPixels)};
  std::vector<Small> points(kPoints * plane), line((kFeatures + kRest) * wide);
  std::vector<Int> memory(19 * wide);
  for (int y = 0; y < rows; ++y)
    CMUDRN_CALL(look_at_row, means, differences, current, y, rows, columns, known_of, memory.data(),
                points.data() + kPoints * wide * y);
  Sums sums[kSums];
  const std::vector<std::int32_t> totals = begin_sums(known_of, columns, sums);
  std::vector<std::int32_t> around(2 * wide + 2 * kFar);
  const std::size_t most = std::max({sizes[0], sizes[1], sizes[2]}) / 2 * kTogether;
  std::vector<std::int32_t> blocks(3 * most);
  const Scratch scratch = {
      around.data(),        around.data() + wide + 2 * kFar, blocks.data(),
      blocks.data() + most, blocks.data() + 2 * most,        line.data() + kFeatures * wide};
  std::fill(line.end() - (kRest + 2) * wide, line.end() - (kRest + 1) * wide,
            static_cast<Small>(takes_raw ? kUnit : 0));
  for (int y = 0; y < rows; ++y) {
    for (const Sums& each : sums) CMUDRN_CALL(add_rows, each, y, rows, columns);
    std::copy_n(points.data() + kPoints * wide * y, kPoints * wide, line.data());
    CMUDRN_CALL(look_around, sums, known_of.pixels + wide * y, plane, columns, scratch,
                line.data() + kPoints * wide);
    CMUDRN_CALL(weigh_row, line.data(), columns, layers, decay, count - 1, scratch, plane,
                shares + wide * y);
  }
  return 0;
} catch (const std::exception&) {
  return 1;
}

// (pixels, channels) as planes, and back.
CMUDRN_EXPORT void cmudrn_frames_split(const std::uint8_t* image, std::uint8_t* planes,
                                       long count) {
  for (long n = 0; n < count; ++n)
    for (int channel = 0; channel < 3; ++channel)
      planes[channel * count + n] = image[3 * n + channel];
}

CMUDRN_EXPORT void cmudrn_frames_join(const std::uint8_t* planes, std::uint8_t* image, long count) {
  for (long n = 0; n < count; ++n)
    for (int channel = 0; channel < 3; ++channel)
      image[3 * n + channel] = planes[channel * count + n];
}
