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
  const auto mask = static_cast<__mmask16>(count >= 16 ? 0xffff : count <= 0 ? 0 : (1 << count) - 1);
  return reinterpret_cast<Vec>(_mm512_maskz_loadu_ps(mask, from));
}
#endif

void round_row(const float* row, long pixel, int pixels, int channels, std::uint16_t* rounded) {
  for (int x = 0; x < pixels; ++x, row += pixel)
    for (int channel = 0; channel < channels; channel += kTileInputs, rounded += kTileInputs)
      store_two(rounded, load_first(row + channel, channels - channel),
                load_first(row + channel + kLanes, channels - channel - kLanes));
}

// Sums of one or two times `kTilePixels` pixels from `first` on, [pixel][vector].
template <int Pixels, int Vectors>
void convolve_in_tiles(const RoundedInput& input, long first, const Stored* weights,
                       const float* bias, float* made) {
  constexpr long line = 64;
  const long step = static_cast<long>(input.stride) * input.pixel;
  load_tile<0>(bias, 0);  // the same row sixteen times
  if (Pixels > 1) load_tile<1>(bias, 0);
  if (Vectors > 1) load_tile<2>(bias + kLanes, 0);
  if (Pixels > 1 && Vectors > 1) load_tile<3>(bias + kLanes, 0);
  for (int ky = 0; ky < input.kernel; ++ky) {
    for (int kx = 0; kx < input.kernel; ++kx) {
      const Stored* from = input.rows[ky] + first * step + static_cast<long>(kx) * input.pixel;
      for (int in = 0; in < input.pixel; in += kTileInputs) {
        load_tile<4>(from + in, 2 * step);
        if (Pixels > 1) load_tile<5>(from + kTilePixels * step + in, 2 * step);
        load_tile<6>(weights, line);
        dot_tiles<0, 4, 6>();
        if (Pixels > 1) dot_tiles<1, 5, 6>();
        if (Vectors > 1) {
          load_tile<7>(weights + kTileInputs * kLanes, line);
          dot_tiles<2, 4, 7>();
          if (Pixels > 1) dot_tiles<3, 5, 7>();
        }
        weights += Vectors * kTileInputs * kLanes;
      }
    }
  }
  store_tile<0>(made, Vectors * line);
  if (Pixels > 1) store_tile<1>(made + kTilePixels * Vectors * kLanes, Vectors * line);
  if (Vectors > 1) store_tile<2>(made + kLanes, Vectors * line);
  if (Pixels > 1 && Vectors > 1)
    store_tile<3>(made + (kTilePixels * Vectors + 1) * kLanes, Vectors * line);
}

template <int Vectors>
void convolve_part(const RoundedInput& input, const Stored* weights, const float* bias,
                   const Epilogue& epilogue, int count, const DirectOutput& output) {
  const auto finish = finisher<Vectors>(epilogue);
  alignas(64) float made[2 * kTilePixels * Vectors * kLanes];
  for (int x = 0; x < count; x += 2 * kTilePixels) {
    const int some = count - x;
    if (some > kTilePixels)
      convolve_in_tiles<2, Vectors>(input, x, weights, bias, made);
    else
      convolve_in_tiles<1, Vectors>(input, x, weights, bias, made);
    finish(made, x, some < 2 * kTilePixels ? some : 2 * kTilePixels, epilogue, output);
  }
}

void convolve_rounded(const RoundedInput& input, const std::uint16_t* weights, const float* bias,
                      int outputs, const Epilogue& epilogue, int count, float* out, long pixel) {
  [[maybe_unused]] const TileUse use{};
  const long taps = static_cast<long>(input.kernel) * input.kernel * input.pixel;
  DirectOutput output = {0, outputs, out, pixel};
  for (; output.channel < outputs; output.channel += kTileVectors * kLanes) {
    const float* own = bias + output.channel;
    if (outputs - output.channel > kLanes)
      convolve_part<kTileVectors>(input, weights, own, epilogue, count, output);
    else
      convolve_part<1>(input, weights, own, epilogue, count, output);
    weights += taps * kTileVectors * kLanes;
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
