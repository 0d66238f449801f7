// A network as a flat list of operations, checked and with its weights packed for one instruction
// set. Python (executor.py) writes the numbers; nothing in them is trusted.
//
// The design. A network is cut into segments, which run one after another; a segment is what lies
// between two changes of resolution. Every thread takes a column strip and some rows of a segment
// through all of its operations, a few rows at a time, so that only what other segments read is
// ever a whole map, and the rest stays in the thread's cache (schedule.h). Strips overlap by what
// the convolutions of their segment reach. Tiles of Winograd convolutions begin at columns and rows
// of the map that are the same for every strip, so that results do not depend on how the work was
// divided, and where strips first need them, so that little is computed twice. Maps are NHWC and
// not blocked by 8 or 16 channels: kernels read inputs one number at a time and outputs a vector at
// a time, so that groups of any width (24 channels) need no padding in memory, and concatenating
// and splitting are offsets.
#pragma once

#include <cstdint>
#include <vector>

#include "aligned.h"
#include "layers.h"

namespace cmudrn {

constexpr int kMaxPictures = 16;  // that a network returns

enum class Kind : int { input, output, convolution, combination, product };

// A view of a map that an operation reads.
struct Source {
  int value;
  int channel;  // first channel
  int up;       // every pixel is read `up` times across and down
  int phases;   // neighbouring ones of those reads are that many channels apart (pixel shuffle)
  int down;     // every down-th pixel is read, from (top, left) on
  int top, left;
  long weights;  // of combinations: index in the numbers, later of packed floats; -1: ones
};

struct Operation {
  Kind kind;
  int value;  // that it writes, from `channel` on; -1 for outputs
  int channel;
  int outputs;  // channels written
  int inputs;   // channels read by a convolution
  int kernel, stride, pad, groups;
  Activation activation;
  bool add_first;     // see Epilogue
  int factor;         // input: pixel unshuffle on the way in; output: pixel shuffle on the way out
  bool depth_last;    // of those: channels lie as [colour][y][x], not as [y][x][colour]
  int picture;        // output: which
  bool add_degraded;  // output: adds the degraded picture
  long weights, bias, slopes;   // index in the numbers, later of packed floats; -1: none
  std::vector<Source> sources;  // convolution: the map, and a residual if there is one
  bool winograd;
  int tile_rows = 1;         // of a Winograd convolution; else 1
  bool rounded;              // in tile registers, with inputs and weights in bfloat16
  bool exact;                // a Winograd convolution in float, where others are in bfloat16
  std::size_t group_floats;  // packed weights of one part of a convolution
  int padded_outputs;        // of one part: whole vectors
  int up = 1;                // of a convolution: pixel shuffle on the way out (fusion.cpp)
  std::vector<long>
      mix;  // of a convolution: for every group's place the factors of every group
            // and the bias, indices in the numbers; later only the first, in packed floats

  bool has_residual() const { return kind == Kind::convolution && sources.size() == 2; }
  int group_inputs() const { return inputs / groups; }
  int group_outputs() const { return outputs / groups; }
  // Convolutions that it is made of: one for every group and place of pixel shuffle.
  int parts() const { return groups * up * up; }
};

struct Program {
  // Throws std::invalid_argument where the numbers are no program. `exact` runs the convolutions
  // that bfloat16 would hurt.
  Program(const LayerKernels& chosen, const LayerKernels& exact_kernels, const std::int64_t* code,
          long code_count, const float* numbers, long count);

  const LayerKernels& kernels;
  const LayerKernels& exact;
  std::vector<int> channels;  // of every value
  std::vector<Operation> operations;
  int pictures = 0;
  AlignedFloats packed;
};

}  // namespace cmudrn
