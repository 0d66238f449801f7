// Plain vectors of four floats: SSE2 on any x86-64, NEON on arm64, whatever there is elsewhere.
#include <cmath>
#include <cstddef>
#include <utility>

#include "kernels.h"
#include "layers.h"

#define CMUDRN_LANES 4
#if defined(__x86_64__)
#define CMUDRN_TILES 3
#define CMUDRN_IN_REGISTER "+x"
#elif defined(__aarch64__)
#define CMUDRN_TILES 6
#define CMUDRN_IN_REGISTER "+w"
#else
#define CMUDRN_TILES 3
#define CMUDRN_IN_REGISTER "+m"
#endif

#define CMUDRN_VECTORS 2

namespace cmudrn {
namespace {
#include "kernels.inl"
#include "layers.inl"
}  // namespace

const Kernels kPortable = {"portable", false, nullptr, transform, multiply, finish, stitch, peak};

#if defined(__wasm__)  // pages do not train
constexpr const TrainingKernels* kTrainingHere = nullptr;
#else
constexpr const TrainingKernels* kTrainingHere = &kTraining;
#endif

const LayerKernels kPortableLayers = {kLanes,          kVectors,       kSums,        false,
                                      transform_layer, multiply_layer, finish_layer, convolve_layer,
                                      combine_layer,   mix_layer,      nullptr,      nullptr,
                                      kTrainingHere};

}  // namespace cmudrn
