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

inline Vec finished(Vec value, const Epilogue& epilogue, int row, long pixel, int channel) {
  const float* residual = epilogue.residual[row];
  const Vec added =
      residual ? load_any(residual + pixel * epilogue.residual_pixel + channel) : Vec{};
  if (epilogue.add_first) value += added;
  if (epilogue.activation == Activation::relu) value = rectified(value);
  if (epilogue.activation == Activation::slope) {
    const Vec zero{};
    value = value > zero ? value : value * load_any(epilogue.slopes + channel);
  }
  return epilogue.add_first ? value : value + added;
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

void transform_layer(const WinogradInput& input, void* block) {
  const long step = 2L * input.tiles * input.pitch;
  for (int tile = 0; tile < input.tiles; ++tile) {
    for (int channel = 0; channel < input.channels; channel += kLanes) {
      const long at = static_cast<long>(tile) * kTileColumns * input.pixel + channel;
      Vec d[kDown][6];
#pragma GCC unroll 6
      for (int column = 0; column < 6; ++column) {
        const long from = at + (column - 1) * input.pixel;
        const Vec row1 = load_any(input.rows[1] + from), row2 = load_any(input.rows[2] + from);
        d[0][column] = row1 + row2;
        d[1][column] = row2 - row1;
        d[2][column] = load_any(input.rows[0] + from) - row2;
        d[3][column] = load_any(input.rows[3] + from) - row1;
      }
      Stored* to = static_cast<Stored*>(block) + 2L * tile * input.pitch + channel;
#pragma GCC unroll 4
      for (int down = 0; down < kDown; ++down)
        transform_columns(d[down], to + down * step, kDown * step, input.pitch);
    }
  }
}

// As add_products: `step` is from one frequency of the block to the next, `frequency` of weights.
template <int Frequencies, int Tiles, int Vectors>
inline void add_frequencies(Vec (&sums)[2][Tiles][Vectors], const Stored* block, long step,
                            long tile_step, const Stored* weights, long frequency, int inputs) {
  int first = 0;
#if defined(CMUDRN_BY_LANE)
#pragma GCC unroll 2
  for (int f = 0; f < Frequencies; ++f) {
    const Stored* rows[Vectors];
    for (int v = 0; v < Vectors; ++v) rows[v] = weights + f * frequency + v * kLanes * kTogether;
    first = add_whole_vectors(sums[f], block + f * step, tile_step, rows,
                              Vectors * kLanes * kTogether, inputs);
  }
#endif
  for (int input = first; input < inputs; input += kTogether) {
#pragma GCC unroll 2
    for (int f = 0; f < Frequencies; ++f) {
      const Stored* from = block + f * step + input;
      const Stored* row = weights + f * frequency + input * Vectors * kLanes;
      Weights factors[Vectors];
#pragma GCC unroll 2
      for (int v = 0; v < Vectors; ++v)
        factors[v] = *reinterpret_cast<const Weights*>(row + v * kLanes * kTogether);
#pragma GCC unroll 12
      for (int tile = 0; tile < Tiles; ++tile) {
        const Weights value = spread(from + tile * tile_step);
#pragma GCC unroll 2
        for (int v = 0; v < Vectors; ++v)
          sums[f][tile][v] = multiply_add(sums[f][tile][v], factors[v], value);
      }
    }
  }
}

// One pair of vectors of outputs (or the last one alone) of one frequency across.
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

// See multiply_tiles: two rows of four products down, of which the last two are added in place.
template <int Tiles, int Vectors>
void multiply_some(const AcrossProduct& p) {
  Vec sums[2][Tiles][Vectors] = {};
  if (p.bias)
#pragma GCC unroll 12
    for (int tile = 0; tile < Tiles; ++tile)
#pragma GCC unroll 2
      for (int v = 0; v < Vectors; ++v) sums[0][tile][v] = load_any(p.bias + v * kLanes);
  add_frequencies<2>(sums, p.block, p.step, p.tile_step, p.weights, p.frequency, p.inputs);
  if (kRounds && p.mean)
    add_frequencies<1>(sums, p.block, p.step, p.tile_step, p.mean, p.frequency, p.inputs);
#pragma GCC unroll 12
  for (int tile = 0; tile < Tiles; ++tile) {
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; ++v) {
      const Vec m0 = sums[0][tile][v], m1 = sums[1][tile][v];
      sums[0][tile][v] = m0 + m1;
      sums[1][tile][v] = m0 - m1;
    }
  }
  add_frequencies<2>(sums, p.block + 2 * p.step, p.step, p.tile_step, p.weights + 2 * p.frequency,
                     p.frequency, p.inputs);
#pragma GCC unroll 12
  for (int tile = 0; tile < Tiles; ++tile) {
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; ++v) {
      float* sum = p.sums + static_cast<long>(tile) * p.output_pitch + v * kLanes;
      store_any(sum, sums[0][tile][v]);
      store_any(sum + p.row, sums[1][tile][v]);
    }
  }
}

using MultiplySome = void (*)(const AcrossProduct&);

template <int Vectors, int... Less>
void multiply_row(AcrossProduct p, int tiles, std::integer_sequence<int, Less...>) {
  constexpr MultiplySome table[] = {multiply_some<Less + 1, Vectors>...};
  constexpr int most = sizeof...(Less);
  for (int tile = 0; tile < tiles; tile += most) {
    table[(tiles - tile < most ? tiles - tile : most) - 1](p);
    p.block += most * p.tile_step;
    p.sums += static_cast<long>(most) * p.output_pitch;
  }
}

void multiply_layer(const void* block, const WinogradProduct& product, float* sums) {
  const int output_pitch = round_up(product.outputs, kLanes), tiles = product.tiles;
  const long row = static_cast<long>(tiles) * output_pitch;
  const long step = 2L * tiles * product.pitch;
  const auto* weights = static_cast<const Stored*>(product.weights);
  for (int output = 0; output < product.outputs; output += 2 * kLanes) {
    const int vectors = product.outputs - output > kLanes ? 2 : 1;
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
      if (vectors == 2)
        multiply_row<2>(part, tiles, std::make_integer_sequence<int, kTiles>{});
      else
        multiply_row<1>(part, tiles, std::make_integer_sequence<int, 2 * kTiles>{});
    }
    weights += (kFrequencies + (kRounds ? 1 : 0)) * frequency;
  }
}

void finish_layer(const float* sums, int tiles, int outputs, const Epilogue& epilogue,
                  float* const out[2], long pixel) {
  const int pitch = round_up(outputs, kLanes);
  const long row = static_cast<long>(tiles) * pitch, step = 2 * row;
  for (int tile = 0; tile < tiles; ++tile) {
    for (int channel = 0; channel < outputs; channel += kLanes) {
      for (int i = 0; i < kTileRows; ++i) {
        const float* from = sums + i * row + static_cast<long>(tile) * pitch + channel;
        const Vec s2 = load_any(from + 2 * step), s3 = load_any(from + 3 * step);
        const Vec s4 = load_any(from + 4 * step), s5 = load_any(from + 5 * step);
        const Vec add1 = s2 + s3, sub1 = s2 - s3, add2 = s4 + s5, sub2 = s4 - s5;
        const Vec y[4] = {load_any(from) + add1 + add2, sub1 + 2.f * sub2, add1 + 4.f * add2,
                          load_any(from + step) + sub1 + 8.f * sub2};
        const long first = static_cast<long>(tile) * kTileColumns;
#pragma GCC unroll 4
        for (int column = 0; column < 4; ++column)
          store_first(out[i] + (first + column) * pixel + channel,
                      finished(y[column], epilogue, i, first + column, channel), outputs - channel);
      }
    }
  }
}

template <int Pixels, int Vectors>
void convolve_some(const DirectInput& input, long first, const float* weights, const float* bias,
                   int outputs, const Epilogue& epilogue, int channel, float* out, long pixel) {
  const long step = input.stride * input.pixel;
  Vec sums[Pixels][Vectors];
#pragma GCC unroll 12
  for (int x = 0; x < Pixels; ++x)
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; ++v) sums[x][v] = load_any(bias + channel + v * kLanes);
  for (int ky = 0; ky < input.kernel; ++ky) {
    for (int kx = 0; kx < input.kernel; ++kx) {
      const float* from = input.rows[ky] + first * step + kx * input.pixel;
      int in = 0;
#if defined(CMUDRN_BY_LANE) && !defined(CMUDRN_BF16)
      const float* vectors[Vectors];
      for (int v = 0; v < Vectors; ++v) vectors[v] = weights + v * kLanes;
      in = add_whole_vectors(sums, from, step, vectors, Vectors * kLanes, input.inputs);
      weights += in * Vectors * kLanes;
#endif
      for (; in < input.inputs; ++in, weights += Vectors * kLanes) {
        Vec factors[Vectors];
#pragma GCC unroll 2
        for (int v = 0; v < Vectors; ++v) factors[v] = load(weights + v * kLanes);
#pragma GCC unroll 12
        for (int x = 0; x < Pixels; ++x) {
          const Vec value = from[x * step + in] - Vec{};
#pragma GCC unroll 2
          for (int v = 0; v < Vectors; ++v) sums[x][v] += factors[v] * value;
        }
      }
    }
  }
#pragma GCC unroll 12
  for (int x = 0; x < Pixels; ++x)
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; ++v) {
      const int at = channel + v * kLanes;
      store_first(out + (first + x) * pixel + at, finished(sums[x][v], epilogue, 0, first + x, at),
                  outputs - at);
    }
}

using ConvolveSome = void (*)(const DirectInput&, long, const float*, const float*, int,
                              const Epilogue&, int, float*, long);

template <int Vectors, int... Less>
void convolve_pixels(const DirectInput& input, const float* weights, const float* bias, int outputs,
                     const Epilogue& epilogue, int channel, int count, float* out, long pixel,
                     std::integer_sequence<int, Less...>) {
  constexpr ConvolveSome table[] = {convolve_some<Less + 1, Vectors>...};
  constexpr int most = sizeof...(Less);
  for (int x = 0; x < count; x += most)
    table[(count - x < most ? count - x : most) - 1](input, x, weights, bias, outputs, epilogue,
                                                     channel, out, pixel);
}

void convolve_layer(const DirectInput& input, const float* weights, const float* bias, int outputs,
                    const Epilogue& epilogue, int count, float* out, long pixel) {
  const long taps = static_cast<long>(input.kernel) * input.kernel * input.inputs;
  for (int channel = 0; channel < outputs; channel += 2 * kLanes) {
    const int vectors = outputs - channel > kLanes ? 2 : 1;
    if (vectors == 2)
      convolve_pixels<2>(input, weights, bias, outputs, epilogue, channel, count, out, pixel,
                         std::make_integer_sequence<int, 2 * kTiles>{});
    else
      convolve_pixels<1>(input, weights, bias, outputs, epilogue, channel, count, out, pixel,
                         std::make_integer_sequence<int, 2 * kTiles>{});
    weights += taps * vectors * kLanes;
  }
}

inline Vec activated(Vec value, Activation activation, const float* slopes) {
  const Vec zero{};
  switch (activation) {
    case Activation::relu:
      return rectified(value);
    case Activation::slope:
      return value > zero ? value : value * load_any(slopes);
    case Activation::gelu:
      for (int lane = 0; lane < kLanes; ++lane)
        value[lane] *= 0.5f * (1 + std::erf(value[lane] * 0.70710678f));
      return value;
    case Activation::sigmoid:
      for (int lane = 0; lane < kLanes; ++lane) value[lane] = 1 / (1 + std::exp(-value[lane]));
      return value;
    default:
      return value;
  }
}

// Walks along the pixels that a combination reads.
struct Walk {
  const float* at;
  long phase, wrap;  // to the next read of the same pixel; from its last read to the next pixel
  int reads, up;

  void begin(const CombineSource& source, int x) {
    at = source.row + static_cast<long>(x / source.up) * source.down * source.pixel +
         x % source.up * source.phase;
    phase = source.phase;
    wrap = source.down * source.pixel - (source.up - 1) * source.phase;
    reads = x % source.up;
    up = source.up;
  }

  void advance() {
    const bool last = ++reads == up;
    at += last ? wrap : phase;
    if (last) reads = 0;
  }
};

template <int Count>
void combine_some(const CombineSource* sources, bool product, const float* bias,
                  Activation activation, const float* slopes, int first, int pixels, int channels,
                  float* out, long pixel) {
  Walk walks[Count];
  for (int j = 0; j < Count; ++j) walks[j].begin(sources[j], first);
  for (int x = 0; x < pixels; ++x, out += pixel) {
    for (int channel = 0; channel < channels; channel += kLanes) {
      Vec sum = bias ? load_any(bias + channel) : Vec{};
#pragma GCC unroll 4
      for (int j = 0; j < Count; ++j) {
        const Vec value = load_any(walks[j].at + channel);
        const float* weights = sources[j].weights;
        if (product)
          sum = j == 0 ? value : sum * value;
        else
          sum += weights ? load_any(weights + channel) * value : value;
      }
      const float* factors = slopes ? slopes + channel : nullptr;
      store_first(out + channel, activated(sum, activation, factors), channels - channel);
    }
#pragma GCC unroll 4
    for (int j = 0; j < Count; ++j) walks[j].advance();
  }
}

void combine_layer(const CombineSource* sources, int count, bool product, const float* bias,
                   Activation activation, const float* slopes, int first, int pixels, int channels,
                   float* out, long pixel) {
  static_assert(kMaxSources == 4);
  constexpr decltype(&combine_some<1>) table[] = {combine_some<1>, combine_some<2>, combine_some<3>,
                                                  combine_some<4>};
  table[count - 1](sources, product, bias, activation, slopes, first, pixels, channels, out, pixel);
}
