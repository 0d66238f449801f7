// Winograd's convolutions of whole batches, for training: 3x3, stride 1, zeros around.
#pragma once

#include <functional>

#include "layers.h"

namespace cmudrn {

// A batch of maps, NHWC without gaps.
struct BatchShape {
  int count, height, width;
  int inputs, outputs, groups;  // of the convolution

  bool possible() const {
    return count > 0 && height > 0 && width > 0 && groups > 0 && inputs >= groups &&
           outputs >= groups && inputs % groups == 0 && outputs % groups == 0;
  }
  int tiles_across() const { return (width + kTileColumns - 1) / kTileColumns; }
  int tiles_down() const { return (height + kSquareRows - 1) / kSquareRows; }
  int group_inputs() const { return inputs / groups; }
  int group_outputs() const { return outputs / groups; }
};

// Runs a function on as many threads, as OpenMP's GOMP_parallel does; nullptr: threads of its own.
// Training shares the threads of PyTorch: those wait in a loop, and would take a processor each.
using RunOnThreads = void (*)(void (*work)(void*), void* data, unsigned threads, unsigned flags);

struct Workers {
  RunOnThreads run;
  int threads;
};

// maps (N, H, W, inputs) -> made (N, H, W, outputs). `taps` is (groups, 9, group inputs, group
// outputs); `bias` is (outputs), or nullptr.
void convolve_batch(const LayerKernels& kernels, const BatchShape& shape, const float* maps,
                    const float* taps, const float* bias, float* made, const Workers& workers);

// The gradients of such a convolution, from maps and the gradient of what was made of them: of the
// maps, unless `of_maps` is nullptr, by `turned_taps` (groups, 9 backwards, group outputs, group
// inputs), and of the taps. The sums do not depend on the number of threads.
void differentiate_batch(const LayerKernels& kernels, const BatchShape& shape, const float* maps,
                         const float* gradient, const float* turned_taps, float* of_maps,
                         float* of_taps, const Workers& workers);

// Of a cross-stitch unit of two branches: maps of `count` images, each pixel both branches'
// channels.
struct MixShape {
  int count;
  long pixels;
  int channels;

  bool possible() const { return count > 0 && pixels > 0 && channels > 0; }
};

// made[i] = the sum over j of matrix[i][j][channel] * maps[j].
void mix_batch(const LayerKernels& kernels, const MixShape& shape, const float* maps,
               const float* matrix, float* made, const Workers& workers);

// The gradients of maps and matrix from that of what was made.
void mix_batch_gradient(const LayerKernels& kernels, const MixShape& shape, const float* maps,
                        const float* matrix, const float* gradient, float* of_maps,
                        float* of_matrix, const Workers& workers);

}  // namespace cmudrn
