#include "convolutions.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "aligned.h"

namespace cmudrn {
namespace {

constexpr int kMostTiles = 24;  // of a block of gradients
constexpr int kParts = 4;       // that the images of a batch are summed up in, at most
constexpr int kPartTiles = 96;  // of such a part, at least
constexpr int kChunkRows = 6;   // of tiles, that a thread takes at a time: they overlap
constexpr int kSlack = 64;      // floats that vectors read beyond a row

// Calls work(0) ... work(count - 1), shared out among threads.
void each_in_parallel(const Workers& workers, int count, const std::function<void(int)>& work) {
  struct Shared {
    const std::function<void(int)>& work;
    int count;
    std::atomic<int> next{0};
    std::mutex mutex;
    std::exception_ptr error;
  } shared{work, count, {}, {}, {}};
  const auto run = [](void* data) {
    Shared& all = *static_cast<Shared*>(data);
    try {
      for (int i = all.next++; i < all.count; i = all.next++) all.work(i);
    } catch (...) {
      const std::lock_guard<std::mutex> lock(all.mutex);
      all.error = std::current_exception();
    }
  };
  const int threads = std::clamp(workers.threads, 1, std::max(1, count));
  if (threads > 1 && workers.run) {
    workers.run(run, &shared, static_cast<unsigned>(threads), 0);
  } else {
    std::vector<std::thread> helpers;
    for (int i = 1; i < threads; ++i) helpers.emplace_back(run, &shared);
    run(&shared);
    for (std::thread& helper : helpers) helper.join();
  }
  if (shared.error) std::rethrow_exception(shared.error);
}

// Memory of a thread that stays for its next call.
enum class Scratch { weights, row, block, sums };

template <Scratch>
float* scratch(std::size_t floats) {
  thread_local AlignedFloats memory;
  if (memory.size() < floats) memory.resize(floats);
  return memory.data();
}

std::size_t at(long number) { return static_cast<std::size_t>(number); }

std::size_t up(std::size_t floats) { return (floats + 15) / 16 * 16; }

// One row of tiles of a batch, whose tiles at both ends are copied: beside them are zeros, not the
// pixels of another row.
class TileRow {
 public:
  // `memory` holds what `floats` says.
  TileRow(const BatchShape& shape, int channels, const float* maps, float* memory)
      : shape_(shape), channels_(channels), maps_(maps), zeros_(memory) {
    edge_ = memory + up(row_floats());
  }

  static std::size_t floats(const BatchShape& shape, int channels) {
    const auto row = static_cast<std::size_t>(shape.width) * static_cast<std::size_t>(channels);
    return up(row + kSlack) + up(36 * static_cast<std::size_t>(channels) + kSlack);
  }

  // Calls transform(input, first tile) for the tiles of a row of them: `above` rows and columns
  // before each tile's first belong to it, and `rows` in all. Channels begin at `channel`.
  template <class Transform>
  void each(int image, int tile_row, int channel, int above, int rows, WinogradInput input,
            const Transform& transform) {
    const int tiles = shape_.tiles_across();
    const float* all[kSquareRows + 2];
    if (tile_row == 0 || (tile_row + 1) * kSquareRows >= shape_.height)
      std::memset(zeros_, 0, row_floats() * sizeof(float));
    for (int row = 0; row < rows; ++row) {
      const int y = tile_row * kSquareRows - above + row;
      const bool here = y >= 0 && y < shape_.height;
      all[row] = here ? maps_ + (static_cast<long>(image) * shape_.height + y) * row_of() + channel
                      : zeros_;
    }
    input.pixel = channels_;
    const auto at_end = [&](int tile) {
      for (int row = 0; row < rows; ++row) {
        float* to = edge_ + row * (kTileColumns + 2) * channels_;
        input.rows[row] = to + above * channels_;
        for (int column = -above; column < kTileColumns + above; ++column, to += channels_) {
          const int x = tile * kTileColumns + column;
          const std::size_t bytes = static_cast<std::size_t>(input.channels) * sizeof(float);
          if (x < 0 || x >= shape_.width)
            std::memset(to, 0, bytes);
          else
            std::memcpy(to, all[row] + static_cast<long>(x) * channels_, bytes);
        }
      }
      input.tiles = 1;
      transform(input, tile);
    };
    at_end(0);
    // Vectors read up to two pixels beyond a tile and what is around it: those have to be there.
    const int within = std::max(0, (shape_.width - kTileColumns - 3) / kTileColumns);
    if (within > 0) {
      for (int row = 0; row < rows; ++row)
        input.rows[row] = all[row] + static_cast<long>(kTileColumns) * channels_;
      input.tiles = within;
      transform(input, 1);
    }
    for (int tile = 1 + within; tile < tiles; ++tile) at_end(tile);
  }

 private:
  long row_of() const { return static_cast<long>(shape_.width) * channels_; }
  std::size_t row_floats() const { return static_cast<std::size_t>(row_of() + kSlack); }

  const BatchShape& shape_;
  int channels_;
  const float* maps_;
  float *zeros_, *edge_;
};

// A convolution of a batch, a row of tiles at a time.
class Convolver {
 public:
  Convolver(const LayerKernels& kernels, const BatchShape& shape, const float* maps,
            const float* taps, const float* bias, float* made, const Workers& workers)
      : kernels_(kernels),
        shape_(shape),
        maps_(maps),
        made_(made),
        inputs_(shape.group_inputs()),
        outputs_(shape.group_outputs()),
        pitch_(round_up(inputs_, kernels.lanes)),
        out_pitch_(round_up(outputs_, kernels.lanes)),
        group_floats_(
            up(static_cast<std::size_t>(kSquareFrequencies) * at(inputs_) * at(out_pitch_))) {
    const std::size_t bias_floats = at(out_pitch_ * shape.groups);
    packed_ = scratch<Scratch::weights>(group_floats_ * at(shape.groups) + bias_floats + kSlack);
    biases_ = packed_ + group_floats_ * at(shape.groups);
    std::memset(biases_, 0, bias_floats * sizeof(float));
    each_in_parallel(workers, shape.groups, [&](int group) {
      kernels.training->pack_taps(taps + 9 * at(group * inputs_ * outputs_), inputs_, outputs_,
                                  packed_ + at(group) * group_floats_);
      if (bias)
        std::memcpy(biases_ + at(group * out_pitch_), bias + group * outputs_,
                    at(outputs_) * sizeof(float));
    });
  }

  void run(int image, int y) const {
    const int tiles = shape_.tiles_across();
    const long step = square_step(tiles, pitch_);
    const long line = static_cast<long>(tiles) * kTileColumns * shape_.outputs;  // of whole tiles
    const bool ragged = shape_.width % kTileColumns != 0 || shape_.height % kSquareRows != 0;
    const std::size_t block_floats = up(at(kSquareFrequencies * step) + kSlack);
    const std::size_t sums_floats =
        up(at(kSquareFrequencies * square_step(tiles, out_pitch_)) + kSlack);
    const std::size_t lines = ragged ? up(at(kSquareRows * line)) : 0;
    float* block = scratch<Scratch::row>(block_floats + sums_floats + lines +
                                         TileRow::floats(shape_, shape_.inputs));
    float *sums = block + block_floats, *whole = sums + sums_floats;
    TileRow row(shape_, shape_.inputs, maps_, whole + lines);
    float* first = made_ + (static_cast<long>(image) * shape_.height + y * kSquareRows) *
                               shape_.width * shape_.outputs;
    const long pitch = ragged ? line : static_cast<long>(shape_.width) * shape_.outputs;
    for (int group = 0; group < shape_.groups; ++group) {
      WinogradInput input{};
      input.channels = inputs_;
      input.pitch = pitch_;
      row.each(image, y, group * inputs_, 1, kSquareRows + 2, input,
               [&](const WinogradInput& some, int tile) {
                 kernels_.training->transform_tiles(some, step,
                                                    block + static_cast<long>(tile) * pitch_);
               });
      kernels_.multiply(
          block, {packed_ + at(group) * group_floats_, nullptr, tiles, inputs_, pitch_, outputs_},
          sums);
      Epilogue epilogue{};
      epilogue.bias = biases_ + at(group * out_pitch_);
      float* to[kSquareRows];
      for (int r = 0; r < kSquareRows; ++r)
        to[r] = (ragged ? whole : first) + r * pitch + group * outputs_;
      kernels_.finish(sums, tiles, outputs_, epilogue, to, shape_.outputs);
    }
    const long width = static_cast<long>(shape_.width) * shape_.outputs;
    for (int r = 0; ragged && r < std::min(kSquareRows, shape_.height - y * kSquareRows); ++r)
      std::memcpy(first + r * width, whole + r * line, at(width) * sizeof(float));
  }

 private:
  const LayerKernels& kernels_;
  const BatchShape shape_;
  const float* maps_;
  float* made_;
  int inputs_, outputs_, pitch_, out_pitch_;
  std::size_t group_floats_;
  float *packed_, *biases_;
};

// The gradient of a convolution's taps, some rows of tiles at a time.
class Correlator {
 public:
  Correlator(const LayerKernels& kernels, const BatchShape& shape, const float* maps,
             const float* gradient)
      : kernels_(kernels),
        shape_(shape),
        maps_(maps),
        gradient_(gradient),
        inputs_(shape.group_inputs()),
        outputs_(shape.group_outputs()),
        pitch_(round_up(inputs_, kernels.lanes)),
        out_pitch_(round_up(outputs_, kernels.lanes)),
        together(std::clamp(kMostTiles / shape.tiles_across(), 1, shape.tiles_down())),
        sums_floats(
            up(static_cast<std::size_t>(kSquareFrequencies) * at(inputs_) * at(out_pitch_))) {}

  // Adds what rows of tiles from `y` on give to the sums of a group.
  void run(int image, int y, int group, float* sums) const {
    const int across = shape_.tiles_across();
    const long step = square_step(across * together, pitch_);
    const long gradient_step = square_step(across * together, out_pitch_);
    const std::size_t block_floats = up(at(kSquareFrequencies * step) + kSlack);
    const std::size_t gradient_floats = up(at(kSquareFrequencies * gradient_step) + kSlack);
    const std::size_t seen_floats = TileRow::floats(shape_, shape_.inputs);
    float* block = scratch<Scratch::block>(block_floats + gradient_floats + seen_floats +
                                           TileRow::floats(shape_, shape_.outputs));
    float *gradients = block + block_floats, *memory = gradients + gradient_floats;
    TileRow seen(shape_, shape_.inputs, maps_, memory);
    TileRow made(shape_, shape_.outputs, gradient_, memory + seen_floats);
    WinogradInput input{}, output{};
    input.channels = inputs_, input.pitch = pitch_;
    output.channels = outputs_, output.pitch = out_pitch_;
    const int some = std::min(together, shape_.tiles_down() - y);
    for (int row = 0; row < some; ++row) {
      const long first = static_cast<long>(row) * across;
      seen.each(image, y + row, group * inputs_, 1, kSquareRows + 2, input,
                [&](const WinogradInput& here, int tile) {
                  kernels_.training->transform_tiles(here, step, block + (first + tile) * pitch_);
                });
      made.each(image, y + row, group * outputs_, 0, kSquareRows, output,
                [&](const WinogradInput& here, int tile) {
                  kernels_.training->transform_gradient(here, gradient_step,
                                                        gradients + (first + tile) * out_pitch_);
                });
    }
    for (int f = 0; f < kSquareFrequencies; ++f)
      kernels_.training->correlate({some * across, inputs_, pitch_, out_pitch_}, block + f * step,
                                   gradients + f * gradient_step,
                                   sums + static_cast<long>(f) * inputs_ * out_pitch_);
  }

 private:
  const LayerKernels& kernels_;
  const BatchShape shape_;
  const float *maps_, *gradient_;
  int inputs_, outputs_, pitch_, out_pitch_;

 public:
  const int together;             // rows of tiles of a block
  const std::size_t sums_floats;  // of a group
};

}  // namespace

void convolve_batch(const LayerKernels& kernels, const BatchShape& shape, const float* maps,
                    const float* taps, const float* bias, float* made, const Workers& workers) {
  const Convolver convolver(kernels, shape, maps, taps, bias, made, workers);
  const int rows = shape.tiles_down(), chunks = (rows + kChunkRows - 1) / kChunkRows;
  each_in_parallel(workers, shape.count * chunks, [&](int i) {
    const int image = i / chunks, first = i % chunks * kChunkRows;
    for (int y = first; y < std::min(rows, first + kChunkRows); ++y) convolver.run(image, y);
  });
}

void differentiate_batch(const LayerKernels& kernels, const BatchShape& shape, const float* maps,
                         const float* gradient, const float* turned_taps, float* of_maps,
                         float* of_taps, const Workers& workers) {
  const Correlator correlator(kernels, shape, maps, gradient);
  std::optional<Convolver> back;
  if (of_maps) {
    BatchShape turned = shape;
    std::swap(turned.inputs, turned.outputs);
    back.emplace(kernels, turned, gradient, turned_taps, nullptr, of_maps, workers);
  }
  const int rows = shape.tiles_down(), tiles = shape.count * rows * shape.tiles_across();
  const int fewest = std::min(2, shape.count), most = std::min(kParts, shape.count);
  const int parts = std::clamp(tiles / kPartTiles, fewest, most);
  const std::size_t floats = correlator.sums_floats * at(shape.groups);
  float* all = scratch<Scratch::sums>(floats * at(parts));
  each_in_parallel(workers, parts, [&](int part) {
    float* sums = all + floats * at(part);
    std::memset(sums, 0, floats * sizeof(float));
    const int last = shape.count * (part + 1) / parts;
    for (int image = shape.count * part / parts; image < last; ++image)
      for (int y = 0; y < rows; y += correlator.together) {
        for (int group = 0; group < shape.groups; ++group)
          correlator.run(image, y, group, sums + correlator.sums_floats * at(group));
        for (int row = y; back && row < std::min(rows, y + correlator.together); ++row)
          back->run(image, row);
      }
  });
  each_in_parallel(workers, shape.groups, [&](int group) {
    const float* sums[kParts];
    for (int part = 0; part < parts; ++part)
      sums[part] = all + floats * at(part) + correlator.sums_floats * at(group);
    const int inputs = shape.group_inputs(), outputs = shape.group_outputs();
    kernels.training->unpack_taps(sums, parts, inputs, outputs,
                                  of_taps + static_cast<long>(group) * 9 * inputs * outputs);
  });
}

void mix_batch(const LayerKernels& kernels, const MixShape& shape, const float* maps,
               const float* matrix, float* made, const Workers& workers) {
  each_in_parallel(workers, shape.count, [&](int image) {
    const long first = shape.pixels * 2 * shape.channels * image;
    kernels.training->mix_pixels(maps + first, matrix, shape.pixels, shape.channels, made + first);
  });
}

void mix_batch_gradient(const LayerKernels& kernels, const MixShape& shape, const float* maps,
                        const float* matrix, const float* gradient, float* of_maps,
                        float* of_matrix, const Workers& workers) {
  const auto factors = static_cast<std::size_t>(4 * shape.channels);
  float* sums = scratch<Scratch::sums>(factors * static_cast<std::size_t>(shape.count));
  std::memset(sums, 0, factors * static_cast<std::size_t>(shape.count) * sizeof(float));
  each_in_parallel(workers, shape.count, [&](int image) {
    const long first = shape.pixels * 2 * shape.channels * image;
    kernels.training->mix_gradient(maps + first, gradient + first, matrix, shape.pixels,
                                   shape.channels, of_maps + first,
                                   sums + factors * static_cast<std::size_t>(image));
  });
  std::memset(of_matrix, 0, factors * sizeof(float));
  for (int image = 0; image < shape.count; ++image)
    for (std::size_t i = 0; i < factors; ++i)
      of_matrix[i] += sums[factors * static_cast<std::size_t>(image) + i];
}

}  // namespace cmudrn
