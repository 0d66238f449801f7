// The body of every kernels_*.cpp. The including file sets CMUDRN_LANES (floats in a vector) and
// CMUDRN_TILES (four times as many sums fit the registers, beside some weights), CMUDRN_VECTORS (of
// outputs that layers compute together) and switches the compiler to its instruction set.

typedef float Vec __attribute__((vector_size(CMUDRN_LANES * sizeof(float)), may_alias));

constexpr int kLanes = CMUDRN_LANES;
constexpr int kTiles = CMUDRN_TILES;
constexpr int kVectors = CMUDRN_VECTORS;
constexpr int kSums = 4 * kTiles;
constexpr int kEverywhere = 2;  // the frequency across whose product is in every output of a tile

inline Vec load(const float* from) { return *reinterpret_cast<const Vec*>(from); }

inline void store(float* to, Vec value) { *reinterpret_cast<Vec*>(to) = value; }

// What transformed blocks and weights are kept in, and the three things that are done with it:
// storing two vectors side by side; one tile's next inputs, spread to every lane; weights x inputs.
#if defined(CMUDRN_BF16)
constexpr bool kRounds = true;
typedef std::uint16_t Stored;
typedef std::int32_t Weights __attribute__((vector_size(CMUDRN_LANES * sizeof(float)), may_alias));

inline Weights spread(const Stored* pair) {
  std::int32_t bits;
  __builtin_memcpy(&bits, pair, sizeof bits);
  return Weights{} + bits;
}

#if defined(CMUDRN_ANY_CPU)  // the same in plain vectors; for tests
inline void store_two(Stored* to, Vec first, Vec second) {
  for (const Vec& value : {first, second}) {
    const auto bits = reinterpret_cast<const std::uint32_t*>(&value);
    for (int lane = 0; lane < kLanes; ++lane)
      *to++ = static_cast<Stored>((bits[lane] + 0x7fff + ((bits[lane] >> 16) & 1)) >> 16);
  }
}

inline Vec multiply_add(Vec sum, Weights weights, Weights inputs) {
  const auto half = [](Weights pairs, int shift) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const auto bits = static_cast<std::uint32_t>(pairs[lane]);
      pairs[lane] = static_cast<std::int32_t>(bits >> shift << 16);
    }
    return reinterpret_cast<Vec>(pairs);
  };
  return sum + half(weights, 16) * half(inputs, 16) + half(weights, 0) * half(inputs, 0);
}
#elif defined(__aarch64__)
inline void store_two(Stored* to, Vec first, Vec second) {
  vst1_bf16(reinterpret_cast<bfloat16_t*>(to), vcvt_bf16_f32(first));
  vst1_bf16(reinterpret_cast<bfloat16_t*>(to + kChannels), vcvt_bf16_f32(second));
}

inline Vec multiply_add(Vec sum, Weights weights, Weights inputs) {
  return vbfdotq_f32(sum, reinterpret_cast<bfloat16x8_t>(weights),
                     reinterpret_cast<bfloat16x8_t>(inputs));
}

template <int Lane>
inline Vec multiply_add_lane(Vec sum, Weights weights, Weights inputs) {
  return vbfdotq_laneq_f32(sum, reinterpret_cast<bfloat16x8_t>(weights),
                           reinterpret_cast<bfloat16x8_t>(inputs), Lane);
}
#else
inline void store_two(Stored* to, Vec first, Vec second) {
  _mm512_store_si512(to, reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(
                             reinterpret_cast<__m512>(second), reinterpret_cast<__m512>(first))));
}

inline Vec multiply_add(Vec sum, Weights weights, Weights inputs) {
  return reinterpret_cast<Vec>(_mm512_dpbf16_ps(reinterpret_cast<__m512>(sum),
                                                reinterpret_cast<__m512bh>(weights),
                                                reinterpret_cast<__m512bh>(inputs)));
}
#endif
#else
constexpr bool kRounds = false;
typedef float Stored;
typedef Vec Weights;

inline Weights spread(const Stored* input) { return *input - Weights{}; }

inline void store_two(Stored* to, Vec first, Vec second) {
  store(to, first);
  store(to + kChannels, second);
}

inline Vec multiply_add(Vec sum, Weights weights, Weights inputs) { return sum + weights * inputs; }

#if defined(CMUDRN_BY_LANE)
template <int Lane>
inline Vec multiply_add_lane(Vec sum, Weights weights, Weights inputs) {
  return vfmaq_laneq_f32(sum, weights, inputs, Lane);
}
#endif
#endif

constexpr int kTogether = sizeof(float) / sizeof(Stored);  // bfloat16 numbers go in pairs

#if defined(CMUDRN_BY_LANE)
typedef Weights LooseWeights __attribute__((aligned(2), may_alias));

// The products of the inputs in one lane of a vector, for all tiles; then of the next lanes.
template <int Lane, int Tiles, int Vectors>
inline void add_lanes(Vec (&sums)[Tiles][Vectors], const Weights (&values)[Tiles],
                      const Stored* const (&weights)[Vectors], long step) {
  if constexpr (Lane < kLanes) {
    Weights factors[Vectors];
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; ++v)
      factors[v] = *reinterpret_cast<const LooseWeights*>(weights[v] + Lane * step);
#pragma GCC unroll 12
    for (int tile = 0; tile < Tiles; ++tile)
#pragma GCC unroll 2
      for (int v = 0; v < Vectors; ++v)
        sums[tile][v] = multiply_add_lane<Lane>(sums[tile][v], factors[v], values[tile]);
    add_lanes<Lane + 1>(sums, values, weights, step);
  }
}

// Adds the products of as many whole vectors of inputs as there are, and returns how many inputs
// those are. `tile_step` is from one tile's inputs to the next one's, `step` from one input's (or
// pair's) weights to the next one's.
template <int Tiles, int Vectors>
inline int add_whole_vectors(Vec (&sums)[Tiles][Vectors], const Stored* from, long tile_step,
                             const Stored* const (&weights)[Vectors], long step, int inputs) {
  constexpr int count = kLanes * kTogether;
  int input = 0;
  for (; input + count <= inputs; input += count) {
    Weights values[Tiles];
#pragma GCC unroll 12
    for (int tile = 0; tile < Tiles; ++tile)
      values[tile] = *reinterpret_cast<const LooseWeights*>(from + tile * tile_step + input);
    const Stored* here[Vectors];
    for (int v = 0; v < Vectors; ++v) here[v] = weights[v] + input / kTogether * step;
    add_lanes<0>(sums, values, here, step);
  }
  return input;
}
#endif

inline Vec rectified(Vec value) {
  const Vec zero{};
  return value > zero ? value : zero;
}

// Six columns -> six frequencies across; `step` is from one pair of frequencies to the next.
inline void transform_across(const Vec d[6], Stored* to, long step) {
  const Vec even = d[4] - 4.f * d[2], odd = d[3] - 4.f * d[1];
  const Vec even2 = d[4] - d[2], odd2 = d[3] - d[1];
  store_two(to, 4.f * (d[0] - d[2]) + even2, (d[5] - d[3]) - 4.f * odd2);
  store_two(to + step, even + odd, even - odd);
  store_two(to + 2 * step, even2 + 2.f * odd2, even2 - 2.f * odd2);
}

void transform(const float* const rows[4], int tiles, int channels, void* block) {
  const long step = 2L * tiles * kChannels;
  for (int tile = 0; tile < tiles; ++tile) {
    for (int channel = 0; channel < channels; channel += kLanes) {
      const long at = static_cast<long>(tile) * kTileColumns * kChannels + channel;
      Vec d[kDown][6];
#pragma GCC unroll 6
      for (int column = 0; column < 6; ++column) {
        const long from = at + (column - 1) * kChannels;
        const Vec row1 = load(rows[1] + from), row2 = load(rows[2] + from);
        d[0][column] = row1 + row2;
        d[1][column] = row2 - row1;
        d[2][column] = load(rows[0] + from) - row2;
        d[3][column] = load(rows[3] + from) - row1;
      }
      Stored* to = static_cast<Stored*>(block) + 2L * tile * kChannels + channel;
#pragma GCC unroll 4
      for (int down = 0; down < kDown; ++down)
        transform_across(d[down], to + down * step, kDown * step);
    }
  }
}

// Some output channels of a convolution: as many as a vector holds.
struct Column {
  const Stored* weights;
  const float* bias;
  float* sums;
};

// Adds weights x inputs to the sums of some frequencies. The heart: all sums stay in registers, and
// there are enough of them that no multiply-add waits for the one before it.
template <int Frequencies, int Tiles, int Vectors>
inline void add_products(Vec (&sums)[2][Tiles][Vectors], const Stored* block, long step,
                         const Column* columns, long weight, int inputs) {
  int first = 0;
#if defined(CMUDRN_BY_LANE)
#pragma GCC unroll 2
  for (int f = 0; f < Frequencies; ++f) {
    const Stored* weights[Vectors];
    for (int v = 0; v < Vectors; ++v)
      weights[v] = columns[v].weights + weight + f * kChannels * kChannels;
    first = add_whole_vectors(sums[f], block + f * step, 2 * kChannels, weights,
                              kChannels * kTogether, inputs);
  }
#endif
  for (int input = first; input < inputs; input += kTogether) {
#pragma GCC unroll 2
    for (int f = 0; f < Frequencies; ++f) {
      const Stored* from = block + f * step + input;
      const long at = weight + (f * kChannels + input) * kChannels;
      Weights weights[Vectors];
#pragma GCC unroll 2
      for (int v = 0; v < Vectors; ++v)
        weights[v] = *reinterpret_cast<const Weights*>(columns[v].weights + at);
#pragma GCC unroll 12
      for (int tile = 0; tile < Tiles; ++tile) {
        const Weights value = spread(from + 2 * tile * kChannels);
#pragma GCC unroll 2
        for (int v = 0; v < Vectors; ++v)
          sums[f][tile][v] = multiply_add(sums[f][tile][v], weights[v], value);
      }
    }
  }
}

// Some tiles of a block, beginning at `block` and at offset `to` of the sums; the block has
// `tiles` tiles. F(2,3) makes two rows of four products: m0 + m1 + m2 and m0 - m1 + m3. The last
// two products are added to sums that already are those rows.
template <int Tiles, int Vectors>
void multiply_tiles(const Stored* block, const Column* columns, int tiles, int inputs, long to) {
  const long row = static_cast<long>(tiles) * kChannels, step = 2 * row;
  constexpr long frequency = kChannels * kChannels;
  for (int across = 0; across < kAcross; ++across) {
    Vec sums[2][Tiles][Vectors] = {};
    if (across == kEverywhere)
#pragma GCC unroll 12
      for (int tile = 0; tile < Tiles; ++tile)
#pragma GCC unroll 2
        for (int v = 0; v < Vectors; ++v) sums[0][tile][v] = load(columns[v].bias);
    const Stored* from = block + across / 2 * kDown * step + across % 2 * kChannels;
    const long weight = across * kDown * frequency;
    add_products<2>(sums, from, step, columns, weight, inputs);
    if (kRounds && across == kMean / kDown)
      add_products<1>(sums, from, step, columns, kFrequencies * frequency, inputs);
#pragma GCC unroll 12
    for (int tile = 0; tile < Tiles; ++tile) {
#pragma GCC unroll 2
      for (int v = 0; v < Vectors; ++v) {
        const Vec m0 = sums[0][tile][v], m1 = sums[1][tile][v];
        sums[0][tile][v] = m0 + m1;
        sums[1][tile][v] = m0 - m1;
      }
    }
    add_products<2>(sums, from + 2 * step, step, columns, weight + 2 * frequency, inputs);
#pragma GCC unroll 12
    for (int tile = 0; tile < Tiles; ++tile) {
#pragma GCC unroll 2
      for (int v = 0; v < Vectors; ++v) {
        float* sum = columns[v].sums + to + 2 * across * row + tile * kChannels;
        store(sum, sums[0][tile][v]);
        store(sum + row, sums[1][tile][v]);
      }
    }
  }
}

using MultiplyTiles = void (*)(const Stored*, const Column*, int, int, long);

// Runs through a block in groups of at most as many tiles as the registers hold.
template <int Vectors, int... Less>
void multiply_columns(const Stored* block, const Column* columns, int tiles, int inputs,
                      std::integer_sequence<int, Less...>) {
  constexpr MultiplyTiles table[] = {multiply_tiles<Less + 1, Vectors>...};
  constexpr int most = sizeof...(Less);
  for (int tile = 0; tile < tiles; tile += most) {
    const MultiplyTiles chosen = table[(tiles - tile < most ? tiles - tile : most) - 1];
    chosen(block + 2 * tile * kChannels, columns, tiles, inputs, tile * kChannels);
  }
}

void multiply(const void* block, const Product* products, int count, int tiles, int inputs,
              int outputs) {
  Column columns[kMostBranches * kChannels / kLanes];
  int left = 0;
  for (int i = 0; i < count; ++i)
    for (int output = 0; output < outputs; output += kLanes)
      columns[left++] = {static_cast<const Stored*>(products[i].weights) + output * kTogether,
                         products[i].bias + output, products[i].sums + output};
  const Column* column = columns;
  const Stored* from = static_cast<const Stored*>(block);
  for (; left >= 2; left -= 2, column += 2)
    multiply_columns<2>(from, column, tiles, inputs, std::make_integer_sequence<int, kTiles>{});
  if (left == 1)
    multiply_columns<1>(from, column, tiles, inputs, std::make_integer_sequence<int, 2 * kTiles>{});
}

// Six sums across -> the four outputs of one row of a tile; `step` is from one sum to the next.
inline void finish_row(const float* sums, long step, bool rectify, const float* residual,
                       float* out) {
  const Vec s2 = load(sums + 2 * step), s3 = load(sums + 3 * step);
  const Vec s4 = load(sums + 4 * step), s5 = load(sums + 5 * step);
  const Vec add1 = s2 + s3, sub1 = s2 - s3, add2 = s4 + s5, sub2 = s4 - s5;
  Vec y[4] = {load(sums) + add1 + add2, sub1 + 2.f * sub2, add1 + 4.f * add2,
              load(sums + step) + sub1 + 8.f * sub2};
#pragma GCC unroll 4
  for (int column = 0; column < 4; ++column) {
    if (rectify) y[column] = rectified(y[column]);
    if (residual) y[column] += load(residual + column * kChannels);
    store(out + column * kChannels, y[column]);
  }
}

template <bool Rectify, bool Residual>
void finish_block(const float* sums, int tiles, int outputs, const float* const residual[2],
                  float* const out[2]) {
  const long row = static_cast<long>(tiles) * kChannels;
  for (int tile = 0; tile < tiles; ++tile) {
    for (int channel = 0; channel < outputs; channel += kLanes) {
      const long from = static_cast<long>(tile) * kChannels + channel;
      const long to = static_cast<long>(tile) * kTileColumns * kChannels + channel;
      for (int i = 0; i < kTileRows; ++i)
        finish_row(sums + i * row + from, 2 * row, Rectify, Residual ? residual[i] + to : nullptr,
                   out[i] + to);
    }
  }
}

void finish(const float* sums, int tiles, int outputs, bool rectify, const float* const residual[2],
            float* const out[2]) {
  if (rectify && residual) return finish_block<true, true>(sums, tiles, outputs, residual, out);
  if (rectify) return finish_block<true, false>(sums, tiles, outputs, residual, out);
  if (residual) return finish_block<false, true>(sums, tiles, outputs, residual, out);
  return finish_block<false, false>(sums, tiles, outputs, residual, out);
}

template <int Count>
void stitch_maps(float* const* maps, int kept, const float* matrix, int pixels) {
  for (int channel = 0; channel < kChannels; channel += kLanes) {
    Vec weights[Count][Count];
    for (int i = 0; i < Count; ++i)
      for (int j = 0; j < Count; ++j)
        weights[i][j] = load(matrix + static_cast<long>(i * Count + j) * kChannels + channel);
    for (int pixel = 0; pixel < pixels; ++pixel) {
      const long at = static_cast<long>(pixel) * kChannels + channel;
      Vec before[Count];
#pragma GCC unroll 4
      for (int j = 0; j < Count; ++j) before[j] = load(maps[j] + at);
#pragma GCC unroll 4
      for (int i = 0; i < Count; ++i) {
        if (i == kept) break;
        Vec sum = weights[i][0] * before[0];
#pragma GCC unroll 4
        for (int j = 1; j < Count; ++j) sum += weights[i][j] * before[j];
        store(maps[i] + at, sum);
      }
    }
  }
}

void stitch(float* const* maps, int count, int kept, const float* matrix, int pixels) {
  static_assert(kMostBranches == 4);
  constexpr decltype(&stitch_maps<1>) table[] = {stitch_maps<1>, stitch_maps<2>, stitch_maps<3>,
                                                 stitch_maps<4>};
  table[count - 1](maps, kept, matrix, pixels);
}

double peak(long rounds) {
  constexpr int chains = 12;
  Vec sums[chains] = {};
  auto one = reinterpret_cast<Weights>(Vec{} + 1.f);
  asm volatile("" : CMUDRN_IN_REGISTER(one));  // hides the value from the optimiser
  for (long round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
    for (int chain = 0; chain < chains; ++chain) {
      sums[chain] = multiply_add(sums[chain], one, one);
      asm volatile("" : CMUDRN_IN_REGISTER(sums[chain]));
    }
  }
  return kTogether * 2.0 * kLanes * chains * static_cast<double>(rounds);
}
