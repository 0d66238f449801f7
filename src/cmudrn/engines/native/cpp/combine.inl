// Sums and products of maps: the part of layers.inl that multiplies no matrices.

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

// How a combination is made: as a sum, with weights for every source or none, or as anything.
enum class Combine : int { sum, weighted, other };

template <int Count, Combine Kind>
void combine_some(const CombineSource* sources, bool product, const float* bias,
                  Activation activation, const float* slopes, int first, int pixels, int channels,
                  float* out, long pixel) {
  Walk walks[Count];
  const float* weights[Count];
  for (int j = 0; j < Count; ++j) {
    walks[j].begin(sources[j], first);
    weights[j] = sources[j].weights;
  }
  const auto value = [&](int channel) {
    Vec sum = bias ? load_any(bias + channel) : Vec{};
#pragma GCC unroll 4
    for (int j = 0; j < Count; ++j) {
      const Vec read = load_any(walks[j].at + channel);
      if (Kind == Combine::other && product)
        sum = j == 0 ? read : sum * read;
      else if (Kind == Combine::weighted || (Kind == Combine::other && weights[j]))
        sum += load_any(weights[j] + channel) * read;
      else
        sum += read;
    }
    if (Kind == Combine::other)
      sum = activated(sum, activation, slopes ? slopes + channel : nullptr);
    return sum;
  };
  for (int x = 0; x < pixels; ++x, out += pixel) {
    int channel = 0;
    for (; channel + kLanes <= channels; channel += kLanes)
      store_any(out + channel, value(channel));
    if (channel < channels) store_first(out + channel, value(channel), channels - channel);
#pragma GCC unroll 4
    for (int j = 0; j < Count; ++j) walks[j].advance();
  }
}

template <int Count>
void combine_count(const CombineSource* sources, bool product, const float* bias,
                   Activation activation, const float* slopes, int first, int pixels, int channels,
                   float* out, long pixel) {
  int weighted = 0;
  for (int j = 0; j < Count; ++j) weighted += sources[j].weights != nullptr;
  const bool linear = !product && activation == Activation::none;
  auto run = combine_some<Count, Combine::other>;
  if (linear && weighted == 0) run = combine_some<Count, Combine::sum>;
  if (linear && weighted == Count) run = combine_some<Count, Combine::weighted>;
  run(sources, product, bias, activation, slopes, first, pixels, channels, out, pixel);
}

void combine_layer(const CombineSource* sources, int count, bool product, const float* bias,
                   Activation activation, const float* slopes, int first, int pixels, int channels,
                   float* out, long pixel) {
  static_assert(kMaxSources == 4);
  constexpr decltype(&combine_count<1>) table[] = {combine_count<1>, combine_count<2>,
                                                   combine_count<3>, combine_count<4>};
  table[count - 1](sources, product, bias, activation, slopes, first, pixels, channels, out, pixel);
}

// Some maps of a pixel, one behind the other.
template <int Maps>
void mix_maps(float* row, long pixel, int pixels, int channels, const float* weights) {
  const int pitch = round_up(channels, kMixUnit);
  for (int channel = 0; channel < channels; channel += kLanes) {
    Vec factors[Maps][Maps + 1];
#pragma GCC unroll 4
    for (int i = 0; i < Maps; ++i)
#pragma GCC unroll 5
      for (int j = 0; j <= Maps; ++j)
        factors[i][j] = load(weights + (i * (Maps + 1) + j) * pitch + channel);
    const int count = channels - channel;
    float* at = row + channel;
    for (int x = 0; x < pixels; ++x, at += pixel) {
      Vec before[Maps], after[Maps];
#pragma GCC unroll 4
      for (int j = 0; j < Maps; ++j) before[j] = load_any(at + j * channels);
#pragma GCC unroll 4
      for (int i = 0; i < Maps; ++i) {
        after[i] = factors[i][Maps];
#pragma GCC unroll 4
        for (int j = 0; j < Maps; ++j) after[i] += factors[i][j] * before[j];
      }
#pragma GCC unroll 4
      for (int i = 0; i < Maps; ++i)
        if (count >= kLanes)
          store_any(at + i * channels, after[i]);
        else
          store_first(at + i * channels, after[i], count);
    }
  }
}

void mix_layer(float* row, long pixel, int pixels, int maps, int channels, const float* weights) {
  static_assert(kMaxSources == 4);
  constexpr decltype(&mix_maps<2>) table[] = {mix_maps<2>, mix_maps<3>, mix_maps<4>};
  table[maps - 2](row, pixel, pixels, channels, weights);
}
