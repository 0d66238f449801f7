#include "network.h"

#include <stdexcept>

#include "winograd.h"

namespace cmudrn {
namespace {

// Writes weights (out, in, 3, 3) at the convolution's outputs from first_output on.
void place(Convolution& to, const float* weights, const float* bias, int inputs, int outputs,
           int first_output = 0) {
  to.inputs = inputs;
  to.outputs = first_output + outputs;
  for (int out = 0; out < outputs; ++out) {
    to.bias[first_output + out] = bias[out];
    for (int in = 0; in < inputs; ++in) {
      const float* taps = weights + 9 * (out * inputs + in);
      for (int f = 0; f < kFrequencies; ++f)
        to.weights[(f * kChannels + in) * kChannels + first_output + out] =
            static_cast<float>(frequency_weight(taps, f));
    }
  }
}

class Reader {
 public:
  Reader(const float* numbers, long count) : next_(numbers), left_(count) {}

  const float* take(long count) {
    if (count > left_) throw std::invalid_argument("too few numbers");
    const float* taken = next_;
    next_ += count;
    left_ -= count;
    return taken;
  }

  void convolution(Convolution& to, int inputs, int outputs) {
    const float* weights = take(9L * inputs * outputs);
    place(to, weights, take(outputs), inputs, outputs);
  }

  void stitch(Stitch& to, int branches);

  void finish() const {
    if (left_ != 0) throw std::invalid_argument("too many numbers");
  }

 private:
  const float* next_;
  long left_;
};

void classify(Stitch& stitch, int branches) {
  stitch.identity = stitch.merges = true;
  for (int i = 0; i < branches; ++i)
    for (int j = 0; j < branches; ++j)
      for (int c = 0; c < kChannels; ++c) {
        const float weight = stitch.matrix[(i * branches + j) * kChannels + c];
        if (weight != (i == j ? 1.f : 0.f)) stitch.identity = false;
        if (weight != stitch.matrix[j * kChannels + c]) stitch.merges = false;
      }
  if (branches == 1) stitch.merges = false;
}

void Reader::stitch(Stitch& to, int branches) {
  const long count = static_cast<long>(branches) * branches * kChannels;
  const float* from = take(count);
  for (long i = 0; i < count; ++i) to.matrix[i] = from[i];
  classify(to, branches);
}

// Whether row 0 holds weights >= 0 that add up to exactly 1.
bool is_mean(const Stitch& stitch, int branches) {
  for (int c = 0; c < kChannels; ++c) {
    float sum = 0;
    for (int j = 0; j < branches; ++j) {
      const float weight = stitch.matrix[j * kChannels + c];
      if (weight < 0) return false;
      sum += weight;
    }
    if (sum != 1) return false;
  }
  return true;
}

// Scales outputs by what branch j weighs in the merged map: w ReLU(z) = ReLU(w z) for w >= 0.
void fold(Convolution& convolution, const Stitch& stitch, int j) {
  const float* weight = stitch.matrix + j * kChannels;
  for (int i = 0; i < kFrequencies * kChannels * kChannels; ++i)
    convolution.weights[i] *= weight[i % kChannels];
  for (int c = 0; c < kChannels; ++c) convolution.bias[c] *= weight[c];
}

void round_weights_of(Convolution& convolution) {
  for (int in = 0; in < kChannels; ++in)
    for (int out = 0; out < kChannels; ++out) {
      const int to = in / 2 * 2 * kChannels + 2 * out + in % 2;
      const auto weight = [&](int frequency) {
        return convolution.weights[(frequency * kChannels + in) * kChannels + out];
      };
      for (int f = 0; f < kFrequencies; ++f)
        convolution.bf16[f * kChannels * kChannels + to] = to_bf16(weight(f));
      const std::uint16_t mean = convolution.bf16[kMean * kChannels * kChannels + to];
      convolution.bf16[kFrequencies * kChannels * kChannels + to] =
          to_bf16(weight(kMean) - from_bf16(mean));
    }
}

Stitch compose(const Stitch& first, const Stitch& second, int branches) {
  Stitch both;
  for (int i = 0; i < branches; ++i)
    for (int j = 0; j < branches; ++j)
      for (int c = 0; c < kChannels; ++c) {
        float sum = 0;
        for (int k = 0; k < branches; ++k)
          sum += second.matrix[(i * branches + k) * kChannels + c] *
                 first.matrix[(k * branches + j) * kChannels + c];
        both.matrix[(i * branches + j) * kChannels + c] = sum;
      }
  classify(both, branches);
  return both;
}

}  // namespace

Network::Network(const Kernels& chosen, const Shape& form, const float* numbers, long count)
    : kernels(chosen), shape(form), branches(static_cast<size_t>(form.branches)) {
  Reader reader(numbers, count);
  int outputs = 0;
  for (Branch& branch : branches) {
    reader.convolution(branch.conv_in, 6, kChannels);
    for (int block = 0; block < 2; ++block) {
      reader.convolution(branch.hidden[block], kChannels, kChannels);
      reader.convolution(branch.residual[block], kChannels, kChannels);
    }
    const float* weights = reader.take(9L * kChannels * 3);
    const float* bias = reader.take(3);
    place(branch.conv_out, weights, bias, kChannels, 3);
    place(conv_out_all, weights, bias, kChannels, 3, 3 * outputs++);
  }
  Stitch rec;
  for (Stitch* stitch : {&in, &rb[0], &rb[1], &rec, &img}) reader.stitch(*stitch, form.branches);
  fold_stitches();
  rb2_rec = rec.identity ? rb[1] : compose(rb[1], rec, form.branches);
  if (form.fused) {
    reader.convolution(fusion[0], 3 * form.branches, kChannels);
    reader.convolution(fusion[1], kChannels, kChannels);
    reader.convolution(fusion[2], kChannels, 3);
  }
  reader.finish();
  if (chosen.bf16) round_weights();
}

void Network::fold_stitches() {
  for (Stitch* stitch : {&in, &rb[0], &rb[1]})
    stitch->folds = stitch->merges && is_mean(*stitch, shape.branches);
  folded = branches;
  for (int j = 0; j < shape.branches; ++j) {
    Branch& branch = folded[static_cast<size_t>(j)];
    fold(branch.conv_in, in, j);
    for (int block = 0; block < 2; ++block) fold(branch.residual[block], rb[block], j);
  }
}

void Network::round_weights() {
  for (auto* set : {&branches, &folded})
    for (Branch& branch : *set)
      for (Convolution* convolution : {&branch.conv_in, &branch.hidden[0], &branch.hidden[1],
                                       &branch.residual[0], &branch.residual[1], &branch.conv_out})
        round_weights_of(*convolution);
  round_weights_of(conv_out_all);
  for (Convolution& convolution : fusion) round_weights_of(convolution);
}

}  // namespace cmudrn
