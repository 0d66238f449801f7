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

}  // namespace

double frequency_weight(const float taps[9], int frequency) {
  const double* down = kDownFilter[frequency % kDown];
  const double* across = kAcrossFilter[frequency / kDown];
  double sum = 0;
  for (int y = 0; y < 3; ++y)
    for (int x = 0; x < 3; ++x) sum += down[y] * across[x] * taps[3 * y + x];
  return sum;
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
