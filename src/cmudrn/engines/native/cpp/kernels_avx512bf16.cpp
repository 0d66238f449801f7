// Vectors of sixteen floats, AVX-512 with dot products of bfloat16 pairs, summed in float; and the
// same with tile registers (AMX). Called only on a CPU that says it has them.
#if defined(__x86_64__)
#if !defined(CMUDRN_ANY_CPU)
#include <immintrin.h>
#endif

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "kernels.h"
#include "layers.h"

#define CMUDRN_BF16
#define CMUDRN_LANES 16
#define CMUDRN_TILES 6
#define CMUDRN_VECTORS 3
#define CMUDRN_IN_REGISTER "+v"

// CMUDRN_ANY_CPU (for tests) keeps the long vectors but lets the compiler split them.
#if defined(CMUDRN_ANY_CPU)
#undef CMUDRN_IN_REGISTER
#define CMUDRN_IN_REGISTER "+m"
#elif defined(__clang__)
#pragma clang attribute push(                                                     \
    __attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,avx512bf16,fma"))), \
    apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512vl,avx512bw,avx512dq,avx512bf16,fma")
#endif

namespace cmudrn {
namespace {
#include "kernels.inl"
#include "layers.inl"
// Behind them.
#include "amx.inl"
}  // namespace

const Kernels kAvx512Bf16 = {"avx512bf16", true,   &kAvx512, transform,
                             multiply,     finish, stitch,   peak};

const LayerKernels kAvx512Bf16Layers = {
    kLanes,         kVectors,     kSums,          true,          transform_layer,
    multiply_layer, finish_layer, convolve_layer, combine_layer, mix_layer,
    nullptr,        nullptr,      nullptr};

const Kernels kAmxBf16 = {"amxbf16", true,   &kAvx512, transform,
                          multiply,  finish, stitch,   peak_of_tiles};

const LayerKernels kAmxBf16Layers = {
    kLanes,         kVectors,         kSums,          true,          transform_layer,
    multiply_layer, finish_layer,     convolve_layer, combine_layer, mix_layer,
    round_row,      convolve_rounded, nullptr};

}  // namespace cmudrn

#if defined(CMUDRN_ANY_CPU)
#elif defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
