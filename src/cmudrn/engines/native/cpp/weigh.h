#pragma once
// What `weigh.inl` works on: numbers, sums and memory.
#include <cstdint>

namespace cmudrn {

using Small = std::int16_t;
using Int = std::int32_t;

constexpr int kUnits = 64, kUnit = 256, kWhite = 255 * kUnits;
constexpr float kDiffers = 3 * kUnits, kHalf = 12 * kUnits;
constexpr int kBeside = 1, kNear = 2, kWide = 4, kFar = 6;
constexpr int kAround = 8, kPixels = 10, kRest = 4, kPoints = 15, kShares = 6;
constexpr int kFeatures = 84, kShift = 10, kMost = 16 * kUnit - 1, kTogether = 16;
constexpr int kSums = 9;

// Planes of small numbers whose sums over neighbourhoods are wanted; see `add_rows`.
struct Sums {
  int planes, reach;
  const Small* values;  // (planes, rows, columns)
  Int* columns;         // (planes, columns): of 2 reach + 1 rows
};

// What is known of squares without their neighbours.
struct Statistics {
  Small *around, *others, *raw, *frames, *pixels, *moved, *filled;  // (n, rows, columns) each
};

// A layer: weights (outputs, inputs), and biases.
struct Dense {
  const Small* weights;
  const Int* biases;
  int inputs, outputs;
};

// Memory: a row and its borders, its sums, a block of squares' features and both hidden layers, and
// four rows.
struct Scratch {
  Int *line, *around, *block, *first, *second;
  Small* four;
};

}  // namespace cmudrn
