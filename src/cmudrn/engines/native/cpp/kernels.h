// The inner loops of the engine, compiled once for each instruction set and chosen at run time.
//
// A map is NHWC with 16 channels: one pixel is 16 consecutive floats, 64 bytes, aligned to 64.
// Convolutions are 3x3 and use Winograd's minimal filtering, F(2,3) down and F(4,3) across: a
// tile is 2 rows x 4 columns of outputs, computed from 4 rows x 6 columns of inputs by 24
// products instead of 72 (Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, 2016).
#pragma once

namespace cmudrn {

constexpr int kChannels = 16;
constexpr int kTileRows = 2;
constexpr int kTileColumns = 4;
constexpr int kFrequencies = 24;  // 4 down x 6 across
constexpr int kMostTiles = 12;    // in a block of any instruction set
constexpr int kMostBranches = 4;

// A block is a run of horizontally adjacent tiles. Transformed blocks are laid out
// [frequency][tile][channel], transformed weights [frequency][input channel][output channel];
// in bfloat16 the weights of two input channels alternate, as the dot product of pairs reads them.
struct Kernels {
  const char* name;
  int block_tiles;  // the longest block, so that its sums fill the registers

  bool bf16;              // blocks and weights are bfloat16, sums are not

  // Input rows -> transformed block. rows[i] points at the first tile's first pixel.
  void (*transform)(const float* const rows[4], int tiles, int channels, void* block);

  // For every frequency and tile: products = block x weights.
  void (*multiply)(const void* block, const void* weights, int tiles, int inputs, int outputs,
                   float* products);

  // Products -> two output rows: bias, then ReLU if rectify, then + residual rows if not null.
  void (*finish)(const float* products, int tiles, int outputs, const float* bias, bool rectify,
                 const float* const residual[2], float* const out[2]);

  // maps[i] <- sum over j of matrix[i][j][channel] * maps[j], for i < kept; in place.
  void (*stitch)(float* const* maps, int count, int kept, const float* matrix, int pixels);

  // Runs fused multiply-adds in registers only; returns how many operations (2 each) that were.
  double (*peak)(long rounds);
};

extern const Kernels kPortable;
extern const Kernels kAvx2;
extern const Kernels kAvx512;
extern const Kernels kAvx512Bf16;

}  // namespace cmudrn
