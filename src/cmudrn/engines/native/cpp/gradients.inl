// Winograd's convolutions in training, in float: weights that change with every step, and their
// gradients. A part of layers.inl, behind squares.inl.
//
// With y = A'[(G w G') * (B'd B)]A for the transforms of squares.inl (a prime transposes), a
// gradient g of y gives dw = G'[(B'd B) * (A g A')]G, summed over all tiles before G (Lavin and
// Gray, Fast Algorithms for Convolutional Neural Networks, 2016, for F(4,3)).

// Three taps -> six frequencies, and the transpose.
inline void taps_to_frequencies(const Vec t[3], Vec made[6]) {
  const Vec even = -2.f / 3 * t[0] - 1.f / 3 * t[2], odd = -kRoot / 3 * t[1];
  const Vec even2 = 1.f / 6 * t[0] + 1.f / 3 * t[2], odd2 = kRoot / 6 * t[1];
  made[0] = t[0];
  made[1] = even + odd;
  made[2] = even - odd;
  made[3] = even2 + odd2;
  made[4] = even2 - odd2;
  made[5] = t[2];
}

inline void frequencies_to_taps(const Vec m[6], Vec made[3]) {
  const Vec sum = m[1] + m[2], sum2 = m[3] + m[4];
  made[0] = m[0] - 2.f / 3 * sum + 1.f / 6 * sum2;
  made[1] = kRoot / 3 * (m[2] - m[1]) + kRoot / 6 * (m[3] - m[4]);
  made[2] = m[5] - 1.f / 3 * sum + 1.f / 3 * sum2;
}

// Four gradients of outputs -> six frequencies: the transpose of to_outputs.
inline void outputs_to_frequencies(const Vec g[4], Vec made[6]) {
  const Vec even = g[0] + .5f * g[2], odd = kHalfRoot * g[1] + .5f * kHalfRoot * g[3];
  const Vec even2 = g[0] + 2.f * g[2], odd2 = kRoot * g[1] + 2.f * kRoot * g[3];
  made[0] = g[0];
  made[1] = even + odd;
  made[2] = even - odd;
  made[3] = even2 + odd2;
  made[4] = even2 - odd2;
  made[5] = g[3];
}

inline Vec load_first(const float* from, int count) {
  if (count >= kLanes) return load_any(from);
  float lanes[kLanes] = {};
  __builtin_memcpy(lanes, from, static_cast<size_t>(count) * sizeof(float));
  return load_any(lanes);
}

void pack_taps(const float* taps, int inputs, int outputs, float* packed) {
  const long tap = static_cast<long>(inputs) * outputs;
  const int pitch = round_up(outputs, kLanes);
  for (int left = pitch / kLanes, first = 0; left > 0;) {
    const int vectors = together(left, kVectors), width = vectors * kLanes;
    for (int input = 0; input < inputs; ++input)
      for (int v = 0; v < vectors; ++v) {
        const int output = first + v * kLanes;
        const float* from = taps + static_cast<long>(input) * outputs + output;
        Vec down[6][3];
#pragma GCC unroll 3
        for (int column = 0; column < 3; ++column) {
          Vec t[3], made[6];
          for (int row = 0; row < 3; ++row)
            t[row] = load_first(from + (3 * row + column) * tap, outputs - output);
          taps_to_frequencies(t, made);
#pragma GCC unroll 6
          for (int row = 0; row < 6; ++row) down[row][column] = made[row];
        }
        float* to = packed + static_cast<long>(input) * width + v * kLanes;
#pragma GCC unroll 6
        for (int row = 0; row < 6; ++row) {
          Vec made[6];
          taps_to_frequencies(down[row], made);
          for (int column = 0; column < 6; ++column)
            store_any(to + static_cast<long>(6 * row + column) * inputs * width, made[column]);
        }
      }
    packed += static_cast<long>(kSquareFrequencies) * inputs * width;
    first += width;
    left -= vectors;
  }
}

void unpack_taps(const float* const* sums, int parts, int inputs, int outputs, float* taps) {
  const long tap = static_cast<long>(inputs) * outputs;
  const int pitch = round_up(outputs, kLanes);
  for (int input = 0; input < inputs; ++input)
    for (int output = 0; output < outputs; output += kLanes) {
      const long at = static_cast<long>(input) * pitch + output;
      Vec across[6][3];
      for (int row = 0; row < 6; ++row) {
        Vec m[6];
        for (int column = 0; column < 6; ++column) {
          const long frequency = static_cast<long>(6 * row + column) * inputs * pitch;
          m[column] = load_any(sums[0] + frequency + at);
          for (int part = 1; part < parts; ++part)
            m[column] += load_any(sums[part] + frequency + at);
        }
        frequencies_to_taps(m, across[row]);
      }
      for (int column = 0; column < 3; ++column) {
        Vec m[6], made[3];
        for (int row = 0; row < 6; ++row) m[row] = across[row][column];
        frequencies_to_taps(m, made);
        for (int row = 0; row < 3; ++row)
          store_first(taps + (3 * row + column) * tap + static_cast<long>(input) * outputs + output,
                      made[row], outputs - output);
      }
    }
}

void transform_gradient(const WinogradInput& gradient, long step, float* to) {
  for (int tile = 0; tile < gradient.tiles; ++tile) {
    const long at = static_cast<long>(tile) * kTileColumns * gradient.pixel;
    for (int channel = 0; channel < gradient.channels; channel += kLanes) {
      Vec down[6][4];
#pragma GCC unroll 4
      for (int column = 0; column < 4; ++column) {
        Vec g[4], made[6];
#pragma GCC unroll 4
        for (int row = 0; row < 4; ++row)
          g[row] = load_any(gradient.rows[row] + at + column * gradient.pixel + channel);
        outputs_to_frequencies(g, made);
#pragma GCC unroll 6
        for (int row = 0; row < 6; ++row) down[row][column] = made[row];
      }
      float* here = to + static_cast<long>(tile) * gradient.pitch + channel;
#pragma GCC unroll 6
      for (int row = 0; row < 6; ++row) {
        Vec made[6];
        outputs_to_frequencies(down[row], made);
#pragma GCC unroll 6
        for (int column = 0; column < 6; ++column)
          store(here + (6 * row + column) * step, made[column]);
      }
    }
  }
}

// Adds the products of some inputs with some vectors of gradients, over all tiles, to their sums.
template <int Inputs, int Vectors>
inline void correlate_some(const Correlation& c, const float* block, const float* gradients,
                           float* sums) {
  Vec total[Inputs][Vectors];
#pragma GCC unroll 4
  for (int i = 0; i < Inputs; ++i)
#pragma GCC unroll 3
    for (int v = 0; v < Vectors; ++v)
      total[i][v] = load(sums + static_cast<long>(i) * c.gradient_pitch + v * kLanes);
  for (int tile = 0; tile < c.tiles; ++tile) {
    Vec factors[Vectors];
#pragma GCC unroll 3
    for (int v = 0; v < Vectors; ++v) factors[v] = load(gradients + v * kLanes);
#pragma GCC unroll 4
    for (int i = 0; i < Inputs; ++i) {
      const Vec value = Vec{} + block[i];
#pragma GCC unroll 3
      for (int v = 0; v < Vectors; ++v) total[i][v] += factors[v] * value;
    }
    block += c.pitch;
    gradients += c.gradient_pitch;
  }
#pragma GCC unroll 4
  for (int i = 0; i < Inputs; ++i)
#pragma GCC unroll 3
    for (int v = 0; v < Vectors; ++v)
      store(sums + static_cast<long>(i) * c.gradient_pitch + v * kLanes, total[i][v]);
}

template <int Vectors>
void correlate_vectors(const Correlation& c, const float* block, const float* gradients,
                       float* sums) {
  int input = 0;
  for (; input + 4 <= c.inputs; input += 4)
    correlate_some<4, Vectors>(c, block + input, gradients,
                               sums + static_cast<long>(input) * c.gradient_pitch);
  for (; input < c.inputs; ++input)
    correlate_some<1, Vectors>(c, block + input, gradients,
                               sums + static_cast<long>(input) * c.gradient_pitch);
}

void correlate_layer(const Correlation& c, const float* block, const float* gradients,
                     float* sums) {
  for (int left = c.gradient_pitch / kLanes, output = 0; left > 0;) {
    const int vectors = together(left, 3);
    if (vectors == 1) correlate_vectors<1>(c, block, gradients + output, sums + output);
    if (vectors == 2) correlate_vectors<2>(c, block, gradients + output, sums + output);
    if (vectors == 3) correlate_vectors<3>(c, block, gradients + output, sums + output);
    output += vectors * kLanes;
    left -= vectors;
  }
}

// Both branches' factors of some channels: factors[to][from].
struct Factors {
  Vec of[2][2];

  Factors(const float* matrix, int channels, int first, int count) {
    for (int to = 0; to < 2; ++to)
      for (int from = 0; from < 2; ++from)
        of[to][from] = load_first(matrix + (2 * to + from) * channels + first, count);
  }
};

void mix_pixels(const float* maps, const float* matrix, long pixels, int channels, float* made) {
  for (int first = 0; first < channels; first += kLanes) {
    const int count = channels - first < kLanes ? channels - first : kLanes;
    const Factors factors(matrix, channels, first, count);
    const float* from = maps + first;
    float* to = made + first;
    for (long pixel = 0; pixel < pixels; ++pixel, from += 2 * channels, to += 2 * channels) {
      const Vec a = load_first(from, count), b = load_first(from + channels, count);
      store_first(to, factors.of[0][0] * a + factors.of[0][1] * b, count);
      store_first(to + channels, factors.of[1][0] * a + factors.of[1][1] * b, count);
    }
  }
}

void mix_gradient(const float* maps, const float* gradient, const float* matrix, long pixels,
                  int channels, float* of_maps, float* of_matrix) {
  for (int first = 0; first < channels; first += kLanes) {
    const int count = channels - first < kLanes ? channels - first : kLanes;
    const Factors factors(matrix, channels, first, count);
    Vec sums[2][2] = {};
    for (long pixel = 0; pixel < pixels; ++pixel) {
      const long at = 2L * channels * pixel + first;
      const Vec a = load_first(maps + at, count), b = load_first(maps + at + channels, count);
      const Vec to_a = load_first(gradient + at, count);
      const Vec to_b = load_first(gradient + at + channels, count);
      store_first(of_maps + at, factors.of[0][0] * to_a + factors.of[1][0] * to_b, count);
      store_first(of_maps + at + channels, factors.of[0][1] * to_a + factors.of[1][1] * to_b,
                  count);
      sums[0][0] += to_a * a;
      sums[0][1] += to_a * b;
      sums[1][0] += to_b * a;
      sums[1][1] += to_b * b;
    }
    for (int to = 0; to < 2; ++to)
      for (int from = 0; from < 2; ++from) {
        float* sum = of_matrix + (2 * to + from) * channels + first;
        store_first(sum, load_first(sum, count) + sums[to][from], count);
      }
  }
}

const TrainingKernels kTraining = {pack_taps,          unpack_taps,     transform_tiles,
                                   transform_gradient, correlate_layer, mix_pixels,
                                   mix_gradient};
