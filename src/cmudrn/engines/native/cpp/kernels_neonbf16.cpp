// Vectors of four floats, NEON with dot products of bfloat16 pairs, summed in float. Called only on
// a CPU that says it has them.
#if defined(__aarch64__)
#include <arm_neon.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "kernels.h"
#include "layers.h"

#define CMUDRN_BF16
#define CMUDRN_BY_LANE
#define CMUDRN_LANES 4
#define CMUDRN_TILES 4
#define CMUDRN_VECTORS 2
#define CMUDRN_IN_REGISTER "+w"

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("bf16"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("arch=armv8.2-a+bf16")
#endif

namespace cmudrn {
namespace {
#include "kernels.inl"
#include "layers.inl"
}  // namespace

const Kernels kNeonBf16 = {"neonbf16", true, &kNeon, transform, multiply, finish, stitch, peak};

const LayerKernels kNeonBf16Layers = {kLanes,          kVectors,       kSums,        true,
                                      transform_layer, multiply_layer, finish_layer, convolve_layer,
                                      combine_layer,   mix_layer,      nullptr,      nullptr,
                                      nullptr};

}  // namespace cmudrn

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
