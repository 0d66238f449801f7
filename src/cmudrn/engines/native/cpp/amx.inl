// Convolutions in tile registers (AMX), included behind layers.inl by kernels_avx512bf16.cpp.
//
// A tile register is sixteen rows of 64 bytes: inputs of sixteen pixels, weights of sixteen outputs
// for 16 pairs of inputs, or sums of sixteen pixels and outputs.

#if defined(CMUDRN_ANY_CPU)  // the same in plain C++; for tests
struct Tile {
  unsigned char rows[16][64];
};

thread_local Tile tile_registers[8];

struct TileUse {};

template <int Register>
inline void load_tile(const void* from, long step) {
  for (int row = 0; row < 16; ++row)
    __builtin_memcpy(tile_registers[Register].rows[row],
                     static_cast<const unsigned char*>(from) + row * step, 64);
}

template <int Register>
inline void store_tile(void* to, long step) {
  for (int row = 0; row < 16; ++row)
    __builtin_memcpy(static_cast<unsigned char*>(to) + row * step,
                     tile_registers[Register].rows[row], 64);
}

template <int Sums, int Inputs, int Factors>
inline void dot_tiles() {
  for (int row = 0; row < 16; ++row) {
    Vec sums;
    __builtin_memcpy(&sums, tile_registers[Sums].rows[row], 64);
    for (int pair = 0; pair < 16; ++pair) {
      Weights factors;
      __builtin_memcpy(&factors, tile_registers[Factors].rows[pair], 64);
      const auto* inputs = tile_registers[Inputs].rows[row] + 4 * pair;
      sums = multiply_add(sums, factors, spread(reinterpret_cast<const Stored*>(inputs)));
    }
    __builtin_memcpy(tile_registers[Sums].rows[row], &sums, 64);
  }
}

inline Vec load_first(const float* from, int count) {
  Vec value{};
  if (count > 0) __builtin_memcpy(&value, from, sizeof(float) * (count < 16 ? count : 16));
  return value;
}
#else
// All eight tile registers in their full size, as long as it lives; afterwards the thread has no
// state of them, and other libraries find theirs as they left it: none.
struct TileUse {
  TileUse() {
    struct alignas(64) {
      std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
      std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
      std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
    } shape;
    static_assert(sizeof shape == 64);
    asm volatile("ldtilecfg %0" ::"m"(shape));
  }
  ~TileUse() { asm volatile("tilerelease" ::: "memory"); }
  TileUse(const TileUse&) = delete;
  TileUse& operator=(const TileUse&) = delete;
};

// Assembler, since compilers' own functions do not say that they read memory, and need to be told
// of an instruction set that old ones do not know.
template <int Register>
inline void load_tile(const void* from, long step) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(step), "i"(Register) : "memory");
}

template <int Register>
inline void store_tile(void* to, long step) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(to), "r"(step), "i"(Register) : "memory");
}

template <int Sums, int Inputs, int Factors>
inline void dot_tiles() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(Sums), "i"(Inputs), "i"(Factors));
}

inline Vec load_first(const float* from, int count) {
  const auto mask = static_cast<__mmask16>(count >= 16  ? 0xffff
                                           : count <= 0 ? 0
                                                        : (1 << count) - 1);
  return reinterpret_cast<Vec>(_mm512_maskz_loadu_ps(mask, from));
}
#endif

// Vectors are stored one after another: what is behind a pixel's last channel is written again by
// the next pixel, or is zeros behind the last one.
void round_row(const float* row, long pixel, int pixels, int channels, std::uint16_t* rounded) {
  const int pitch = rounded_pitch(channels);
  for (int x = 0; x < pixels; ++x, row += pixel, rounded += pitch) {
    int channel = 0;
    for (; channel + kLanes <= channels; channel += kLanes)
      store_frequency(rounded + channel, load_any(row + channel));
    if (channel < channels)
      store_frequency(rounded + channel, load_first(row + channel, channels - channel));
  }
  store_frequency(rounded, Vec{});
  store_frequency(rounded + kLanes, Vec{});
}

// Sums of up to four times `kTilePixels` pixels from `first` on, [pixel][vector]: the inputs of a
// row of the kernel are consecutive numbers.
template <int Pixels, int Vectors>
void convolve_in_tiles(const RoundedInput& input, long first, const Stored* weights,
                       const float* bias, float* made) {
  static_assert(Pixels * Vectors <= 4 && Vectors <= kTileVectors);
  constexpr long line = 64, tile = kTileInputs * kLanes;
  constexpr int sums = kTilePixels * Vectors * kLanes;
  const long step = static_cast<long>(input.stride) * input.pitch, next = kTilePixels * step;
  load_tile<0>(bias, 0);  // the same row sixteen times
  if (Pixels > 1) load_tile<1>(bias, 0);
  if (Pixels > 2) load_tile<2>(bias, 0);
  if (Pixels > 3) load_tile<3>(bias, 0);
  if (Vectors > 1) load_tile<2>(bias + kLanes, 0);
  if (Vectors > 1 && Pixels > 1) load_tile<3>(bias + kLanes, 0);
  for (int ky = 0; ky < input.kernel; ++ky) {
    const Stored* from = input.rows[ky] + first * step;
    for (int k = 0; k < input.kernel * input.pitch; k += kTileInputs, from += kTileInputs) {
      load_tile<6>(weights, line);
      if (Vectors > 1) load_tile<7>(weights + tile, line);
      load_tile<4>(from, 2 * step);
      dot_tiles<0, 4, 6>();
      if (Vectors > 1) dot_tiles<2, 4, 7>();
      if (Pixels > 1) {
        load_tile<5>(from + next, 2 * step);
        dot_tiles<1, 5, 6>();
        if (Vectors > 1) dot_tiles<3, 5, 7>();
      }
      if (Pixels > 2) {
        load_tile<4>(from + 2 * next, 2 * step);
        dot_tiles<2, 4, 6>();
      }
      if (Pixels > 3) {
        load_tile<5>(from + 3 * next, 2 * step);
        dot_tiles<3, 5, 6>();
      }
      weights += Vectors * tile;
    }
  }
  store_tile<0>(made, Vectors * line);
  if (Pixels > 1) store_tile<1>(made + sums, Vectors * line);
  if (Pixels > 2) store_tile<2>(made + 2 * sums, Vectors * line);
  if (Pixels > 3) store_tile<3>(made + 3 * sums, Vectors * line);
  if (Vectors > 1) store_tile<2>(made + kLanes, Vectors * line);
  if (Vectors > 1 && Pixels > 1) store_tile<3>(made + sums + kLanes, Vectors * line);
}

template <int Vectors, int... Less>
void convolve_part(const RoundedInput& input, const Stored* weights, const float* bias,
                   const Epilogue& epilogue, int count, const DirectOutput& output,
                   std::integer_sequence<int, Less...>) {
  constexpr decltype(&convolve_in_tiles<1, Vectors>) table[] = {
      convolve_in_tiles<Less + 1, Vectors>...};
  constexpr int most = sizeof...(Less) * kTilePixels;
  const auto finish = finisher<Vectors>(epilogue);
  alignas(64) float made[most * Vectors * kLanes];
  for (int x = 0; x < count; x += most) {
    const int some = count - x < most ? count - x : most;
    table[(some - 1) / kTilePixels](input, x, weights, bias, made);
    finish(made, x, some, epilogue, output);
  }
}

void convolve_rounded(const RoundedInput& input, const std::uint16_t* weights, const float* bias,
                      int outputs, const Epilogue& epilogue, int count, float* out, long pixel) {
  [[maybe_unused]] const TileUse use{};
  const long inputs =
      static_cast<long>(input.kernel) * round_up(input.kernel * input.pitch, kTileInputs);
  DirectOutput output = {0, outputs, out, pixel};
  for (; output.channel < outputs; output.channel += kTileVectors * kLanes) {
    const float* own = bias + output.channel;
    if (outputs - output.channel > kLanes)
      convolve_part<2>(input, weights, own, epilogue, count, output,
                       std::make_integer_sequence<int, 2>{});
    else
      convolve_part<1>(input, weights, own, epilogue, count, output,
                       std::make_integer_sequence<int, 4>{});
    weights += inputs * kTileVectors * kLanes;
  }
}

double peak_of_tiles(long rounds) {
  [[maybe_unused]] const TileUse use{};
  constexpr int chains = 4;
  const Stored zeros[kTileInputs] = {};
  load_tile<4>(zeros, 0);
  load_tile<5>(zeros, 0);
  for (long round = 0; round < rounds; ++round) {
    dot_tiles<0, 4, 5>();
    dot_tiles<1, 4, 5>();
    dot_tiles<2, 4, 5>();
    dot_tiles<3, 4, 5>();
  }
  return 2.0 * kTilePixels * kLanes * kTileInputs * chains * static_cast<double>(rounds);
}
