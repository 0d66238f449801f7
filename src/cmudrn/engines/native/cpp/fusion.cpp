#include "fusion.h"

#include <algorithm>
#include <utility>

namespace cmudrn {
namespace {

using Indices = std::vector<std::size_t>;

bool plain(const Source& source) {
  return source.up == 1 && source.down == 1 && source.weights < 0;
}

class Fusion {
 public:
  explicit Fusion(Program& program)
      : program_(program),
        writers_(program.channels.size()),
        readers_(program.channels.size()),
        made_(program.operations.size()),
        taken_(program.operations.size()) {
    for (std::size_t i = 0; i < made_.size(); ++i) {
      const Operation& operation = program.operations[i];
      made_[i] = {operation};
      if (operation.value >= 0) writers_[static_cast<std::size_t>(operation.value)].push_back(i);
      for (const Source& source : operation.sources) {
        Indices& readers = readers_[static_cast<std::size_t>(source.value)];
        if (readers.empty() || readers.back() != i) readers.push_back(i);
      }
    }
  }

  void run() {
    for (std::size_t i = 0; i < made_.size(); ++i)
      if (!mix(i)) shuffle(i);
    program_.operations.clear();
    for (auto& operations : made_)
      for (Operation& operation : operations) program_.operations.push_back(std::move(operation));
  }

 private:
  const Operation& at(std::size_t i) const { return program_.operations[i]; }

  // Whether it is a convolution that alone makes a map, and no other operation was fused with it.
  bool alone(std::size_t i) const {
    const Operation& operation = at(i);
    if (operation.kind != Kind::convolution || taken_[i]) return false;
    const auto value = static_cast<std::size_t>(operation.value);
    return writers_[value].size() == 1 && operation.outputs == program_.channels[value] &&
           !readers_[value].empty();
  }

  // Returns the sums that read a convolution's map and make neighbouring parts of another one, one
  // for every group, in the order of their channels; none where something else reads it.
  Indices sums_of(std::size_t i) const {
    Indices sums = readers_[static_cast<std::size_t>(at(i).value)];
    if (sums.size() != static_cast<std::size_t>(at(i).groups)) return {};
    std::sort(sums.begin(), sums.end(),
              [&](std::size_t a, std::size_t b) { return at(a).channel < at(b).channel; });
    const Operation& first = at(sums[0]);
    for (std::size_t k = 0; k < sums.size(); ++k) {
      const Operation& sum = at(sums[k]);
      const bool fits = sum.kind == Kind::combination && !taken_[sums[k]] &&
                        sum.activation == Activation::none && sum.value == first.value &&
                        sum.outputs == first.outputs &&
                        sum.channel == first.channel + static_cast<int>(k) * first.outputs;
      if (!fits) return {};
    }
    return sums;
  }

  void take(const Indices& operations) {
    for (const std::size_t i : operations) {
      made_[i].clear();
      taken_[i] = true;
    }
  }

  // A convolution of groups whose results are then mixed channel by channel.
  bool mix(std::size_t i) {
    if (!alone(i) || at(i).groups < 2 || at(i).groups > kMaxSources) return false;
    Operation made = at(i);
    const Indices sums = sums_of(i);
    const auto count = static_cast<std::size_t>(made.groups);
    if (sums.empty() || at(sums[0]).outputs != made.group_outputs()) return false;
    made.mix.assign(count * (count + 1), -1);
    for (std::size_t k = 0; k < count; ++k) {
      if (at(sums[k]).sources.size() != count) return false;
      for (const Source& source : at(sums[k]).sources) {
        const auto group = static_cast<std::size_t>(source.channel / made.group_outputs());
        if (source.value != made.value || source.up != 1 || source.down != 1 ||
            source.weights < 0 || source.channel % made.group_outputs() != 0)
          return false;
        long& factors = made.mix[k * (count + 1) + group];
        if (factors >= 0) return false;  // a group is added twice, and another one is not
        factors = source.weights;
      }
      made.mix[k * (count + 1) + count] = at(sums[k]).bias;
    }
    made.value = at(sums[0]).value;
    made.channel = at(sums[0]).channel;
    take(sums);
    take({i});
    made_[i] = {made};
    return true;
  }

  // A 1x1 convolution whose results are then pixel-shuffled and added to other maps: one of them
  // becomes its residual, and its result the residual of another convolution that makes the other.
  bool shuffle(std::size_t i) {
    if (!alone(i) || at(i).kernel != 1 || at(i).has_residual()) return false;
    Operation made = at(i);
    const Indices sums = sums_of(i);
    if (sums.empty()) return false;
    std::vector<Source> others;
    for (std::size_t k = 0; k < sums.size(); ++k)
      if (!reads_shuffled(made, at(sums[k]), static_cast<int>(k), others)) return false;
    const Operation& first = at(sums[0]);
    made.outputs = first.outputs * made.groups;
    made.value = first.value;
    made.channel = first.channel;
    std::vector<Operation> operations;
    if (others.size() == 2) {
      const bool swapped = adds(others[0], sums, made.outputs);
      if (!swapped && !adds(others[1], sums, made.outputs)) return false;
      if (swapped) std::swap(others[0], others[1]);
      const std::size_t adder = writers_[static_cast<std::size_t>(others[1].value)][0];
      Operation last = at(adder);
      last.value = made.value;
      last.channel = made.channel;
      last.sources.push_back(others[1]);
      made.value = others[1].value;
      made.channel = 0;
      operations.push_back(std::move(last));
      take({adder});
    }
    if (!others.empty()) made.sources.push_back(others[0]);
    made.add_first = false;
    operations.insert(operations.begin(), std::move(made));
    take(sums);
    take({i});
    made_[*std::min_element(sums.begin(), sums.end())] = std::move(operations);
    return true;
  }

  // Whether a sum adds a group of a convolution, pixel-shuffled, and up to two other maps as they
  // are; the same ones for every group, which are noted with the first.
  bool reads_shuffled(Operation& made, const Operation& sum, int group,
                      std::vector<Source>& others) const {
    std::vector<Source> rest;
    bool found = false;
    if (sum.bias >= 0) return false;
    for (const Source& source : sum.sources) {
      if (source.value != made.value) {
        rest.push_back(source);
        continue;
      }
      if (group == 0) made.up = source.up;
      const bool fits = !found && source.up > 1 && source.up == made.up && source.weights < 0 &&
                        source.phases == sum.outputs &&
                        source.channel == group * made.group_outputs() &&
                        made.group_outputs() == sum.outputs * made.up * made.up;
      if (!fits) return false;
      found = true;
    }
    if (group == 0) others = rest;
    if (!found || rest.size() != others.size() || rest.size() > 2 || wastes(made, sum.outputs))
      return false;
    for (std::size_t k = 0; k < rest.size(); ++k)
      if (!plain(rest[k]) || rest[k].value != others[k].value ||
          rest[k].channel != others[k].channel + group * sum.outputs)
        return false;
    return true;
  }

  // Whether too much of the vectors would be empty if they began anew at every place of a shuffle.
  bool wastes(const Operation& made, int outputs) const {
    const int lanes = program_.kernels.lanes, places = made.up * made.up;
    return 2 * round_up(outputs, lanes) * places > 3 * round_up(outputs * places, lanes);
  }

  // Whether a map is made by a convolution that could add a residual on the way, and read by
  // nothing but these sums.
  bool adds(const Source& source, const Indices& sums, int channels) const {
    const auto value = static_cast<std::size_t>(source.value);
    if (source.channel != 0 || writers_[value].size() != 1 ||
        program_.channels[value] != channels || readers_[value].size() != sums.size())
      return false;
    const std::size_t i = writers_[value][0];
    const Operation& writer = at(i);
    return alone(i) && !writer.has_residual() && writer.activation == Activation::none;
  }

  Program& program_;
  std::vector<Indices> writers_, readers_;    // of every value
  std::vector<std::vector<Operation>> made_;  // in the place of every operation
  std::vector<bool> taken_;                   // operations that are parts of others
};

}  // namespace

void fuse(Program& program) { Fusion(program).run(); }

}  // namespace cmudrn
