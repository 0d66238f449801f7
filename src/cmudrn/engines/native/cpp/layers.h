// The inner loops of the executor of layer lists, compiled once for each instruction set.
//
// Maps are NHWC: a pixel is its channels one after another, `pixel` floats from one pixel to the
// next, so that concatenation and splitting are offsets, and the channels of a group need not fill
// whole vectors. Loads may read up to one vector beyond a pixel's last channel; stores never write
// beyond it. 3x3 convolutions of stride 1 use Winograd's transforms: in bfloat16 those of
// kernels.h, in float larger tiles (squares.inl). All others multiply directly.
#pragma once

#include <cstdint>

#include "kernels.h"

namespace cmudrn {

enum class Activation : int { none, relu, slope, gelu, sigmoid };

constexpr int kMaxKernel = 32;                     // side of a kernel
constexpr int kMaxSources = 4;                     // maps that one combination reads
constexpr int kWinogradTiles = 18;                 // of a block of the executor
constexpr int kLongestBlock = kWinogradTiles + 7;  // one that takes what is left over
constexpr int kBlockGap = 32;                      // numbers between frequencies of a block
constexpr int kSquareRows = 4;                     // of a tile in float
constexpr int kSquareFrequencies = 36;
constexpr int kTilePixels = 16;  // rows of a tile register: pixels that are multiplied together
constexpr int kTileInputs = 32;  // bfloat16 numbers in a row of a tile register
constexpr int kTileVectors = 2;  // of outputs that tile registers sum together
constexpr int kMixUnit = 16;     // channels that the weights of a mix are padded to

// What follows the sums of a convolution.
struct Epilogue {
  Activation activation;  // none, relu or slope
  const float* slopes;    // factor of negative numbers, one a channel; for Activation::slope
  bool add_first;         // the residual is added before the activation
  const float*
      residual[kSquareRows];  // the output rows' residuals at their first pixel, or nullptr
  long residual_pixel;
  const float* bias;  // of tiles in float
};

// Some rows of a map at one group's first channel.
struct WinogradInput {
  const float* rows[kSquareRows + 2];
  long pixel;
  int tiles;
  int channels;
  int pitch;  // channels in a transformed block: `channels` rounded up to whole vectors
};

struct WinogradProduct {
  const void* weights;  // see pack_winograd in program.cpp
  const float* bias;    // of tiles in bfloat16
  int tiles;
  int inputs;  // rounded up to even in bfloat16
  int pitch;   // of the block
  int outputs;
};

struct DirectInput {
  const float* rows[kMaxKernel];  // of every kernel row, at the first output's first tap
  long pixel;
  int kernel;
  int stride;
  int inputs;
};

// The same with rows in bfloat16, of pixels one after another, and zeros behind the last one. Up to
// 3 * `kTilePixels` outputs more are read than are written.
struct RoundedInput {
  const std::uint16_t* rows[kMaxKernel];
  int pitch;  // numbers of a pixel
  int kernel;
  int stride;
};

// One map that a combination reads.
struct CombineSource {
  const float* row;      // at pixel 0 and the first channel
  const float* weights;  // one a channel; nullptr: 1
  long pixel;
  int up;      // every source pixel serves `up` output pixels
  long phase;  // floats between what neighbouring ones of them read
  int down;    // every down-th source pixel is read
};

// Products of a block and a block of gradients, of one frequency.
struct Correlation {
  int tiles, inputs, pitch, gradient_pitch;
};

// What training needs beside the transforms in float (convolutions.h).
struct TrainingKernels {
  // Taps (9, inputs, outputs) -> the weights of `multiply`, and the sums of `correlate` -> the
  // gradient of taps, of several parts that add up.
  void (*pack_taps)(const float* taps, int inputs, int outputs, float* packed);
  void (*unpack_taps)(const float* const* sums, int parts, int inputs, int outputs, float* taps);

  // Some tiles of a block whose frequencies are `step` floats apart: of inputs (6 x 6 pixels, with
  // what is around a tile), and of gradients of outputs (4 x 4).
  void (*transform_tiles)(const WinogradInput& input, long step, float* to);
  void (*transform_gradient)(const WinogradInput& gradient, long step, float* to);

  // sums[input][output] += block[tile][input] * gradients[tile][output], over all tiles.
  void (*correlate)(const Correlation& shape, const float* block, const float* gradients,
                    float* sums);

  // Cross-stitch units of two branches: `mix` for training, and its gradients. What belongs to
  // `of_matrix` is added to it.
  void (*mix_pixels)(const float* maps, const float* matrix, long pixels, int channels,
                     float* made);
  void (*mix_gradient)(const float* maps, const float* gradient, const float* matrix, long pixels,
                       int channels, float* of_maps, float* of_matrix);
};

struct LayerKernels {
  int lanes;
  int vectors;  // of outputs that are computed together, at most
  int sums;     // vectors of sums that the registers hold
  bool bf16;    // Winograd blocks and weights are bfloat16

  void (*transform)(const WinogradInput& input, void* block);
  void (*multiply)(const void* block, const WinogradProduct& product, float* sums);
  void (*finish)(const float* sums, int tiles, int outputs, const Epilogue& epilogue,
                 float* const* out, long pixel);

  // One row of `count` outputs of a convolution of any kernel and stride.
  void (*convolve)(const DirectInput& input, const float* weights, const float* bias, int outputs,
                   const Epilogue& epilogue, int count, float* out, long pixel);

  // out[x][c] = activation(bias[c] + sum of weights[c] * source[x][c]), x from `first` on; or the
  // product of two sources.
  void (*combine)(const CombineSource* sources, int count, bool product, const float* bias,
                  Activation activation, const float* slopes, int first, int pixels, int channels,
                  float* out, long pixel);

  // Mixes `maps` (2 to kMaxSources) parts of every pixel in place, each of so many channels: part i
  // becomes weights[i][maps][channel] + the sum over j of weights[i][j][channel] * part j.
  void (*mix)(float* row, long pixel, int pixels, int maps, int channels, const float* weights);

  // Convolutions in tile registers, of inputs that were rounded before; nullptr: there are none.
  void (*round)(const float* row, long pixel, int pixels, int channels, std::uint16_t* rounded);
  void (*convolve_rounded)(const RoundedInput& input, const std::uint16_t* weights,
                           const float* bias, int outputs, const Epilogue& epilogue, int count,
                           float* out, long pixel);

  const TrainingKernels* training;  // in float; nullptr: there are none
};

// How many of those that are left are computed together, where `most` can be: all parts alike.
constexpr int together(int left, int most) {
  const int parts = (left + most - 1) / most;
  return (left + parts - 1) / parts;
}

// Tiles (or pixels) that are computed together for so many vectors of outputs. More than eight gain
// nothing, and each number of them is code of its own.
constexpr int tiles_together(int sums, int vectors) {
  return sums / vectors < 8 ? sums / vectors : 8;
}

// Numbers from one pair of frequencies of a transformed block to the next. Not a power of two:
// those would share a few lines of the first cache.
constexpr long block_step(int tiles, int pitch) { return 2L * tiles * pitch + kBlockGap; }

// Numbers of a pixel of a rounded row.
constexpr int rounded_pitch(int channels) { return (channels + 7) / 8 * 8; }

// The same in float.
constexpr long square_step(int tiles, int pitch) {
  return static_cast<long>(tiles) * pitch + kBlockGap;
}

// Channels of sums, biases and slopes are padded to whole vectors.
constexpr int round_up(int number, int unit) { return (number + unit - 1) / unit * unit; }

extern const LayerKernels kPortableLayers;
extern const LayerKernels kAvx2Layers;
extern const LayerKernels kAvx512Layers;
extern const LayerKernels kAvx512Bf16Layers;
extern const LayerKernels kAmxBf16Layers;
extern const LayerKernels kNeonLayers;
extern const LayerKernels kNeonBf16Layers;

}  // namespace cmudrn
