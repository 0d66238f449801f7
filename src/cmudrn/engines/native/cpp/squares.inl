// Winograd's convolution of float numbers, F(4,3) down and across: a tile is 4 x 4 outputs,
// computed from 6 x 6 inputs by 36 products instead of 144. A part of layers.inl.
//
// The points are 0, +-sqrt(1/2), +-sqrt(2) and infinity. With them rounding costs a quarter of what
// it does with the usual 0, +-1, +-2 and infinity, and no more than F(2,3) x F(4,3) with those.
// Frequencies are in the order 6 * down + across. Blocks are laid out [frequency][tile][channel]
// and sums alike.

constexpr float kRoot = 1.41421356f;
constexpr float kHalfRoot = 0.70710678f;

// Six inputs -> six frequencies.
inline void to_frequencies(const Vec d[6], Vec made[6]) {
  const Vec even = d[4] - 2.f * d[2], odd = d[3] - 2.f * d[1];
  const Vec even2 = d[4] - .5f * d[2], odd2 = d[3] - .5f * d[1];
  made[0] = (d[0] + d[4]) - 2.5f * d[2];
  made[1] = even + kHalfRoot * odd;
  made[2] = even - kHalfRoot * odd;
  made[3] = even2 + kRoot * odd2;
  made[4] = even2 - kRoot * odd2;
  made[5] = (d[1] + d[5]) - 2.5f * d[3];
}

// Six products -> four outputs, each with `start` added.
inline void to_outputs(const Vec m[6], Vec start, Vec made[4]) {
  const Vec sum = m[1] + m[2], difference = m[1] - m[2];
  const Vec sum2 = m[3] + m[4], difference2 = m[3] - m[4];
  made[0] = start + m[0] + (sum + sum2);
  made[1] = start + kHalfRoot * difference + kRoot * difference2;
  made[2] = start + .5f * sum + 2.f * sum2;
  made[3] = start + m[5] + .5f * kHalfRoot * difference + 2.f * kRoot * difference2;
}

// Some tiles of a block whose frequencies are `step` floats apart.
void transform_tiles(const WinogradInput& input, long step, float* first) {
  const int tiles = input.tiles, pitch = input.pitch;
  const long pixel = input.pixel;
  for (int tile = 0; tile < tiles; ++tile) {
    const long at = (static_cast<long>(tile) * kTileColumns - 1) * pixel;
    float* to = first + static_cast<long>(tile) * pitch;
    for (int channel = 0; channel < input.channels; channel += kLanes, to += kLanes) {
      Vec down[6][6];
#pragma GCC unroll 6
      for (int column = 0; column < 6; ++column) {
        Vec d[6], made[6];
#pragma GCC unroll 6
        for (int row = 0; row < 6; ++row)
          d[row] = load_any(input.rows[row] + at + column * pixel + channel);
        to_frequencies(d, made);
#pragma GCC unroll 6
        for (int row = 0; row < 6; ++row) down[row][column] = made[row];
      }
#pragma GCC unroll 6
      for (int row = 0; row < 6; ++row) {
        Vec made[6];
        to_frequencies(down[row], made);
#pragma GCC unroll 6
        for (int column = 0; column < 6; ++column)
          store(to + (6 * row + column) * step, made[column]);
      }
    }
  }
}

void transform_layer(const WinogradInput& input, void* block) {
  transform_tiles(input, square_step(input.tiles, input.pitch), static_cast<float*>(block));
}

// Some tiles and vectors of outputs of one frequency.
struct SquareProduct {
  const float* block;
  const float* weights;
  float* sums;
  int inputs, pitch, output_pitch;
};

template <int Tiles, int Vectors>
inline void multiply_square(const float* block, const float* weights, float* to, int inputs,
                            int pitch, int output_pitch) {
  Vec sums[Tiles][Vectors] = {};
  add_frequency(sums, block, pitch, weights, inputs);
#pragma GCC unroll 12
  for (int tile = 0; tile < Tiles; ++tile)
#pragma GCC unroll 3
    for (int v = 0; v < Vectors; ++v)
      store_any(to + static_cast<long>(tile) * output_pitch + v * kLanes, sums[tile][v]);
}

// As many times the same number of tiles.
template <int Tiles, int Vectors>
void multiply_squares(const float* block, const float* weights, float* sums, int inputs, int pitch,
                      int output_pitch, int times) {
  for (; times > 0; --times) {
    multiply_square<Tiles, Vectors>(block, weights, sums, inputs, pitch, output_pitch);
    block += static_cast<long>(Tiles) * pitch;
    sums += static_cast<long>(Tiles) * output_pitch;
  }
}

template <int Vectors, int... Less>
void multiply_squares_of(SquareProduct p, int tiles, std::integer_sequence<int, Less...>) {
  constexpr decltype(&multiply_squares<1, Vectors>) table[] = {
      multiply_squares<Less + 1, Vectors>...};
  for (int left = tiles; left > 0;) {
    const int some = together(left, sizeof...(Less)), times = left / some;
    table[some - 1](p.block, p.weights, p.sums, p.inputs, p.pitch, p.output_pitch, times);
    left -= some * times;
    p.block += static_cast<long>(some) * times * p.pitch;
    p.sums += static_cast<long>(some) * times * p.output_pitch;
  }
}

void multiply_layer(const void* block, const WinogradProduct& product, float* sums) {
  const int output_pitch = round_up(product.outputs, kLanes), tiles = product.tiles;
  const long step = square_step(tiles, product.pitch);
  const long sums_step = square_step(tiles, output_pitch);
  const auto* weights = static_cast<const float*>(product.weights);
  for (int left = output_pitch / kLanes, output = 0; left > 0;) {
    const int vectors = together(left, kVectors);
    for (int f = 0; f < kSquareFrequencies; ++f) {
      const SquareProduct part = {static_cast<const float*>(block) + f * step,
                                  weights,
                                  sums + f * sums_step + output,
                                  product.inputs,
                                  product.pitch,
                                  output_pitch};
      if (vectors == 1) multiply_squares_of<1>(part, tiles, UpToTiles<1>{});
      if (vectors == 2) multiply_squares_of<2>(part, tiles, UpToTiles<2>{});
      if (kVectors > 2 && vectors == 3)
        multiply_squares_of<kVectors>(part, tiles, UpToTiles<kVectors>{});
      weights += static_cast<long>(product.inputs) * vectors * kLanes;
    }
    output += vectors * kLanes;
    left -= vectors;
  }
}

template <Finish Kind, bool Whole>
inline void finish_square(const float* sums, long step, int outputs, const Epilogue& epilogue,
                          long first, int channel, float* const* out, long pixel) {
  Vec across[4][6];
#pragma GCC unroll 6
  for (int column = 0; column < 6; ++column) {
    Vec m[6], made[4];
#pragma GCC unroll 6
    for (int row = 0; row < 6; ++row) m[row] = load_any(sums + (6 * row + column) * step);
    to_outputs(m, Vec{}, made);
#pragma GCC unroll 4
    for (int row = 0; row < 4; ++row) across[row][column] = made[row];
  }
  const Vec bias = load_any(epilogue.bias + channel);
#pragma GCC unroll 4
  for (int row = 0; row < 4; ++row) {
    Vec made[4];
    to_outputs(across[row], bias, made);
    const float* residual = epilogue.residual[row];
    if (residual) residual += first * epilogue.residual_pixel + channel;
    float* to = out[row] + first * pixel + channel;
#pragma GCC unroll 4
    for (int column = 0; column < 4; ++column) {
      const Vec value = finished<Kind>(made[column], epilogue, residual, channel);
      if (Whole)
        store_any(to, value);
      else
        store_first(to, value, outputs - channel);
      to += pixel;
      if (residual) residual += epilogue.residual_pixel;
    }
  }
}

template <Finish Kind>
void finish_squares_as(const float* sums, int tiles, int outputs, const Epilogue& epilogue,
                       float* const* out, long pixel) {
  const int pitch = round_up(outputs, kLanes);
  const long step = square_step(tiles, pitch);
  for (int tile = 0; tile < tiles; ++tile, sums += pitch) {
    const long first = static_cast<long>(tile) * kTileColumns;
    int channel = 0;
    for (; channel + kLanes <= outputs; channel += kLanes)
      finish_square<Kind, true>(sums + channel, step, outputs, epilogue, first, channel, out,
                                pixel);
    if (channel < outputs)
      finish_square<Kind, false>(sums + channel, step, outputs, epilogue, first, channel, out,
                                 pixel);
  }
}

void finish_layer(const float* sums, int tiles, int outputs, const Epilogue& epilogue,
                  float* const* out, long pixel) {
  constexpr decltype(&finish_squares_as<Finish::plain>) table[] = {
      finish_squares_as<Finish::plain>,      finish_squares_as<Finish::relu>,
      finish_squares_as<Finish::added>,      finish_squares_as<Finish::added_relu>,
      finish_squares_as<Finish::relu_added>, finish_squares_as<Finish::other>};
  table[static_cast<int>(finish_of(epilogue))](sums, tiles, outputs, epilogue, out, pixel);
}
