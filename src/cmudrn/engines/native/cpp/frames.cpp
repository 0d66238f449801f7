// What fusion over time does to planes of 8 bits, called from Python through ctypes. Everything is
// in whole numbers and gives the same as the NumPy code of `restoration`, which runs without it.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <vector>

#if defined(_WIN32)
#define CMUDRN_EXPORT extern "C" __declspec(dllexport)
#else
#define CMUDRN_EXPORT extern "C" __attribute__((visibility("default")))
#endif

namespace cmudrn {
namespace {

namespace plain {
#include "frames.inl"
}  // namespace plain

#if defined(__x86_64__) && !defined(CMUDRN_ANY_CPU)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2")
#endif
namespace wide {
#include "frames.inl"
}  // namespace wide
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

bool has_wide() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx2");
}
#define CMUDRN_CALL(name, ...) (has_wide() ? wide::name(__VA_ARGS__) : plain::name(__VA_ARGS__))
#else
#define CMUDRN_CALL(name, ...) plain::name(__VA_ARGS__)
#endif

using plain::Byte;
using plain::kCandidates;
using plain::kFrames;
using plain::kOthers;
using plain::kSquare;
using plain::kStatistics;

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

// Sums over 2 reach + 1 rows and columns of `planes`; borders are repeated.
CMUDRN_EXPORT int cmudrn_frames_box(const float* values, float* result, int planes, int height,
                                    int width, int reach) try {
  std::vector<float> between(static_cast<std::size_t>(planes) * height * width);
  std::vector<float> line(static_cast<std::size_t>(width) + 2 * reach);
  CMUDRN_CALL(add_down, values, between.data(), planes, height, width, reach);
  CMUDRN_CALL(add_across, between.data(), result, planes, height, width, reach, line.data());
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
