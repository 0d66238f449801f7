// The bodies of LayerKernels, included behind kernels.inl by every kernels_*.cpp.

typedef float LooseVec
    __attribute__((vector_size(CMUDRN_LANES * sizeof(float)), aligned(4), may_alias));

inline Vec load_any(const float* from) { return *reinterpret_cast<const LooseVec*>(from); }

inline void store_any(float* to, Vec value) { *reinterpret_cast<LooseVec*>(to) = value; }

// Stores the first `count` lanes.
inline void store_first(float* to, Vec value, int count) {
  if (count >= kLanes) return store_any(to, value);
#if CMUDRN_LANES == 16
  typedef float Half __attribute__((vector_size(32), aligned(4), may_alias));
  if (count == 8) {
    *reinterpret_cast<Half*>(to) = __builtin_shufflevector(value, value, 0, 1, 2, 3, 4, 5, 6, 7);
    return;
  }
#endif
  float lanes[kLanes];
  __builtin_memcpy(lanes, &value, sizeof lanes);
  const float* from = lanes;
#pragma GCC unroll 4
  for (int part = 8; part >= 1; part /= 2) {
    if (part >= kLanes || !(count & part)) continue;
    __builtin_memcpy(to, from, static_cast<size_t>(part) * sizeof(float));
    to += part;
    from += part;
  }
}

// The kinds of Epilogue that have code of their own; all others share one.
enum class Finish : int { plain, relu, added, added_relu, relu_added, other };

inline Finish finish_of(const Epilogue& epilogue) {
  const bool residual = epilogue.residual[0] || epilogue.residual[1];
  if (epilogue.activation == Activation::none) return residual ? Finish::added : Finish::plain;
  if (epilogue.activation != Activation::relu) return Finish::other;
  if (!residual) return Finish::relu;
  return epilogue.add_first ? Finish::added_relu : Finish::relu_added;
}

// `residual` is at the value's first channel; nullptr where there is none.
template <Finish Kind>
inline Vec finished(Vec value, const Epilogue& epilogue, const float* residual, int channel) {
  constexpr bool adds = Kind != Finish::plain && Kind != Finish::relu;
  const Vec added = adds && residual ? load_any(residual) : Vec{};
  const bool first = Kind == Finish::added || Kind == Finish::added_relu ||
                     (Kind == Finish::other && epilogue.add_first);
  if (first) value += added;
  if (Kind == Finish::other) {
    const Vec zero{};
    value = value > zero ? value : value * load_any(epilogue.slopes + channel);
  } else if (Kind != Finish::plain && Kind != Finish::added) {
    value = rectified(value);
  }
  return adds && !first ? value + added : value;
}

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
#else
inline void store_frequency(Stored* to, Vec value) { store(to, value); }
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

// The same for one frequency down: inputs are loaded twice, but what is between loads and stores
// fits sixteen registers.
template <class Join>
inline void transform_down(const float* first, const float* second, long pixel, Stored* to,
                           long step, int pitch, Join join) {
  Vec d[6];
#pragma GCC unroll 6
  for (int column = 0; column < 6; ++column)
    d[column] = join(load_any(first + column * pixel), load_any(second + column * pixel));
  transform_columns(d, to, kDown * step, pitch);
}

void transform_layer(const WinogradInput& input, void* block) {
  constexpr bool few_registers = kSums < 16;
  const int tiles = input.tiles, channels = input.channels, pitch = input.pitch;
  const long step = block_step(tiles, pitch), pixel = input.pixel;
  for (int tile = 0; tile < tiles; ++tile) {
    const long at = (static_cast<long>(tile) * kTileColumns - 1) * pixel;
    const float* rows[kDown];
#pragma GCC unroll 4
    for (int row = 0; row < kDown; ++row) rows[row] = input.rows[row] + at;
    Stored* to = static_cast<Stored*>(block) + 2L * tile * pitch;
    for (int channel = 0; channel < channels; channel += kLanes, to += kLanes) {
      if (few_registers) {
        const auto add = [](Vec a, Vec b) { return a + b; };
        const auto subtract = [](Vec a, Vec b) { return a - b; };
        transform_down(rows[1], rows[2], pixel, to, step, pitch, add);
        transform_down(rows[2], rows[1], pixel, to + step, step, pitch, subtract);
        transform_down(rows[0], rows[2], pixel, to + 2 * step, step, pitch, subtract);
        transform_down(rows[3], rows[1], pixel, to + 3 * step, step, pitch, subtract);
      } else {
        transform_at_once(rows, pixel, to, step, pitch);
      }
#pragma GCC unroll 4
      for (int row = 0; row < kDown; ++row) rows[row] += kLanes;
    }
  }
}

// Adds weights x inputs of one frequency. The heart: all sums stay in registers, and there are
// enough of them that no multiply-add waits for the one before it.
template <int Tiles, int Vectors>
inline void add_frequency(Vec (&sums)[Tiles][Vectors], const Stored* block, long tile_step,
                          const Stored* weights, int inputs) {
  int input = 0;
#if defined(CMUDRN_BY_LANE)
  const Stored* rows[Vectors];
  for (int v = 0; v < Vectors; ++v) rows[v] = weights + v * kLanes * kTogether;
  input = add_whole_vectors(sums, block, tile_step, rows, Vectors * kLanes * kTogether, inputs);
#endif
  for (; input < inputs; input += kTogether) {
    const Stored* row = weights + static_cast<long>(input) * Vectors * kLanes;
    Weights factors[Vectors];
#pragma GCC unroll 3
    for (int v = 0; v < Vectors; ++v)
      factors[v] = *reinterpret_cast<const Weights*>(row + v * kLanes * kTogether);
#pragma GCC unroll 12
    for (int tile = 0; tile < Tiles; ++tile) {
      const Weights value = spread(block + input + tile * tile_step);
#pragma GCC unroll 3
      for (int v = 0; v < Vectors; ++v)
        sums[tile][v] = multiply_add(sums[tile][v], factors[v], value);
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

template <int Vectors>
using UpToTiles = std::make_integer_sequence<int, tiles_together(kSums, Vectors)>;

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
                  float* const out[2], long pixel) {
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
                  float* const out[2], long pixel) {
  constexpr decltype(&finish_tiles<Finish::plain>) table[] = {
      finish_tiles<Finish::plain>,      finish_tiles<Finish::relu>,
      finish_tiles<Finish::added>,      finish_tiles<Finish::added_relu>,
      finish_tiles<Finish::relu_added>, finish_tiles<Finish::other>};
  table[static_cast<int>(finish_of(epilogue))](sums, tiles, outputs, epilogue, out, pixel);
}

#include "combine.inl"
#include "direct.inl"
