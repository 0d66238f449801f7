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

// The kinds of Epilogue that have code of their own; all others share one.
enum class Finish : int { plain, relu, added, added_relu, relu_added, other };

inline Finish finish_of(const Epilogue& epilogue) {
  bool residual = false;  // rows outside the picture have none
  for (const float* row : epilogue.residual) residual = residual || row;
  if (epilogue.activation == Activation::none) return residual ? Finish::added : Finish::plain;
  if (epilogue.activation != Activation::relu) return Finish::other;
  if (!residual) return Finish::relu;
  return epilogue.add_first ? Finish::added_relu : Finish::relu_added;
}

// `residual` is at the value's first channel; nullptr where there is none.
template <Finish Kind>
inline Vec finished(Vec value, const Epilogue& epilogue, const float* residual, int channel) {
  constexpr bool adds = Kind != Finish::plain && Kind != Finish::relu;
  const Vec added = adds && residual ? load_any(residual) : Vec{};
  const bool first = Kind == Finish::added || Kind == Finish::added_relu ||
                     (Kind == Finish::other && epilogue.add_first);
  if (first) value += added;
  if (Kind == Finish::other) {
    const Vec zero{};
    value = value > zero ? value : value * load_any(epilogue.slopes + channel);
  } else if (Kind != Finish::plain && Kind != Finish::added) {
    value = rectified(value);
  }
  return adds && !first ? value + added : value;
}

// Adds weights x inputs of one frequency. The heart: all sums stay in registers, and there are
// enough of them that no multiply-add waits for the one before it.
template <int Tiles, int Vectors>
inline void add_frequency(Vec (&sums)[Tiles][Vectors], const Stored* block, long tile_step,
                          const Stored* weights, int inputs) {
  int input = 0;
#if defined(CMUDRN_BY_LANE)
  const Stored* rows[Vectors];
  for (int v = 0; v < Vectors; ++v) rows[v] = weights + v * kLanes * kTogether;
  input = add_whole_vectors(sums, block, tile_step, rows, Vectors * kLanes * kTogether, inputs);
#endif
  for (; input < inputs; input += kTogether) {
    const Stored* row = weights + static_cast<long>(input) * Vectors * kLanes;
    Weights factors[Vectors];
#pragma GCC unroll 3
    for (int v = 0; v < Vectors; ++v)
      factors[v] = *reinterpret_cast<const Weights*>(row + v * kLanes * kTogether);
#pragma GCC unroll 12
    for (int tile = 0; tile < Tiles; ++tile) {
      const Weights value = spread(block + input + tile * tile_step);
#pragma GCC unroll 3
      for (int v = 0; v < Vectors; ++v)
        sums[tile][v] = multiply_add(sums[tile][v], factors[v], value);
    }
  }
}

template <int Vectors>
using UpToTiles = std::make_integer_sequence<int, tiles_together(kSums, Vectors)>;

#if defined(CMUDRN_BF16)
#include "rectangles.inl"
#else
#include "squares.inl"
#if !defined(__wasm__)
#include "gradients.inl"
#endif
#endif
#include "combine.inl"
#include "direct.inl"
