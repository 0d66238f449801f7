// A chain of convolutions over one column strip of a picture, run depth first.
//
// All layers advance together, two rows at a time: when rows 2p and 2p+1 of a map exist, the next
// layer makes its rows 2p-2 and 2p-1, and so on down the chain. Each map keeps six rows only, so
// that a strip's maps stay in the processor's cache, however tall the picture is.
#pragma once

#include <memory>
#include <new>
#include <vector>

#include "network.h"

namespace cmudrn {

// 64-byte aligned floats, zero at first.
class Floats {
 public:
  explicit Floats(size_t count);
  float* data() const { return data_.get(); }

 private:
  struct Free {
    void operator()(float* memory) const { operator delete[](memory, std::align_val_t{64}); }
  };
  std::unique_ptr<float[], Free> data_;
};

// One convolution of a layer: which map it reads, adds and writes.
struct Lane {
  const Convolution* convolution;
  int input;
  int residual;  // -1: none
  int output;
};

// The convolutions of every branch at one depth, and the stitch after them.
struct Layer {
  std::vector<Lane> lanes;
  bool rectify;
  const Stitch* stitch;  // nullptr: none
  bool exact = false;    // computes in float even where the others are bfloat16
};

struct Pipeline {
  std::vector<Layer> layers;
  int inputs = 0;  // maps 0 .. inputs - 1 are filled from outside
  int maps = 0;
  std::vector<int> outputs;  // maps to read after the last layer

  int depth() const { return static_cast<int>(layers.size()); }
};

// One stage of the network: [degraded, estimate] of each branch -> what conv_out adds to degraded.
// In the first stage every branch's estimate is the degraded picture: one input map serves all.
Pipeline stage_pipeline(const Network& network, int recursions, bool first);

// The fusion head: the branches' estimates side by side -> the restored picture.
Pipeline fusion_pipeline(const Network& network);

// The columns [begin, end) of a picture and the memory of one pipeline over them.
class Strip {
 public:
  Strip(const Kernels& kernels, const Pipeline& pipeline, int height, int width, int begin,
        int end);

  int begin() const { return begin_; }
  int end() const { return end_; }

  // The columns whose inputs this strip needs.
  int load_begin() const { return load_begin_; }
  int load_end() const { return load_end_; }

  // Row `row` of a map, at picture column `column`; 16 floats a pixel.
  float* at(int map, int row, int column) const;

  // Runs all layers as far as `limit` input rows allow (all that follow when limit is the height).
  // load(row) must fill the input maps' row; emit(row) is called with finished output rows.
  template <class Load, class Emit>
  void advance(int limit, const Load& load, const Emit& emit) {
    const int depth = pipeline_->depth();
    const int ready = limit == height_ ? pairs_ + depth : limit / kTileRows;
    for (; next_ < ready; ++next_) {
      each_row(next_, load);
      for (int layer = 0; layer < depth; ++layer) run(layer, next_ - 1 - layer);
      each_row(next_ - depth, emit);
    }
  }

 private:
  static constexpr int kRows = 3 * kTileRows;  // rows kept of each map

  template <class Call>
  void each_row(int pair, const Call& call) {
    if (pair < 0) return;
    for (int row = kTileRows * pair; row < kTileRows * (pair + 1) && row < height_; ++row)
      call(row);
  }

  void run(int layer, int pair) const;
  void run_block(const Layer& layer, int pair, int first_tile, int tiles) const;
  void finish(const Layer& layer, const Lane& lane, int row, int column, int tiles,
              const float* sums) const;
  void stitch(const Layer& layer, int row, int column, int tiles) const;
  void clear_beyond_edge(const Layer& layer, int pair, int end_tile) const;

  const Kernels* kernels_;
  const Pipeline* pipeline_;
  int height_, width_, pairs_;
  int begin_, end_, load_begin_, load_end_;
  int left_;       // picture column of the first tile's first column; a multiple of 4, maybe < 0
  size_t stride_;  // floats in a row of a map
  int next_ = 0;   // the next pair of input rows
  Floats memory_;  // a row of zeros, then every map's rows
};

}  // namespace cmudrn
