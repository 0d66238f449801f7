// Convolutions of any kernel and stride, without transforms; a part of layers.inl.

// Sums of some pixels, [pixel][vector]. What follows them is done elsewhere: beside it the compiler
// would not keep the sums in registers.
template <int Pixels, int Vectors>
void convolve_some(const DirectInput& input, long first, const float* weights, const float* bias,
                   float* made) {
  const long step = input.stride * input.pixel, pixel = input.pixel;
  const int kernel = input.kernel, inputs = input.inputs;
  Vec sums[Pixels][Vectors];
#pragma GCC unroll 12
  for (int x = 0; x < Pixels; ++x)
#pragma GCC unroll 3
    for (int v = 0; v < Vectors; ++v) sums[x][v] = load_any(bias + v * kLanes);
  for (int ky = 0; ky < kernel; ++ky) {
    for (int kx = 0; kx < kernel; ++kx) {
      const float* from = input.rows[ky] + first * step + kx * pixel;
      int in = 0;
#if defined(CMUDRN_BY_LANE) && !defined(CMUDRN_BF16)
      const float* vectors[Vectors];
      for (int v = 0; v < Vectors; ++v) vectors[v] = weights + v * kLanes;
      in = add_whole_vectors(sums, from, step, vectors, Vectors * kLanes, inputs);
      weights += in * Vectors * kLanes;
#endif
      for (; in < inputs; ++in, weights += Vectors * kLanes) {
        Vec factors[Vectors];
#pragma GCC unroll 3
        for (int v = 0; v < Vectors; ++v) factors[v] = load(weights + v * kLanes);
#pragma GCC unroll 12
        for (int x = 0; x < Pixels; ++x) {
          const Vec value = from[x * step + in] - Vec{};
#pragma GCC unroll 3
          for (int v = 0; v < Vectors; ++v) sums[x][v] += factors[v] * value;
        }
      }
    }
  }
#pragma GCC unroll 12
  for (int x = 0; x < Pixels; ++x)
#pragma GCC unroll 3
    for (int v = 0; v < Vectors; ++v) store(made + (x * Vectors + v) * kLanes, sums[x][v]);
}

using ConvolveSome = void (*)(const DirectInput&, long, const float*, const float*, float*);

// Where the sums of some pixels go.
struct DirectOutput {
  int channel;  // first one of the vectors
  int outputs;  // of the convolution
  float* out;   // at the row's first pixel and channel
  long pixel;
};

template <Finish Kind, int Vectors>
void finish_pixels(const float* made, long first, int pixels, const Epilogue& epilogue,
                   const DirectOutput& output) {
  const bool whole = output.outputs - output.channel >= Vectors * kLanes;
  const float* residual = epilogue.residual[0];
  if (residual) residual += first * epilogue.residual_pixel + output.channel;
  float* to = output.out + first * output.pixel + output.channel;
  for (int x = 0; x < pixels; ++x, made += Vectors * kLanes, to += output.pixel) {
#pragma GCC unroll 3
    for (int v = 0; v < Vectors; ++v) {
      const int at = output.channel + v * kLanes;
      const float* added = residual ? residual + v * kLanes : nullptr;
      const Vec value = finished<Kind>(load(made + v * kLanes), epilogue, added, at);
      if (whole)
        store_any(to + v * kLanes, value);
      else
        store_first(to + v * kLanes, value, output.outputs - at);
    }
    if (residual) residual += epilogue.residual_pixel;
  }
}

template <int Vectors>
auto finisher(const Epilogue& epilogue) {
  constexpr decltype(&finish_pixels<Finish::plain, Vectors>) finishes[] = {
      finish_pixels<Finish::plain, Vectors>,      finish_pixels<Finish::relu, Vectors>,
      finish_pixels<Finish::added, Vectors>,      finish_pixels<Finish::added_relu, Vectors>,
      finish_pixels<Finish::relu_added, Vectors>, finish_pixels<Finish::other, Vectors>};
  return finishes[static_cast<int>(finish_of(epilogue))];
}

template <int Vectors, int... Less>
void convolve_pixels(const DirectInput& input, const float* weights, const float* bias,
                     const Epilogue& epilogue, int count, const DirectOutput& output,
                     std::integer_sequence<int, Less...>) {
  constexpr ConvolveSome table[] = {convolve_some<Less + 1, Vectors>...};
  constexpr int most = sizeof...(Less);
  const auto finish = finisher<Vectors>(epilogue);
  alignas(64) float made[most * Vectors * kLanes];
  for (int x = 0; x < count;) {
    const int some = together(count - x, most);
    table[some - 1](input, x, weights, bias, made);
    finish(made, x, some, epilogue, output);
    x += some;
  }
}

void convolve_layer(const DirectInput& input, const float* weights, const float* bias, int outputs,
                    const Epilogue& epilogue, int count, float* out, long pixel) {
  const long taps = static_cast<long>(input.kernel) * input.kernel * input.inputs;
  DirectOutput output = {0, outputs, out, pixel};
  const auto run = [&](auto vectors) {
    convolve_pixels<vectors()>(input, weights, bias + output.channel, epilogue, count, output,
                               UpToTiles<vectors()>{});
  };
  for (int left = round_up(outputs, kLanes) / kLanes; left > 0;) {
    const int vectors = together(left, kVectors);
    if (vectors == 1) run(std::integral_constant<int, 1>{});
    if (vectors == 2) run(std::integral_constant<int, 2>{});
    if (kVectors > 2 && vectors == 3) run(std::integral_constant<int, kVectors>{});
    weights += taps * vectors * kLanes;
    output.channel += vectors * kLanes;
    left -= vectors;
  }
}
