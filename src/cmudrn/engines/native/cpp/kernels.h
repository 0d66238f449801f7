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
constexpr int kDown = 4;
constexpr int kAcross = 6;
constexpr int kFrequencies = kDown * kAcross;  // frequency = kDown * across + down
constexpr int kMean = kDown * 2;  // the only frequency in which an even picture is not 0
constexpr int kBlockTiles = 12;   // the longest block
constexpr int kMostBranches = 4;

// A block is a run of horizontally adjacent tiles. Frequencies are in the order of the tables in
// network.cpp. Transformed blocks are laid out [across / 2][down][tile][across % 2][channel], sums
// [across][row][tile][channel], transformed weights [frequency][input channel][output channel];
// in bfloat16 the weights of two input channels alternate, as the dot product of pairs reads them,
// and after the last frequency comes what rounding took from the weights of kMean: maps are even
// almost everywhere, so that an error there is one of whole areas.

// One convolution of a block: its transformed weights, its bias, and where its sums go.
struct Product {
  const void* weights;
  const float* bias;
  float* sums;
};

struct Kernels {
  const char* name;
  bool bf16;             // blocks and weights are bfloat16, sums are not
  const Kernels* exact;  // run the layers that bfloat16 would hurt most; nullptr: these do

  // Input rows -> transformed block. rows[i] points at the first tile's first pixel.
  void (*transform)(const float* const rows[4], int tiles, int channels, void* block);

  // Transformed block x weights -> sums, already turned back from frequencies to rows downwards;
  // `count` convolutions that read the same block.
  void (*multiply)(const void* block, const Product* products, int count, int tiles, int inputs,
                   int outputs);

  // Sums -> two output rows: ReLU if rectify, then + residual rows if not null.
  void (*finish)(const float* sums, int tiles, int outputs, bool rectify,
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
extern const Kernels kAmxBf16;
extern const Kernels kNeon;
extern const Kernels kNeonBf16;

}  // namespace cmudrn
