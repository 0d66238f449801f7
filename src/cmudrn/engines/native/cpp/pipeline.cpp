#include "pipeline.h"

#include <algorithm>
#include <cstring>

namespace cmudrn {
namespace {

constexpr int kGuard = 4;  // columns of zeros on either side: tiles read one beyond their own

int floor_to_tile(int column) { return column & ~(kTileColumns - 1); }

int ceil_to_tile(int column) { return floor_to_tile(column + kTileColumns - 1); }

bool all_same(const std::vector<int>& maps) {
  return std::all_of(maps.begin(), maps.end(), [&](int map) { return map == maps[0]; });
}

// Adds layers of one convolution a branch; `maps` are the maps that the branches go on with.
class Builder {
 public:
  explicit Builder(const Network& network) : network_(network), scratch_(network.branches.size()) {}

  // `choose` picks the convolution of a branch; `residuals` are added to its output if not null.
  template <class Choose>
  void layer(std::vector<int>& maps, const std::vector<int>* residuals, const Stitch& stitch,
             const Choose& choose) {
    if (stitch.folds && (!residuals || all_same(*residuals)))
      return folded_layer(maps, residuals, choose);
    Layer layer{{}, true, stitch.identity ? nullptr : &stitch};
    for (size_t b = 0; b < maps.size(); ++b) {
      const int output = stitch.merges && b > 0 ? scratch(b) : built.maps++;
      layer.lanes.push_back(
          {&choose(network_.branches[b]), maps[b], residuals ? (*residuals)[b] : kNone, output});
    }
    for (size_t b = 0; b < maps.size(); ++b) maps[b] = layer.lanes[stitch.merges ? 0 : b].output;
    built.layers.push_back(std::move(layer));
  }

  void conv_out(const std::vector<int>& maps) {
    Layer layer{{}, network_.shape.rectify_leave, nullptr};
    if (maps.size() > 1 && all_same(maps)) {
      layer.lanes.push_back({&network_.conv_out_all, maps[0], kNone, built.maps++});
    } else {
      for (size_t b = 0; b < maps.size(); ++b)
        layer.lanes.push_back({&network_.branches[b].conv_out, maps[b], kNone, built.maps++});
    }
    for (const Lane& lane : layer.lanes) built.outputs.push_back(lane.output);
    built.layers.push_back(std::move(layer));
  }

  Pipeline built;

 private:
  static constexpr int kNone = -1;

  // The mean of all branches as one running sum: each lane adds its share to the one before it.
  template <class Choose>
  void folded_layer(std::vector<int>& maps, const std::vector<int>* residuals,
                    const Choose& choose) {
    Layer layer{{}, true, nullptr};
    const int output = built.maps++;
    for (size_t b = 0; b < maps.size(); ++b) {
      const int start = residuals ? (*residuals)[0] : kNone;
      layer.lanes.push_back(
          {&choose(network_.folded[b]), maps[b], b == 0 ? start : output, output});
    }
    maps.assign(maps.size(), output);
    built.layers.push_back(std::move(layer));
  }

  // A map that only lives until the stitch of the same block; all layers share it.
  int scratch(size_t branch) {
    if (scratch_[branch] == 0) scratch_[branch] = built.maps++;
    return scratch_[branch];
  }

  const Network& network_;
  std::vector<int> scratch_;
};

const Stitch kApart = [] {
  Stitch none;
  none.identity = true;
  return none;
}();

}  // namespace

Floats::Floats(size_t count)
    : data_(static_cast<float*>(operator new[](count * sizeof(float), std::align_val_t{64}))) {
  std::memset(data_.get(), 0, count * sizeof(float));
}

Pipeline stage_pipeline(const Network& network, int recursions, bool first) {
  Builder builder(network);
  const int branches = network.shape.branches;
  builder.built.inputs = builder.built.maps = first ? 1 : branches;
  std::vector<int> maps(static_cast<size_t>(branches), 0);
  for (int b = 0; b < branches && !first; ++b) maps[static_cast<size_t>(b)] = b;
  builder.layer(maps, nullptr, network.in, [](const Branch& b) -> auto& { return b.conv_in; });
  builder.built.layers[0].exact = true;  // it reads pictures: rounding them would cost the most
  for (int recursion = 1; recursion <= recursions; ++recursion) {
    for (int block = 0; block < 2; ++block) {
      const bool last = recursion == recursions && block == 1;
      const std::vector<int> before = maps;
      builder.layer(maps, nullptr, kApart,
                    [=](const Branch& b) -> auto& { return b.hidden[block]; });
      builder.layer(maps, &before, last ? network.rb2_rec : network.rb[block],
                    [=](const Branch& b) -> auto& { return b.residual[block]; });
    }
  }
  builder.conv_out(maps);
  return std::move(builder.built);
}

Pipeline fusion_pipeline(const Network& network) {
  Pipeline pipeline;
  if (!network.shape.fused) return pipeline;
  pipeline.inputs = 1;
  pipeline.maps = 4;
  for (int i = 0; i < 3; ++i)
    pipeline.layers.push_back({{{&network.fusion[i], i, -1, i + 1}}, i < 2, nullptr, true});
  pipeline.outputs = {3};
  return pipeline;
}

Strip::Strip(const Kernels& kernels, const Pipeline& pipeline, int height, int width, int begin,
             int end)
    : kernels_(&kernels),
      pipeline_(&pipeline),
      height_(height),
      width_(width),
      pairs_((height + kTileRows - 1) / kTileRows),
      begin_(begin),
      end_(end),
      load_begin_(std::max(0, begin - pipeline.depth())),
      load_end_(std::min(width, end + pipeline.depth())),
      left_(floor_to_tile(load_begin_)),
      stride_(static_cast<size_t>(ceil_to_tile(load_end_) - left_ + 2 * kGuard) * kChannels),
      memory_(stride_ * static_cast<size_t>(1 + pipeline.maps * kRows)) {}

float* Strip::at(int map, int row, int column) const {
  const size_t line = static_cast<size_t>(1 + map * kRows + row % kRows);
  return memory_.data() + line * stride_ + static_cast<size_t>(column - left_ + kGuard) * kChannels;
}

void Strip::run(int layer, int pair) const {
  if (pair < 0 || pair >= pairs_) return;
  const Layer& chosen = pipeline_->layers[static_cast<size_t>(layer)];
  const int margin = pipeline_->depth() - 1 - layer;  // columns that later layers still need
  const int first = floor_to_tile(std::max(0, begin_ - margin)) / kTileColumns;
  const int last = ceil_to_tile(std::min(width_, end_ + margin)) / kTileColumns;
  const int blocks = (last - first + kBlockTiles - 1) / kBlockTiles;
  for (int block = 0, tile = first; block < blocks; ++block) {
    const int tiles = (last - tile + blocks - block - 1) / (blocks - block);
    run_block(chosen, pair, tile, tiles);
    tile += tiles;
  }
  clear_beyond_edge(chosen, pair, last);
}

void Strip::run_block(const Layer& layer, int pair, int first_tile, int tiles) const {
  alignas(64) float block[kFrequencies * kBlockTiles * kChannels];
  alignas(64) float sums[kMostBranches][kTileRows * kAcross * kBlockTiles * kChannels];
  const Kernels& kernels = layer.exact && kernels_->exact ? *kernels_->exact : *kernels_;
  const int row = kTileRows * pair, column = kTileColumns * first_tile;
  const std::vector<Lane>& lanes = layer.lanes;
  for (size_t first = 0, end; first < lanes.size(); first = end) {
    const Convolution& convolution = *lanes[first].convolution;
    const float* rows[4];
    for (int i = 0; i < 4; ++i) {
      const int from = row - 1 + i;
      rows[i] = from < 0 || from >= height_ ? memory_.data() + (column - left_ + kGuard) * kChannels
                                            : at(lanes[first].input, from, column);
    }
    kernels.transform(rows, tiles, convolution.inputs, block);
    Product products[kMostBranches];  // of the lanes that read this block
    for (end = first; end < lanes.size() && lanes[end].input == lanes[first].input; ++end) {
      const Convolution& each = *lanes[end].convolution;
      const void* weights = each.weights;
      if (kernels.bf16) weights = each.bf16;
      products[end - first] = {weights, each.bias, sums[end]};
    }
    kernels.multiply(block, products, static_cast<int>(end - first), tiles, convolution.inputs,
                     convolution.outputs);
    for (size_t i = first; i < end; ++i) finish(layer, lanes[i], row, column, tiles, sums[i]);
  }
  if (layer.stitch) stitch(layer, row, column, tiles);
}

void Strip::finish(const Layer& layer, const Lane& lane, int row, int column, int tiles,
                   const float* sums) const {
  float* const out[2] = {at(lane.output, row, column), at(lane.output, row + 1, column)};
  const int outputs = lane.convolution->outputs;
  if (lane.residual < 0) return kernels_->finish(sums, tiles, outputs, layer.rectify, nullptr, out);
  const float* const residual[2] = {at(lane.residual, row, column),
                                    at(lane.residual, row + 1, column)};
  kernels_->finish(sums, tiles, outputs, layer.rectify, residual, out);
}

void Strip::stitch(const Layer& layer, int row, int column, int tiles) const {
  const int count = static_cast<int>(layer.lanes.size());
  for (int i = 0; i < kTileRows; ++i) {
    float* maps[kMostBranches];
    for (int lane = 0; lane < count; ++lane)
      maps[lane] = at(layer.lanes[static_cast<size_t>(lane)].output, row + i, column);
    kernels_->stitch(maps, count, layer.stitch->merges ? 1 : count, layer.stitch->matrix,
                     tiles * kTileColumns);
  }
}

// The last tile may reach beyond the picture, where the next layer must find zeros.
void Strip::clear_beyond_edge(const Layer& layer, int pair, int end_tile) const {
  const int beyond = end_tile * kTileColumns - width_;
  if (beyond <= 0) return;
  for (const Lane& lane : layer.lanes)
    for (int row = kTileRows * pair; row < kTileRows * (pair + 1); ++row)
      std::memset(at(lane.output, row, width_), 0,
                  static_cast<size_t>(beyond * kChannels) * sizeof(float));
}

}  // namespace cmudrn
