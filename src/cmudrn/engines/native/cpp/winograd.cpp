#include "winograd.h"

#include <cstring>

#include "kernels.h"

namespace cmudrn {
namespace {

constexpr double kDownFilter[kDown][3] = {{.5, .5, .5}, {.5, -.5, .5}, {1, 0, 0}, {0, 0, 1}};
constexpr double kAcrossFilter[kAcross][3] = {{1. / 4, 0, 0},
                                              {0, 0, 1},
                                              {-1. / 6, -1. / 6, -1. / 6},
                                              {-1. / 6, 1. / 6, -1. / 6},
                                              {1. / 24, 1. / 12, 1. / 6},
                                              {1. / 24, -1. / 12, 1. / 6}};

constexpr double kRoot = 1.4142135623730951;
constexpr double kSquareFilter[6][3] = {{1, 0, 0},
                                        {-2. / 3, -kRoot / 3, -1. / 3},
                                        {-2. / 3, kRoot / 3, -1. / 3},
                                        {1. / 6, kRoot / 6, 1. / 3},
                                        {1. / 6, -kRoot / 6, 1. / 3},
                                        {0, 0, 1}};

double weight(const double down[3], const double across[3], const float taps[9]) {
  double sum = 0;
  for (int y = 0; y < 3; ++y)
    for (int x = 0; x < 3; ++x) sum += down[y] * across[x] * taps[3 * y + x];
  return sum;
}

}  // namespace

double frequency_weight(const float taps[9], int frequency) {
  return weight(kDownFilter[frequency % kDown], kAcrossFilter[frequency / kDown], taps);
}

double square_weight(const float taps[9], int frequency) {
  return weight(kSquareFilter[frequency / 6], kSquareFilter[frequency % 6], taps);
}

std::uint16_t to_bf16(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return static_cast<std::uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

float from_bf16(std::uint16_t value) {
  const std::uint32_t bits = static_cast<std::uint32_t>(value) << 16;
  float wide;
  std::memcpy(&wide, &bits, sizeof wide);
  return wide;
}

}  // namespace cmudrn
