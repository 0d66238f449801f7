// Winograd's convolution of bfloat16 numbers, F(2,3) down and F(4,3) across, as in kernels.h:
// larger tiles would round too much. A part of layers.inl.

#if defined(CMUDRN_BF16) && defined(__aarch64__)
inline void store_frequency(Stored* to, Vec value) {
  vst1_bf16(reinterpret_cast<bfloat16_t*>(to), vcvt_bf16_f32(value));
}
#elif defined(CMUDRN_BF16) && !defined(CMUDRN_ANY_CPU)
inline void store_frequency(Stored* to, Vec value) {
  const __m256bh rounded = _mm512_cvtneps_pbh(reinterpret_cast<__m512>(value));
  _mm256_storeu_si256(reinterpret_cast<__m256i_u*>(to), reinterpret_cast<__m256i>(rounded));
}
#elif defined(CMUDRN_BF16)
inline void store_frequency(Stored* to, Vec value) {
  const auto bits = reinterpret_cast<const std::uint32_t*>(&value);
  for (int lane = 0; lane < kLanes; ++lane)
    *to++ = static_cast<Stored>((bits[lane] + 0x7fff + ((bits[lane] >> 16) & 1)) >> 16);
}
#endif

// Six columns -> six frequencies across, as transform_across, for any number of channels.
inline void transform_columns(const Vec d[6], Stored* to, long step, int pitch) {
  const Vec even = d[4] - 4.f * d[2], odd = d[3] - 4.f * d[1];
  const Vec even2 = d[4] - d[2], odd2 = d[3] - d[1];
  store_frequency(to, 4.f * (d[0] - d[2]) + even2);
  store_frequency(to + pitch, (d[5] - d[3]) - 4.f * odd2);
  store_frequency(to + step, even + odd);
  store_frequency(to + step + pitch, even - odd);
  store_frequency(to + 2 * step, even2 + 2.f * odd2);
  store_frequency(to + 2 * step + pitch, even2 - 2.f * odd2);
}

// All frequencies of one tile and one vector of channels; `rows` are at its first column, 1 to the
// left of the tile.
inline void transform_at_once(const float* const rows[kDown], long pixel, Stored* to, long step,
                              int pitch) {
  Vec d[kDown][6];
#pragma GCC unroll 6
  for (int column = 0; column < 6; ++column) {
    const long at = column * pixel;
    const Vec row1 = load_any(rows[1] + at), row2 = load_any(rows[2] + at);
    d[0][column] = row1 + row2;
    d[1][column] = row2 - row1;
    d[2][column] = load_any(rows[0] + at) - row2;
    d[3][column] = load_any(rows[3] + at) - row1;
  }
#pragma GCC unroll 4
  for (int down = 0; down < kDown; ++down)
    transform_columns(d[down], to + down * step, kDown * step, pitch);
}

void transform_layer(const WinogradInput& input, void* block) {
  const int tiles = input.tiles, channels = input.channels, pitch = input.pitch;
  const long step = block_step(tiles, pitch), pixel = input.pixel;
  for (int tile = 0; tile < tiles; ++tile) {
    const long at = (static_cast<long>(tile) * kTileColumns - 1) * pixel;
    const float* rows[kDown];
#pragma GCC unroll 4
    for (int row = 0; row < kDown; ++row) rows[row] = input.rows[row] + at;
    Stored* to = static_cast<Stored*>(block) + 2L * tile * pitch;
    for (int channel = 0; channel < channels; channel += kLanes, to += kLanes) {
      transform_at_once(rows, pixel, to, step, pitch);
#pragma GCC unroll 4
      for (int row = 0; row < kDown; ++row) rows[row] += kLanes;
    }
  }
}

// Some vectors of outputs of one frequency across.
struct AcrossProduct {
  const Stored* block;
  const Stored* weights;
  const Stored* mean;  // what rounding took from the mean's weights; nullptr: not this frequency
  const float* bias;   // nullptr: not this frequency
  long step;           // from one frequency of the block to the next
  long tile_step;
  long frequency;  // numbers of weights in one frequency
  int inputs;
  float* sums;
  long row;  // from one of the two rows of sums to the other
  int output_pitch;
};

// F(2,3) makes two rows of four products: m0 + m1 + m2 and m0 - m1 + m3. One frequency at a time,
// so that the registers hold many tiles and weights are loaded for all of them.
template <int Tiles, int Vectors>
void multiply_some(const AcrossProduct& p) {
  Vec sums[Tiles][Vectors];
  const auto each = [&](auto&& change) {
#pragma GCC unroll 12
    for (int tile = 0; tile < Tiles; ++tile)
#pragma GCC unroll 3
      for (int v = 0; v < Vectors; ++v)
        change(sums[tile][v], p.sums + static_cast<long>(tile) * p.output_pitch + v * kLanes, v);
  };
  const auto add = [&](int down) {
    add_frequency(sums, p.block + down * p.step, p.tile_step, p.weights + down * p.frequency,
                  p.inputs);
  };
  if (p.bias)
    each([&](Vec& sum, float*, int v) { sum = load_any(p.bias + v * kLanes); });
  else
    each([](Vec& sum, float*, int) { sum = Vec{}; });
  add(0);
  if (kRounds && p.mean) add_frequency(sums, p.block, p.tile_step, p.mean, p.inputs);
  each([](Vec& sum, float* to, int) {
    store_any(to, sum);
    sum = Vec{};
  });
  add(1);
  each([&](Vec& sum, float* to, int) {
    const Vec first = load_any(to);
    store_any(to + p.row, first - sum);
    sum += first;
  });
  add(2);
  each([&](Vec& sum, float* to, int) {
    store_any(to, sum);
    sum = load_any(to + p.row);
  });
  add(3);
  each([&](Vec& sum, float* to, int) { store_any(to + p.row, sum); });
}

using MultiplySome = void (*)(const AcrossProduct&);

template <int Vectors, int... Less>
void multiply_row(AcrossProduct p, int tiles, std::integer_sequence<int, Less...>) {
  constexpr MultiplySome table[] = {multiply_some<Less + 1, Vectors>...};
  for (int left = tiles; left > 0;) {
    const int some = together(left, sizeof...(Less));
    table[some - 1](p);
    left -= some;
    p.block += some * p.tile_step;
    p.sums += static_cast<long>(some) * p.output_pitch;
  }
}

void multiply_layer(const void* block, const WinogradProduct& product, float* sums) {
  const int output_pitch = round_up(product.outputs, kLanes), tiles = product.tiles;
  const long row = static_cast<long>(tiles) * output_pitch;
  const long step = block_step(tiles, product.pitch);
  const auto* weights = static_cast<const Stored*>(product.weights);
  for (int left = output_pitch / kLanes, output = 0; left > 0;) {
    const int vectors = together(left, kVectors);
    const long frequency = static_cast<long>(product.inputs) * vectors * kLanes;
    for (int across = 0; across < kAcross; ++across) {
      const Stored* from = static_cast<const Stored*>(block) + across / 2 * kDown * step +
                           across % 2 * product.pitch;
      const AcrossProduct part = {
          from,
          weights + across * kDown * frequency,
          kRounds && across == kMean / kDown ? weights + kFrequencies * frequency : nullptr,
          across == kEverywhere ? product.bias + output : nullptr,
          step,
          2L * product.pitch,
          frequency,
          product.inputs,
          sums + 2 * across * row + output,
          row,
          output_pitch};
      if (vectors == 1) multiply_row<1>(part, tiles, UpToTiles<1>{});
      if (vectors == 2) multiply_row<2>(part, tiles, UpToTiles<2>{});
      if (kVectors > 2 && vectors == 3) multiply_row<kVectors>(part, tiles, UpToTiles<kVectors>{});
    }
    weights += (kFrequencies + (kRounds ? 1 : 0)) * frequency;
    output += vectors * kLanes;
    left -= vectors;
  }
}

template <Finish Kind, bool Whole>
inline void finish_vectors(const float* from, long step, int outputs, const Epilogue& epilogue,
                           const float* residual, int channel, float* out, long pixel) {
  const Vec s2 = load_any(from + 2 * step), s3 = load_any(from + 3 * step);
  const Vec s4 = load_any(from + 4 * step), s5 = load_any(from + 5 * step);
  const Vec add1 = s2 + s3, sub1 = s2 - s3, add2 = s4 + s5, sub2 = s4 - s5;
  const Vec y[4] = {load_any(from) + add1 + add2, sub1 + 2.f * sub2, add1 + 4.f * add2,
                    load_any(from + step) + sub1 + 8.f * sub2};
#pragma GCC unroll 4
  for (int column = 0; column < 4; ++column) {
    const Vec value = finished<Kind>(y[column], epilogue, residual, channel);
    if (Whole)
      store_any(out, value);
    else
      store_first(out, value, outputs - channel);
    out += pixel;
    if (residual) residual += epilogue.residual_pixel;
  }
}

template <Finish Kind>
void finish_tiles(const float* sums, int tiles, int outputs, const Epilogue& epilogue,
                  float* const* out, long pixel) {
  const int pitch = round_up(outputs, kLanes);
  const long row = static_cast<long>(tiles) * pitch;
  for (int tile = 0; tile < tiles; ++tile) {
    const long first = static_cast<long>(tile) * kTileColumns;
    for (int i = 0; i < kTileRows; ++i) {
      const float* from = sums + i * row + static_cast<long>(tile) * pitch;
      const float* residual = epilogue.residual[i];
      if (residual) residual += first * epilogue.residual_pixel;
      float* to = out[i] + first * pixel;
      const auto added = [&](int channel) { return residual ? residual + channel : nullptr; };
      int channel = 0;
      for (; channel + kLanes <= outputs; channel += kLanes)
        finish_vectors<Kind, true>(from + channel, 2 * row, outputs, epilogue, added(channel),
                                   channel, to + channel, pixel);
      if (channel < outputs)
        finish_vectors<Kind, false>(from + channel, 2 * row, outputs, epilogue, added(channel),
                                    channel, to + channel, pixel);
    }
  }
}

void finish_layer(const float* sums, int tiles, int outputs, const Epilogue& epilogue,
                  float* const* out, long pixel) {
  constexpr decltype(&finish_tiles<Finish::plain>) table[] = {
      finish_tiles<Finish::plain>,      finish_tiles<Finish::relu>,
      finish_tiles<Finish::added>,      finish_tiles<Finish::added_relu>,
      finish_tiles<Finish::relu_added>, finish_tiles<Finish::other>};
  table[static_cast<int>(finish_of(epilogue))](sums, tiles, outputs, epilogue, out, pixel);
}
