// Frames of a clip, moved, compared and mixed: planes of 8 bits, one row at a time, in plain loops
// that a compiler turns into vectors. Included once for every instruction set; all give the same.

constexpr int kFrames = 5, kSquare = 4, kCandidates = 6;
constexpr int kStatistics = 10, kOthers = kFrames - 1;

using Byte = std::uint8_t;

inline Byte lower(Byte a, Byte b) { return a < b ? a : b; }
inline Byte higher(Byte a, Byte b) { return a < b ? b : a; }
inline int clamp(int value, int end) { return value < 0 ? 0 : value < end ? value : end - 1; }

inline void swap(Byte& low, Byte& high) {
  const Byte a = low, b = high;
  low = lower(a, b);
  high = higher(a, b);
}

// Sorts five values; a network of comparisons.
inline void sort(Byte& a, Byte& b, Byte& c, Byte& d, Byte& e) {
  swap(a, b), swap(d, e), swap(c, e), swap(c, d), swap(b, e);
  swap(a, d), swap(a, c), swap(b, d), swap(b, c);
}

// Weights of four neighbours, which sum up to 64.
inline std::int16_t weighted(const std::int16_t* weights, std::int16_t a, std::int16_t b,
                             std::int16_t c, std::int16_t d) {
  const std::int16_t sum = static_cast<std::int16_t>(weights[0] * a + weights[1] * b +
                                                     weights[2] * c + weights[3] * d + 32);
  return static_cast<std::int16_t>(sum >> 6);
}

// Filters columns of bytes, or values beside each other, of one row.
void filter_down(const std::int16_t* weights, const Byte* a, const Byte* b, const Byte* c,
                 const Byte* d, std::ptrdiff_t count, std::int16_t* __restrict to) {
  const std::int16_t four[4] = {weights[0], weights[1], weights[2], weights[3]};
  for (std::ptrdiff_t x = 0; x < count; ++x) to[x] = weighted(four, a[x], b[x], c[x], d[x]);
}

void filter_across(const std::int16_t* weights, const std::int16_t* line, std::ptrdiff_t count,
                   std::int16_t* __restrict to) {
  const std::int16_t four[4] = {weights[0], weights[1], weights[2], weights[3]};
  const std::int16_t *b = line + 1, *c = line + 2, *d = line + 3;
  for (std::ptrdiff_t x = 0; x < count; ++x) to[x] = weighted(four, line[x], b[x], c[x], d[x]);
}

void cut_off(const std::int16_t* values, std::ptrdiff_t count, Byte* __restrict to) {
  for (std::ptrdiff_t x = 0; x < count; ++x)
    to[x] = static_cast<Byte>(values[x] < 0 ? 0 : values[x] > 255 ? 255 : values[x]);
}

// Moves one square of one plane; `filters` are 16 times four weights.
void shift_square(const Byte* plane, Byte* __restrict result, const Byte* missing, int height,
                  int width, const std::int32_t* square, const std::int16_t* filters,
                  std::int16_t* line) {
  const int top = square[0], bottom = square[1], left = square[2], right = square[3];
  const int down = square[4], across = square[5], part_y = square[6], part_x = square[7];
  const int before = part_x ? 1 : 0, count = right - left + 3 * before;
  const int first = left + across - before;
  const bool inside = first >= 0 && first + count <= width;
  const std::int16_t *vertical = filters + 4 * part_y, *horizontal = filters + 4 * part_x;
  std::int16_t* moved = line + count;  // the row after the second filter
  for (int y = top; y < bottom; ++y) {
    Byte* target = result + static_cast<std::ptrdiff_t>(y) * width + left;
    const Byte* rows[4];
    for (int n = 0; n < 4; ++n)
      rows[n] = plane + static_cast<std::ptrdiff_t>(clamp(y + down + n - 1, height)) * width;
    if (inside && part_y) {
      filter_down(vertical, rows[0] + first, rows[1] + first, rows[2] + first, rows[3] + first,
                  count, line);
    } else if (inside) {
      std::copy_n(rows[1] + first, count, line);
    } else {
      for (int x = 0; x < count; ++x) {
        const int at = clamp(first + x, width);
        line[x] = part_y ? weighted(vertical, rows[0][at], rows[1][at], rows[2][at], rows[3][at])
                         : static_cast<std::int16_t>(rows[1][at]);
      }
    }
    const std::int16_t* last = line;
    if (part_x) {
      filter_across(horizontal, line, right - left, moved);
      last = moved;
    }
    cut_off(last, right - left, target);
    const int below = y + down;
    const bool shown = below >= 0 && below + (part_y ? 1 : 0) < height;
    const Byte* own = missing + static_cast<std::ptrdiff_t>(y) * width + left;
    if (inside && shown) continue;
    for (int x = 0; x < right - left; ++x) {
      const int at = left + x + across;
      if (!shown || at < 0 || at + before >= width) target[x] = own[x];
    }
  }
}

// Sums over the squares of one row of them; `sums` are of columns, and are filled up at the right.
void add_columns(std::uint16_t* sums, int width, int squares, std::int32_t* result) {
  for (int x = width; x < squares * kSquare; ++x) sums[x] = sums[width - 1];
  for (int s = 0; s < squares; ++s) {
    const std::uint16_t* four = sums + s * kSquare;
    result[s] = four[0] + four[1] + four[2] + four[3];
  }
}

inline void add_row(std::uint16_t* __restrict sums, const Byte* __restrict values, int width) {
  for (int x = 0; x < width; ++x) sums[x] = static_cast<std::uint16_t>(sums[x] + values[x]);
}

// How the sorted values of one row lie apart, and how the current one lies to the third of them.
// Compilers make vectors of the loop only where each row of results is a parameter.
void compare_row(const Byte* const* rows, const Byte* now, int width, Byte* __restrict o0,
                 Byte* __restrict o1, Byte* __restrict o2, Byte* __restrict o3,
                 Byte* __restrict o4) {
  const Byte *r0 = rows[0], *r1 = rows[1], *r2 = rows[2], *r3 = rows[3], *r4 = rows[4];
  for (int x = 0; x < width; ++x) {
    Byte a = r0[x], b = r1[x], c = r2[x], d = r3[x], e = r4[x];
    sort(a, b, c, d, e);
    const Byte less = lower(c, now[x]);
    o0[x] = static_cast<Byte>(b - a);
    o1[x] = static_cast<Byte>(c - b);
    o2[x] = static_cast<Byte>(d - c);
    o3[x] = static_cast<Byte>(c - less);
    o4[x] = static_cast<Byte>(now[x] - less);
  }
}

void difference_row(const Byte* one, const Byte* other, int width, Byte* __restrict out) {
  for (int x = 0; x < width; ++x)
    out[x] = static_cast<Byte>(higher(one[x], other[x]) - lower(one[x], other[x]));
}

// Statistics of one row of squares; see `frames_compare`.
void compare_squares(const Byte* const* window, int current, int channels, int height, int width,
                     int row, std::uint16_t* sums, Byte* scratch, std::int32_t* result) {
  const int squares = (width + kSquare - 1) / kSquare, wide = squares * kSquare;
  const std::ptrdiff_t plane = static_cast<std::ptrdiff_t>(height) * width;
  const std::ptrdiff_t step =
      static_cast<std::ptrdiff_t>((height + kSquare - 1) / kSquare) * squares;
  std::fill(sums, sums + (kStatistics + kOthers) * static_cast<std::ptrdiff_t>(wide),
            std::uint16_t{0});
  for (int line = 0; line < kSquare; ++line) {
    const int y = clamp(row * kSquare + line, height);
    for (int channel = 0; channel < 2 * channels; ++channel) {
      const bool restored = channel >= channels;
      const Byte* rows[kFrames];
      for (int n = 0; n < kFrames; ++n)
        rows[n] = window[n] + channel * plane + static_cast<std::ptrdiff_t>(y) * width;
      compare_row(rows, rows[current], width, scratch, scratch + wide, scratch + 2 * wide,
                  scratch + 3 * wide, scratch + 4 * wide);
      for (int n = 0; n < 5; ++n)
        add_row(sums + static_cast<std::ptrdiff_t>(n + (restored ? 0 : 5)) * wide,
                scratch + static_cast<std::ptrdiff_t>(n) * wide, width);
      for (int n = 0, other = 0; restored && n < kFrames; ++n) {
        if (n == current) continue;
        difference_row(rows[n], rows[current], width, scratch);
        add_row(sums + static_cast<std::ptrdiff_t>(kStatistics + other++) * wide, scratch, width);
      }
    }
  }
  for (int n = 0; n < kStatistics + kOthers; ++n)
    add_columns(sums + static_cast<std::ptrdiff_t>(n) * wide, width, squares,
                result + n * step + static_cast<std::ptrdiff_t>(row) * squares);
}

// Brightness of the raw and the restored frame, and red less blue, over the squares of one row.
void mean_squares(const Byte* planes, int channels, int height, int width, int row,
                  std::int16_t* sums, std::int32_t* result) {
  const int squares = (width + kSquare - 1) / kSquare, wide = squares * kSquare;
  const std::ptrdiff_t plane = static_cast<std::ptrdiff_t>(height) * width;
  const std::ptrdiff_t step =
      static_cast<std::ptrdiff_t>((height + kSquare - 1) / kSquare) * squares;
  std::fill(sums, sums + 3 * static_cast<std::ptrdiff_t>(wide), std::int16_t{0});
  for (int line = 0; line < kSquare; ++line) {
    const Byte* at =
        planes + static_cast<std::ptrdiff_t>(clamp(row * kSquare + line, height)) * width;
    for (int part = 0; part < 2; ++part) {
      const Byte *first = at + part * channels * plane, *last = first + (channels - 1) * plane;
      const Byte* middle = first + (channels / 2) * plane;
      std::int16_t* sum = sums + static_cast<std::ptrdiff_t>(part) * wide;
      if (channels == 3)
        for (int x = 0; x < width; ++x)
          sum[x] = static_cast<std::int16_t>(sum[x] + first[x] + 2 * middle[x] + last[x]);
      else
        for (int x = 0; x < width; ++x) sum[x] = static_cast<std::int16_t>(sum[x] + first[x]);
      std::int16_t* hue = sums + 2 * static_cast<std::ptrdiff_t>(wide);
      if (part == 1)
        for (int x = 0; x < width; ++x)
          hue[x] = static_cast<std::int16_t>(hue[x] + first[x] - last[x]);
    }
  }
  for (int n = 0; n < 3; ++n) {
    std::int16_t* sum = sums + static_cast<std::ptrdiff_t>(n) * wide;
    for (int x = width; x < wide; ++x) sum[x] = sum[width - 1];
    std::int32_t* to = result + n * step + static_cast<std::ptrdiff_t>(row) * squares;
    for (int s = 0; s < squares; ++s) {
      const std::int16_t* four = sum + s * kSquare;
      to[s] = four[0] + four[1] + four[2] + four[3];
    }
  }
}

// One row of one channel of the fused frame; `shares` are of its columns, and sum up to 256.
void mix_row(const Byte* const* raw, const Byte* const* restored, int current, int width,
             bool takes_raw, const std::uint16_t* shares, int wide, Byte* __restrict target) {
  using Sum = std::uint16_t;
  const Byte *r0 = raw[0], *r1 = raw[1], *r2 = raw[2], *r3 = raw[3], *r4 = raw[4];
  const Byte *s0 = restored[0], *s1 = restored[1], *s2 = restored[2], *s3 = restored[3],
             *s4 = restored[4], *now = restored[current];
  const Sum *w0 = shares, *w1 = w0 + wide, *w2 = w1 + wide, *w3 = w2 + wide, *w4 = w3 + wide,
            *w5 = w4 + wide;
  const Byte raw_only = takes_raw ? 255 : 0, other_only = takes_raw ? 0 : 255;
  for (int x = 0; x < width; ++x) {
    Byte a = r0[x], b = r1[x], c = r2[x], d = r3[x], e = r4[x];
    sort(a, b, c, d, e);
    Byte f = s0[x], g = s1[x], h = s2[x], i = s3[x], j = s4[x];
    sort(f, g, h, i, j);
    const Byte one = (a & raw_only) | (h & other_only), two = (b & raw_only) | (i & other_only);
    const Sum sum = static_cast<Sum>(now[x] * w0[x] + one * w1[x] + two * w2[x] + f * w3[x] +
                                     g * w4[x] + h * w5[x] + 128);
    target[x] = static_cast<Byte>(sum >> 8);
  }
}
