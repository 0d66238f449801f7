// The learned numbers, in the form that the kernels read.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "kernels.h"

namespace cmudrn {

// A 3x3 convolution with its weights transformed to frequencies.
struct Convolution {
  alignas(64) float weights[kFrequencies * kChannels * kChannels] = {};
  alignas(64) std::uint16_t bf16[(kFrequencies + 1) * kChannels * kChannels] = {};  // see kernels.h
  alignas(64) float bias[kChannels] = {};
  int inputs = 0;
  int outputs = 0;
};

// How branches mix their maps: out_i = sum over j of matrix[i][j][channel] * in_j.
struct Stitch {
  alignas(64) float matrix[kMostBranches * kMostBranches * kChannels] = {};
  bool identity = false;  // nothing to do
  bool merges = false;    // every branch gets the same map
  bool folds = false;     // merges by a mean with weights >= 0, which fit into the convolutions
};

// One DRN's convolutions, in the order they run; 0 and 1 count the residual blocks.
struct Branch {
  Convolution conv_in;
  Convolution hidden[2];
  Convolution residual[2];
  Convolution conv_out;
};

struct Shape {
  int branches;
  bool fused;          // has a fusion head
  bool fusion_skip;    // the head adds the mean of the estimates
  bool rectify_leave;  // ReLU on the last convolution, as the paper's text has it
};

struct Network {
  // Reads: for each branch conv_in, hidden 0, residual 0, hidden 1, residual 1, conv_out, each as
  // weights (out, in, 3, 3) and bias (out); stitches in, rb1, rb2, rec, img, each (B, B, 16);
  // and if fused the head's three convolutions. Throws std::invalid_argument on another count.
  Network(const Kernels& chosen, const Shape& form, const float* numbers, long count);

  const Kernels& kernels;
  Shape shape;
  std::vector<Branch> branches;
  std::vector<Branch> folded;  // conv_in and residual times the stitch's weights that follow them
  Convolution conv_out_all;    // every branch's conv_out side by side, for branches that merged
  Stitch in, rb[2], rb2_rec;   // rb2_rec: rb2 then rec, at the last recursion
  Stitch img;
  Convolution fusion[3];

 private:
  void fold_stitches();
  void round_weights();
};

}  // namespace cmudrn
