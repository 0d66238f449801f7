// Vectors of eight floats, AVX2 with FMA. Called only on a CPU that says it has them.
#if defined(__x86_64__)
#include <cmath>
#include <cstddef>
#include <utility>

#include "kernels.h"
#include "layers.h"

#define CMUDRN_LANES 8
#define CMUDRN_TILES 3
#define CMUDRN_VECTORS 3
#define CMUDRN_IN_REGISTER "+v"

// CMUDRN_ANY_CPU (for tests) keeps the long vectors but lets the compiler split them.
#if defined(CMUDRN_ANY_CPU)
#undef CMUDRN_IN_REGISTER
#define CMUDRN_IN_REGISTER "+m"
#elif defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif

namespace cmudrn {
namespace {
#include "kernels.inl"
#include "layers.inl"
}  // namespace

const Kernels kAvx2 = {"avx2", false, nullptr, transform, multiply, finish, stitch, peak};

const LayerKernels kAvx2Layers = {kLanes,          kVectors,       kSums,        false,
                                  transform_layer, multiply_layer, finish_layer, convolve_layer,
                                  combine_layer,   mix_layer,      nullptr,      nullptr,
                                  &kTraining};

}  // namespace cmudrn

#if defined(CMUDRN_ANY_CPU)
#elif defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
