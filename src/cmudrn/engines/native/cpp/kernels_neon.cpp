// Vectors of four floats, NEON: every 64-bit Arm processor has it. One load brings four inputs, and
// each of them is multiplied from its lane; where the portable kernels would load every input alone
// and spread it, which on many of these processors takes a turn of the unit that multiplies.
#if defined(__aarch64__)
#include <arm_neon.h>

#include <cmath>
#include <cstddef>
#include <utility>

#include "kernels.h"
#include "layers.h"

#define CMUDRN_BY_LANE
#define CMUDRN_LANES 4
#define CMUDRN_TILES 4
#define CMUDRN_VECTORS 2
#define CMUDRN_IN_REGISTER "+w"

namespace cmudrn {
namespace {
#include "kernels.inl"
#include "layers.inl"
}  // namespace

const Kernels kNeon = {"neon", false, nullptr, transform, multiply, finish, stitch, peak};

const LayerKernels kNeonLayers = {kLanes,          kVectors,       kSums,        false,
                                  transform_layer, multiply_layer, finish_layer, convolve_layer,
                                  combine_layer,   mix_layer,      nullptr,      nullptr,
                                  &kTraining};

}  // namespace cmudrn
#endif
