// The body of every kernels_*.cpp. The including file sets CMUDRN_LANES (floats in a vector) and
// CMUDRN_TILES (tiles in a block) and switches the compiler to its instruction set.

typedef float Vec __attribute__((vector_size(CMUDRN_LANES * sizeof(float)), may_alias));

constexpr int kLanes = CMUDRN_LANES;

#if defined(CMUDRN_BF16)
typedef std::uint16_t Stored;  // what transformed blocks and weights are kept in
#else
typedef float Stored;
#endif

inline Vec load(const float* from) { return *reinterpret_cast<const Vec*>(from); }

inline void store(float* to, Vec value) { *reinterpret_cast<Vec*>(to) = value; }

#if defined(CMUDRN_BF16)
typedef std::int32_t Pairs __attribute__((vector_size(CMUDRN_LANES * sizeof(float)), may_alias));

#if defined(CMUDRN_ANY_CPU)  // the same in plain vectors; for tests
inline void store(Stored* to, Vec value) {
  const auto bits = reinterpret_cast<const std::uint32_t*>(&value);
  for (int lane = 0; lane < kLanes; ++lane)
    to[lane] = static_cast<Stored>((bits[lane] + 0x7fff + ((bits[lane] >> 16) & 1)) >> 16);
}

inline Vec dot_pairs(Vec sum, Pairs weights, Pairs values) {
  const Pairs high = {-65536, -65536, -65536, -65536, -65536, -65536, -65536, -65536,
                      -65536, -65536, -65536, -65536, -65536, -65536, -65536, -65536};
  const auto float_of = [](Pairs bits) { return reinterpret_cast<Vec>(bits); };
  sum += float_of(weights & high) * float_of(values & high);
  const auto low = [](Pairs bits) {
    for (int lane = 0; lane < kLanes; ++lane)
      bits[lane] = static_cast<std::int32_t>(static_cast<std::uint32_t>(bits[lane]) << 16);
    return bits;
  };
  return sum + float_of(low(weights)) * float_of(low(values));
}
#else
inline void store(Stored* to, Vec value) {
  _mm256_store_si256(reinterpret_cast<__m256i*>(to),
                     reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(reinterpret_cast<__m512>(value))));
}

inline Vec dot_pairs(Vec sum, Pairs weights, Pairs values) {
  return reinterpret_cast<Vec>(_mm512_dpbf16_ps(reinterpret_cast<__m512>(sum),
                                                reinterpret_cast<__m512bh>(weights),
                                                reinterpret_cast<__m512bh>(values)));
}
#endif
#endif

inline Vec rectified(Vec value) {
  const Vec zero{};
  return value > zero ? value : zero;
}

// One of the four combinations of input rows that F(2,3) needs, for a column of a tile.
template <int Down>
inline Vec down(const float* const rows[4], long at) {
  if constexpr (Down == 0) return load(rows[0] + at) - load(rows[2] + at);
  if constexpr (Down == 1) return load(rows[1] + at) + load(rows[2] + at);
  if constexpr (Down == 2) return load(rows[2] + at) - load(rows[1] + at);
  if constexpr (Down == 3) return load(rows[1] + at) - load(rows[3] + at);
}

template <int Down>
inline void transform_across(const float* const rows[4], long at, Stored* to, long step) {
  Vec d[6];
#pragma GCC unroll 6
  for (int column = 0; column < 6; ++column) d[column] = down<Down>(rows, at + (column - 1) * kChannels);
  const Vec even = d[4] - 4.f * d[2], odd = d[3] - 4.f * d[1];
  const Vec even2 = d[4] - d[2], odd2 = 2.f * (d[3] - d[1]);
  store(to, 4.f * d[0] + (d[4] - 5.f * d[2]));
  store(to + step, even + odd);
  store(to + 2 * step, even - odd);
  store(to + 3 * step, even2 + odd2);
  store(to + 4 * step, even2 - odd2);
  store(to + 5 * step, 4.f * d[1] + (d[5] - 5.f * d[3]));
}

void transform(const float* const rows[4], int tiles, int channels, void* block) {
  const long step = static_cast<long>(tiles) * kChannels;
  for (int tile = 0; tile < tiles; ++tile) {
    for (int channel = 0; channel < channels; channel += kLanes) {
      const long at = static_cast<long>(tile) * kTileColumns * kChannels + channel;
      Stored* to = static_cast<Stored*>(block) + static_cast<long>(tile) * kChannels + channel;
      transform_across<0>(rows, at, to, step);
      transform_across<1>(rows, at, to + 6 * step, step);
      transform_across<2>(rows, at, to + 12 * step, step);
      transform_across<3>(rows, at, to + 18 * step, step);
    }
  }
}

#if defined(CMUDRN_BF16)
// The heart: a sum for each tile stays in its register over all pairs of input channels.
template <int Tiles, int Vectors>
void multiply_block(const Stored* block, const Stored* weights, int inputs, float* products) {
  static_assert(Vectors == 1, "a vector holds all channels");
  const int pairs = (inputs + 1) / 2;
  for (int frequency = 0; frequency < kFrequencies; ++frequency) {
    Vec sums[Tiles] = {};
    for (int pair = 0; pair < pairs; ++pair) {
      const Pairs weight = *reinterpret_cast<const Pairs*>(weights + 2 * pair * kChannels);
#pragma GCC unroll 16
      for (int tile = 0; tile < Tiles; ++tile) {
        std::int32_t value;
        __builtin_memcpy(&value, block + tile * kChannels + 2 * pair, sizeof value);
        sums[tile] = dot_pairs(sums[tile], weight, Pairs{} + value);
      }
    }
#pragma GCC unroll 16
    for (int tile = 0; tile < Tiles; ++tile) store(products + tile * kChannels, sums[tile]);
    block += Tiles * kChannels;
    products += Tiles * kChannels;
    weights += kChannels * kChannels;
  }
}
#else
// The heart: Tiles x Vectors sums stay in registers over all input channels.
template <int Tiles, int Vectors>
void multiply_block(const Stored* block, const Stored* weights, int inputs, float* products) {
  for (int frequency = 0; frequency < kFrequencies; ++frequency) {
    Vec sums[Tiles][Vectors] = {};
    for (int input = 0; input < inputs; ++input) {
      Vec weight[Vectors];
#pragma GCC unroll 4
      for (int v = 0; v < Vectors; ++v) weight[v] = load(weights + input * kChannels + v * kLanes);
#pragma GCC unroll 16
      for (int tile = 0; tile < Tiles; ++tile) {
#pragma GCC unroll 4
        for (int v = 0; v < Vectors; ++v) sums[tile][v] += weight[v] * block[tile * kChannels + input];
      }
    }
#pragma GCC unroll 16
    for (int tile = 0; tile < Tiles; ++tile) {
#pragma GCC unroll 4
      for (int v = 0; v < Vectors; ++v) store(products + tile * kChannels + v * kLanes, sums[tile][v]);
    }
    block += Tiles * kChannels;
    products += Tiles * kChannels;
    weights += kChannels * kChannels;
  }
}
#endif

using Multiply = void (*)(const Stored*, const Stored*, int, float*);

template <int Vectors, int... Tiles>
constexpr Multiply pick(int tiles, std::integer_sequence<int, Tiles...>) {
  constexpr Multiply table[] = {multiply_block<Tiles + 1, Vectors>...};
  return table[tiles - 1];
}

void multiply(const void* block, const void* weights, int tiles, int inputs, int outputs,
              float* products) {
  constexpr int whole = kChannels / kLanes, half = (whole + 1) / 2;
  constexpr auto every = std::make_integer_sequence<int, CMUDRN_TILES>{};
  const bool narrow = outputs <= half * kLanes;
  const Multiply chosen = narrow ? pick<half>(tiles, every) : pick<whole>(tiles, every);
  chosen(static_cast<const Stored*>(block), static_cast<const Stored*>(weights), inputs, products);
}

// Six sums across -> the four outputs of one row of a tile.
inline void finish_row(const Vec s[6], Vec bias, bool rectify, const float* residual, float* out) {
  const Vec add1 = s[1] + s[2], sub1 = s[1] - s[2], add2 = s[3] + s[4], sub2 = s[3] - s[4];
  Vec y[4] = {bias + s[0] + add1 + add2, bias + sub1 + 2.f * sub2, bias + add1 + 4.f * add2,
              bias + s[5] + sub1 + 8.f * sub2};
#pragma GCC unroll 4
  for (int column = 0; column < 4; ++column) {
    if (rectify) y[column] = rectified(y[column]);
    if (residual) y[column] += load(residual + column * kChannels);
    store(out + column * kChannels, y[column]);
  }
}

void finish(const float* products, int tiles, int outputs, const float* bias, bool rectify,
            const float* const residual[2], float* const out[2]) {
  const long step = static_cast<long>(tiles) * kChannels;
  for (int tile = 0; tile < tiles; ++tile) {
    for (int channel = 0; channel < outputs; channel += kLanes) {
      const float* m = products + static_cast<long>(tile) * kChannels + channel;
      Vec top[6], bottom[6];
#pragma GCC unroll 6
      for (int across = 0; across < 6; ++across, m += step) {
        const Vec m1 = load(m + 6 * step), m2 = load(m + 12 * step);
        top[across] = load(m) + m1 + m2;
        bottom[across] = m1 - m2 - load(m + 18 * step);
      }
      const long at = static_cast<long>(tile) * kTileColumns * kChannels + channel;
      const Vec b = load(bias + channel);
      finish_row(top, b, rectify, residual ? residual[0] + at : nullptr, out[0] + at);
      finish_row(bottom, b, rectify, residual ? residual[1] + at : nullptr, out[1] + at);
    }
  }
}

void stitch(float* const* maps, int count, int kept, const float* matrix, int pixels) {
  for (int pixel = 0; pixel < pixels; ++pixel) {
    for (int channel = 0; channel < kChannels; channel += kLanes) {
      const long at = static_cast<long>(pixel) * kChannels + channel;
      Vec before[kMostBranches];
      for (int j = 0; j < count; ++j) before[j] = load(maps[j] + at);
      for (int i = 0; i < kept; ++i) {
        const float* row = matrix + static_cast<long>(i) * count * kChannels + channel;
        Vec sum = load(row) * before[0];
        for (int j = 1; j < count; ++j) sum += load(row + j * kChannels) * before[j];
        store(maps[i] + at, sum);
      }
    }
  }
}

double peak(long rounds) {
  constexpr int chains = 12;
  Vec sums[chains] = {};
  const Vec one = Vec{} + 1.f;
  for (long round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
    for (int chain = 0; chain < chains; ++chain) {
#if defined(CMUDRN_BF16)
      sums[chain] = dot_pairs(sums[chain], reinterpret_cast<Pairs>(one), reinterpret_cast<Pairs>(one));
#else
      sums[chain] = sums[chain] * one + one;
#endif
      // Hides the value from the optimiser, and keeps it in its register.
      asm volatile("" : CMUDRN_IN_REGISTER(sums[chain]));
    }
  }
  return (sizeof(float) / sizeof(Stored)) * 2.0 * kLanes * chains * static_cast<double>(rounds);
}
