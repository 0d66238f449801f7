// The filter transforms, and bfloat16 numbers.
#pragma once

#include <cstdint>

namespace cmudrn {

// A 3x3 kernel's weight at one of the kFrequencies frequencies, in the order and with the signs of
// the kernels.
double frequency_weight(const float taps[9], int frequency);

// The same for squares.inl.
double square_weight(const float taps[9], int frequency);

// The nearest bfloat16 number, and back.
std::uint16_t to_bf16(float value);
float from_bf16(std::uint16_t value);

}  // namespace cmudrn
