// The shares of what fusion over time may take, for rows of squares: features in whole numbers, and
// a perceptron of them. Included once for every instruction set; all give the same as the NumPy
// code of `restoration/temporal_fusion.py`: sums of whole numbers are exact in any order, and no
// float is multiplied and then added, which compilers would do in one step that rounds once.

inline Int least(Int a, Int b) { return a < b ? a : b; }
inline Int most(Int a, Int b) { return a < b ? b : a; }
inline Int apart(Int a, Int b) { return a < b ? b - a : a - b; }

inline void order(Int& low, Int& high) {
  const Int a = low, b = high;
  low = least(a, b);
  high = most(a, b);
}

inline void order_five(Int& a, Int& b, Int& c, Int& d, Int& e) {
  order(a, b), order(d, e), order(c, e), order(c, d), order(b, e);
  order(a, d), order(a, c), order(b, d), order(b, c);
}

inline Int squashed(float mean) {
  const float size = mean < 0 ? -mean : mean;
  return static_cast<Int>(mean * kUnit / (size + kHalf));
}

inline Int share_of(Int value) {
  const float size = static_cast<float>(value);
  return static_cast<Int>(size * kUnit / (size + kDiffers));
}

// Moves sums on to row `y`, or begins them there.
void add_rows(const Sums& sums, int y, int rows, int columns) {
  const std::ptrdiff_t plane = static_cast<std::ptrdiff_t>(rows) * columns;
  for (int n = 0; n < sums.planes; ++n) {
    const Small* values = sums.values + n * plane;
    Int* __restrict total = sums.columns + static_cast<std::ptrdiff_t>(n) * columns;
    if (y == 0) {
      std::fill(total, total + columns, 0);
      for (int line = -sums.reach; line <= sums.reach; ++line) {
        const Small* row = values + static_cast<std::ptrdiff_t>(clamp(line, rows)) * columns;
        for (int x = 0; x < columns; ++x) total[x] += row[x];
      }
      continue;
    }
    const Small* last = values + static_cast<std::ptrdiff_t>(clamp(y + sums.reach, rows)) * columns;
    const Small* gone =
        values + static_cast<std::ptrdiff_t>(clamp(y - 1 - sums.reach, rows)) * columns;
    for (int x = 0; x < columns; ++x) total[x] += last[x] - gone[x];
  }
}

// The sums of 2 `Reach` + 1 values each. An index that is an int may wrap where a Python is built
// with -fwrapv, and its loop is then no vector.
template <int Reach>
void add_neighbours(const Int* __restrict line, std::ptrdiff_t columns, Int* __restrict result) {
  for (std::ptrdiff_t x = 0; x < columns; ++x) {
    Int sum = line[x];
#pragma GCC unroll 12
    for (std::ptrdiff_t k = 1; k <= 2 * Reach; ++k) sum += line[x + k];
    result[x] = sum;
  }
}

// The sums of one plane over 2 reach + 1 columns as well; `line` holds a row and its borders.
void add_columns_around(const Sums& sums, int n, int columns, Int* __restrict line,
                        Int* __restrict result) {
  const Int* total = sums.columns + static_cast<std::ptrdiff_t>(n) * columns;
  const int reach = sums.reach;
  for (int x = 0; x < reach; ++x) line[x] = total[0];
  std::copy(total, total + columns, line + reach);
  for (int x = 0; x < reach; ++x) line[reach + columns + x] = total[columns - 1];
  (reach == kBeside ? add_neighbours<kBeside>
   : reach == kNear ? add_neighbours<kNear>
   : reach == kWide ? add_neighbours<kWide>
                    : add_neighbours<kFar>)(line, columns, result);
}

inline float area_of(int reach) { return static_cast<float>((2 * reach + 1) * (2 * reach + 1)); }

void squash_row(const Int* __restrict sums, int reach, int columns, Small* __restrict to) {
  const float area = area_of(reach);
  for (int x = 0; x < columns; ++x)
    to[x] = static_cast<Small>(squashed(static_cast<float>(sums[x]) / area));
}

void average_row(const Int* __restrict sums, int reach, int columns, Small* __restrict to) {
  const float area = area_of(reach);
  for (int x = 0; x < columns; ++x) to[x] = static_cast<Small>(static_cast<float>(sums[x]) / area);
}

// Fills `count` rows with the lowest of four rows each.
void least_rows(const Small* four, int columns, int count, Small* __restrict to) {
  const Small *two = four + columns, *three = two + columns, *last = three + columns;
  Small *second = to + columns, *third = count > 2 ? second + columns : second;
  for (int x = 0; x < columns; ++x) {
    Int a = four[x], b = two[x], c = three[x], d = last[x];
    order(a, b), order(c, d), order(a, c), order(b, d), order(b, c);
    to[x] = static_cast<Small>(a);
    third[x] = static_cast<Small>(c);
    second[x] = static_cast<Small>(b);
  }
}

// Sorts the values of five rows at each place.
void order_rows(Int* rows, int columns) {
  Int *one = rows, *two = one + columns, *three = two + columns, *four = three + columns,
      *five = four + columns;
#pragma GCC ivdep
  for (int x = 0; x < columns; ++x) {
    Int a = one[x], b = two[x], c = three[x], d = four[x], e = five[x];
    order_five(a, b, c, d, e);
    one[x] = a, two[x] = b, three[x] = c, four[x] = d, five[x] = e;
  }
}

// Fills one row of the statistics, and of the features that need no neighbours (15 rows).
// `memory` holds 19 rows.
void look_at_row(const float* const* means, const float* differences, int current, int y, int rows,
                 int columns, const Statistics& out, Int* memory, Small* points) {
  const std::ptrdiff_t plane = static_cast<std::ptrdiff_t>(rows) * columns;
  const std::ptrdiff_t at = static_cast<std::ptrdiff_t>(y) * columns;
  const auto row = [&](int n) { return memory + static_cast<std::ptrdiff_t>(n) * columns; };
  const auto low = [&](int n) { return row(n); };
  const auto level = [&](int n) { return row(kFrames + n); };
  Int *seen = row(15), *now = row(16), *hue = row(17), *odd = row(18), *middle = level(2),
      *hues = row(2 * kFrames + 2);
  for (int n = 0; n < kFrames; ++n)
    for (int kind = 0; kind < 3; ++kind) {
      const float* values = means[n] + kind * plane + at;
      Int* __restrict to = row(kind * kFrames + n);
      for (int x = 0; x < columns; ++x)
        to[x] = static_cast<Int>(__builtin_nearbyintf(values[x] * kUnits));
      if (n == current) std::copy(to, to + columns, row(15 + kind));
    }
  for (int n = 0, k = 0; n < kFrames; ++n) {
    if (n == current) continue;
    const Int *other = level(n), *raw = low(n);
    Small *levels = out.others + k * plane + at, *raws = out.raw + k++ * plane + at;
    for (int x = 0; x < columns; ++x) levels[x] = static_cast<Small>(apart(now[x], other[x]));
    for (int x = 0; x < columns; ++x) raws[x] = static_cast<Small>(apart(seen[x], raw[x]));
  }
  for (int kind = 0; kind < 3; ++kind) order_rows(row(kind * kFrames), columns);
  const Int* second = low(1);
  for (int x = 0; x < columns; ++x) {
    const float left =
        static_cast<float>(kWhite - now[x]) / static_cast<float>(kWhite + kUnits - second[x]);
    const Int scene = static_cast<Int>(static_cast<float>(hues[x]) * left);
    odd[x] = least(apart(hue[x], scene), 2 * kWhite);
  }
  const auto point = [&](int n, const Int* one, const Int* other) {
    Small* __restrict to = points + static_cast<std::ptrdiff_t>(n) * columns;
    for (int x = 0; x < columns; ++x)
      to[x] = static_cast<Small>(squashed(static_cast<float>(one[x] - other[x])));
  };
  for (int n = 0; n < 3; ++n) point(n, low(n + 1), low(n));
  for (int n = 0; n < 4; ++n) point(3 + n, level(n + 1), level(n));
  point(7, now, middle), point(8, now, second), point(9, seen, now);
  point(10, low(0), level(0)), point(11, second, level(1)), point(12, low(0), middle);
  const auto near = [&](int n) { return out.around + n * plane + at; };
  const auto distance = [&](Small* to, const Int* one, const Int* other) {
    for (int x = 0; x < columns; ++x) to[x] = static_cast<Small>(apart(one[x], other[x]));
  };
  distance(near(0), now, middle), distance(near(1), level(3), level(1));
  distance(near(2), low(2), low(0)), distance(near(4), seen, now), distance(near(5), hue, hues);
  Small *below = near(3), *above = near(6), *strange = near(7), *tint = near(5);
  for (int x = 0; x < columns; ++x) below[x] = static_cast<Small>(most(middle[x] - now[x], 0));
  for (int x = 0; x < columns; ++x) above[x] = static_cast<Small>(now[x] - second[x]);
  for (int x = 0; x < columns; ++x) strange[x] = static_cast<Small>(odd[x]);
  Small *tints = points + 13 * static_cast<std::ptrdiff_t>(columns), *odds = tints + columns;
  for (int x = 0; x < columns; ++x)
    tints[x] = static_cast<Small>(squashed(static_cast<float>(tint[x])));
  for (int x = 0; x < columns; ++x)
    odds[x] = static_cast<Small>(squashed(static_cast<float>(odd[x])));
  for (int n = 0; n < kPixels + kRest; ++n) {
    const float* values = differences + n * plane + at;
    Small* units = (n < kPixels ? out.pixels + n * plane : out.frames + (n - kPixels) * plane) + at;
    Small* shares = (n < kPixels ? out.filled + n * plane : out.moved + (n - kPixels) * plane) + at;
    for (int x = 0; x < columns; ++x) {
      const Int value = static_cast<Int>(__builtin_nearbyintf(values[x] * kUnits));
      units[x] = static_cast<Small>(value);
      shares[x] = static_cast<Small>(share_of(value));
    }
  }
}

// Sums of `kTogether` squares for some outputs; `values` are pairs of inputs (inputs / 2, squares).
template <int Outputs>
inline void multiply(const Dense& layer, int output, const Int* values, Int* sums) {
  const auto weights_of = [&](int n) {
    return layer.weights + static_cast<std::ptrdiff_t>(output + n) * layer.inputs;
  };
#if CMUDRN_LANES == 16
  __m512i total[Outputs];
  for (int n = 0; n < Outputs; ++n) total[n] = _mm512_set1_epi32(layer.biases[output + n]);
  for (int k = 0; k < layer.inputs / 2; ++k) {
    const __m512i pair = _mm512_loadu_si512(values + k * kTogether);
#pragma GCC unroll 4
    for (int n = 0; n < Outputs; ++n) {
      Int weight;
      std::memcpy(&weight, weights_of(n) + 2 * k, sizeof weight);
      total[n] = _mm512_add_epi32(total[n], _mm512_madd_epi16(pair, _mm512_set1_epi32(weight)));
    }
  }
  for (int n = 0; n < Outputs; ++n) _mm512_storeu_si512(sums + n * kTogether, total[n]);
#elif CMUDRN_LANES == 8
  __m256i one[Outputs], two[Outputs];
  for (int n = 0; n < Outputs; ++n) one[n] = two[n] = _mm256_set1_epi32(layer.biases[output + n]);
  for (int k = 0; k < layer.inputs / 2; ++k) {
    const auto* at = reinterpret_cast<const __m256i*>(values + k * kTogether);
    const __m256i first = _mm256_loadu_si256(at), second = _mm256_loadu_si256(at + 1);
#pragma GCC unroll 4
    for (int n = 0; n < Outputs; ++n) {
      Int weight;
      std::memcpy(&weight, weights_of(n) + 2 * k, sizeof weight);
      const __m256i both = _mm256_set1_epi32(weight);
      one[n] = _mm256_add_epi32(one[n], _mm256_madd_epi16(first, both));
      two[n] = _mm256_add_epi32(two[n], _mm256_madd_epi16(second, both));
    }
  }
  for (int n = 0; n < Outputs; ++n) {
    auto* to = reinterpret_cast<__m256i*>(sums + n * kTogether);
    _mm256_storeu_si256(to, one[n]);
    _mm256_storeu_si256(to + 1, two[n]);
  }
#else
  for (int n = 0; n < Outputs; ++n) {
    const Small* weights = weights_of(n);
    Int* __restrict total = sums + n * kTogether;
    for (int x = 0; x < kTogether; ++x) total[x] = layer.biases[output + n];
    for (int k = 0; k < layer.inputs / 2; ++k) {
      const Int one = weights[2 * k], other = weights[2 * k + 1];
      for (int x = 0; x < kTogether; ++x) {
        const Int pair = values[k * kTogether + x];
        total[x] += one * static_cast<Small>(pair & 0xffff) + other * (pair >> 16);
      }
    }
  }
#endif
}

inline Int pair_of(Int low, Int high) {
  return static_cast<Int>(static_cast<std::uint32_t>(high) << 16 |
                          (static_cast<std::uint32_t>(low) & 0xffffU));
}

// Outputs of a layer as pairs of inputs of the next: rounded, and between 0 and `kMost`.
void hidden_layer(const Dense& layer, const Int* values, Int* __restrict next) {
  Int sums[4 * kTogether];
  for (int output = 0; output < layer.outputs; output += 4) {
    multiply<4>(layer, output, values, sums);
    for (int n = 0; n < 4; n += 2)
      for (int x = 0; x < kTogether; ++x) {
        const Int one = (sums[n * kTogether + x] + (1 << (kShift - 1))) >> kShift;
        const Int two = (sums[(n + 1) * kTogether + x] + (1 << (kShift - 1))) >> kShift;
        next[(output + n) / 2 * kTogether + x] =
            pair_of(least(most(one, 0), kMost), least(most(two, 0), kMost));
      }
  }
}

// The shares of `count` squares, which sum up to 256; the largest takes what rounding left.
void share_out(const Int* sums, const Int* decay, int last, int count, std::ptrdiff_t plane,
               std::uint16_t* shares) {
  for (int x = 0; x < count; ++x) {
    Int values[kShares], parts[kShares], total = 0, highest = sums[x] >> (kShift + 1);
    for (int n = 0; n < kShares; ++n) {
      values[n] = sums[n * kTogether + x] >> (kShift + 1);
      highest = most(highest, values[n]);
    }
    for (int n = 0; n < kShares; ++n) {
      parts[n] = decay[least(highest - values[n], last)];
      total += parts[n];
    }
    Int left = 256, largest = 0;
    for (int n = 0; n < kShares; ++n) {
      parts[n] = static_cast<Int>(
          static_cast<float>(parts[n]) * 256.0F / static_cast<float>(total) + 0.5F);
      left -= parts[n];
      if (parts[n] > parts[largest]) largest = n;
    }
    parts[largest] += left;
    for (int n = 0; n < kShares; ++n) shares[n * plane + x] = static_cast<std::uint16_t>(parts[n]);
  }
}

// The features that look at neighbours; `to` is where the row's features go on.
void look_around(const Sums* sums, const Small* pixels, std::ptrdiff_t plane, int columns,
                 const Scratch& scratch, Small* to) {
  const auto next = [&](int count) {
    Small* here = to;
    to += static_cast<std::ptrdiff_t>(count) * columns;
    return here;
  };
  const auto all = [&](const Sums& each, bool squash, Small* rows) {
    for (int n = 0; n < each.planes; ++n) {
      add_columns_around(each, n, columns, scratch.line, scratch.around);
      (squash ? squash_row : average_row)(scratch.around, each.reach, columns, rows + n * columns);
    }
  };
  all(sums[0], true, next(kAround));
  all(sums[1], true, next(kAround));
  const int counts[] = {2, 3, 3};
  for (int n = 0; n < 3; ++n) {
    all(sums[2 + n], true, scratch.four);
    if (n == 2)
      for (int k = 0; k < kPixels; ++k) {
        Small* row = next(1);
        for (int x = 0; x < columns; ++x)
          row[x] = static_cast<Small>(squashed(static_cast<float>(pixels[k * plane + x])));
      }
    least_rows(scratch.four, columns, counts[n], next(counts[n]));
  }
  for (int n = 5; n < 8; ++n) all(sums[n], false, next(kPixels));
  all(sums[8], false, scratch.four);
  least_rows(scratch.four, columns, 3, next(3));
}

// The shares of one row of squares, from its features (84, columns).
void weigh_row(const Small* rows, int columns, const Dense* layers, const Int* decay, int last,
               const Scratch& scratch, std::ptrdiff_t plane, std::uint16_t* shares) {
  for (int left = 0; left < columns; left += kTogether) {
    const int count = least(kTogether, columns - left);
    for (int k = 0; k < kFeatures / 2; ++k) {
      const Small* one = rows + 2 * static_cast<std::ptrdiff_t>(k) * columns + left;
      const Small* other = one + columns;
      Int* __restrict pairs = scratch.block + k * kTogether;
      for (int x = 0; x < count; ++x) pairs[x] = pair_of(one[x], other[x]);
    }
    hidden_layer(layers[0], scratch.block, scratch.first);
    hidden_layer(layers[1], scratch.first, scratch.second);
    Int sums[kShares * kTogether];
    multiply<2>(layers[2], 0, scratch.second, sums);
    multiply<4>(layers[2], 2, scratch.second, sums + 2 * kTogether);
    share_out(sums, decay, last, count, plane, shares + left);
  }
}
