#include "program.h"

#include <cstring>
#include <stdexcept>

#include "fusion.h"
#include "packing.h"

namespace cmudrn {
namespace {

constexpr std::int64_t kVersion = 1;
constexpr int kHeader = 4;  // version, values, operations, pictures
constexpr int kOperationFields = 19;
constexpr int kSourceFields = 8;
constexpr int kRecord = kOperationFields + kMaxSources * kSourceFields;
constexpr int kMaxChannels = 4096;
constexpr int kMaxValues = 8192;
constexpr int kMaxFactor = 16;
constexpr int kMaxStride = 4;

void require(bool holds, const char* what) {
  if (!holds) throw std::invalid_argument(what);
}

class Reader {
 public:
  Reader(const std::int64_t* code, long count) : next_(code), left_(count) {}

  int take(std::int64_t least, std::int64_t most) {
    require(left_ > 0, "the program is too short");
    --left_;
    const std::int64_t number = *next_++;
    require(least <= number && number <= most, "a number of the program is out of bounds");
    return static_cast<int>(number);
  }

  long index(std::int64_t count) {
    require(left_ > 0, "the program is too short");
    --left_;
    const std::int64_t number = *next_++;
    require(-1 <= number && number < count, "weights lie out of bounds");
    return static_cast<long>(number);
  }

  void finish() const { require(left_ == 0, "the program is too long"); }

 private:
  const std::int64_t* next_;
  long left_;
};

Source read_source(Reader& reader, int values, long numbers) {
  Source source;
  source.value = reader.take(-1, values - 1);
  source.channel = reader.take(0, kMaxChannels);
  source.up = reader.take(1, kMaxFactor);
  source.phases = reader.take(0, kMaxChannels);
  source.down = reader.take(1, kMaxFactor);
  source.top = reader.take(0, kMaxFactor - 1);
  source.left = reader.take(0, kMaxFactor - 1);
  source.weights = reader.index(numbers);
  return source;
}

Operation read_operation(Reader& reader, int values, int pictures, long numbers) {
  Operation operation{};
  operation.kind = static_cast<Kind>(reader.take(0, 4));
  operation.value = reader.take(-1, values - 1);
  operation.channel = reader.take(0, kMaxChannels);
  operation.outputs = reader.take(1, kMaxChannels);
  operation.inputs = reader.take(0, kMaxChannels);
  operation.kernel = reader.take(1, kMaxKernel);
  operation.stride = reader.take(1, kMaxStride);
  operation.pad = reader.take(0, kMaxKernel - 1);
  operation.groups = reader.take(1, kMaxChannels);
  operation.activation = static_cast<Activation>(reader.take(0, 4));
  operation.add_first = reader.take(0, 1) != 0;
  operation.factor = reader.take(1, kMaxFactor);
  operation.depth_last = reader.take(0, 1) != 0;
  operation.picture = reader.take(0, pictures - 1);
  operation.add_degraded = reader.take(0, 1) != 0;
  operation.weights = reader.index(numbers);
  operation.bias = reader.index(numbers);
  operation.slopes = reader.index(numbers);
  const int count = reader.take(0, kMaxSources);
  for (int i = 0; i < kMaxSources; ++i) {
    const Source source = read_source(reader, values, numbers);
    if (i < count) operation.sources.push_back(source);
  }
  return operation;
}

// Checks one operation by itself, and what it reads and writes against what was written before.
class Checker {
 public:
  Checker(const std::vector<int>& channels, int pictures, long numbers)
      : channels_(channels),
        numbers_(numbers),
        written_(channels.size()),
        read_(channels.size()),
        made_(static_cast<std::size_t>(pictures)) {
    for (std::size_t v = 0; v < channels.size(); ++v)
      written_[v].resize(static_cast<std::size_t>(channels[v]));
  }

  void check(const Operation& operation) {
    require((operation.slopes >= 0) == (operation.activation == Activation::slope),
            "slopes belong to one activation");
    numbers(operation.slopes, operation.outputs);
    numbers(operation.bias, operation.outputs);
    switch (operation.kind) {
      case Kind::input:
        require(operation.sources.empty() && operation.bias < 0 &&
                    operation.activation == Activation::none &&
                    operation.outputs == 3 * operation.factor * operation.factor,
                "an input has three channels");
        break;
      case Kind::output:
        return check_output(operation);
      case Kind::convolution:
        check_convolution(operation);
        break;
      case Kind::product:
        require(operation.sources.size() == 2, "a product has two factors");
        for (const Source& source : operation.sources)
          require(source.weights < 0, "a product has no weights");
        [[fallthrough]];
      case Kind::combination:
        check_combination(operation);
    }
    write(operation);
  }

  void finish() const {
    for (const bool made : made_) require(made, "a picture is never made");
  }

 private:
  void numbers(long first, std::int64_t count) const {
    require(first < 0 || count <= numbers_ - first, "weights lie out of bounds");
  }

  void read(int value, std::int64_t channel, std::int64_t count) {
    require(value >= 0, "a source is missing");
    const auto& written = written_[static_cast<std::size_t>(value)];
    require(channel + count <= static_cast<std::int64_t>(written.size()),
            "channels lie out of bounds");
    for (std::int64_t c = channel; c < channel + count; ++c)
      require(written[static_cast<std::size_t>(c)], "a map is read before it is written");
    read_[static_cast<std::size_t>(value)] = true;
  }

  void write(const Operation& operation) {
    require(operation.value >= 0, "a result is missing");
    auto& written = written_[static_cast<std::size_t>(operation.value)];
    require(!read_[static_cast<std::size_t>(operation.value)], "a map is written after it is read");
    require(
        static_cast<std::size_t>(operation.channel) + static_cast<std::size_t>(operation.outputs) <=
            written.size(),
        "channels lie out of bounds");
    for (int c = operation.channel; c < operation.channel + operation.outputs; ++c) {
      require(!written[static_cast<std::size_t>(c)], "a map is written twice");
      written[static_cast<std::size_t>(c)] = true;
    }
  }

  void check_output(const Operation& operation) {
    require(operation.sources.size() == 1 && operation.value == -1 && operation.bias < 0 &&
                operation.activation == Activation::none,
            "an output reads one map");
    require(operation.outputs == 3 * operation.factor * operation.factor,
            "a picture has three channels");
    plain(operation.sources[0]);
    read(operation.sources[0].value, operation.sources[0].channel, operation.outputs);
    const auto picture = static_cast<std::size_t>(operation.picture);
    require(!made_[picture], "a picture is made twice");
    made_[picture] = true;
  }

  static void plain(const Source& source) {
    require(source.up == 1 && source.phases == 0 && source.down == 1 && source.top == 0 &&
                source.left == 0 && source.weights == -1,
            "only combinations resample");
  }

  void check_convolution(const Operation& operation) {
    require(operation.sources.size() == 1 || operation.sources.size() == 2,
            "a convolution reads one map and a residual");
    require(operation.inputs >= 1 && operation.inputs % operation.groups == 0 &&
                operation.outputs % operation.groups == 0,
            "groups do not divide the channels");
    require(operation.pad < operation.kernel, "a convolution sees nothing but padding");
    require(operation.activation == Activation::none || operation.activation == Activation::relu ||
                operation.activation == Activation::slope,
            "a convolution has no such activation");
    require(operation.weights >= 0, "a convolution has weights");
    numbers(operation.weights, std::int64_t{operation.kernel} * operation.kernel *
                                   operation.group_inputs() * operation.outputs);
    for (const Source& source : operation.sources) plain(source);
    read(operation.sources[0].value, operation.sources[0].channel, operation.inputs);
    if (operation.has_residual())
      read(operation.sources[1].value, operation.sources[1].channel, operation.outputs);
  }

  void check_combination(const Operation& operation) {
    require(!operation.sources.empty(), "a combination reads nothing");
    for (const Source& source : operation.sources) {
      require(source.up == 1 || source.down == 1, "a source is enlarged and reduced");
      require(source.top < source.down && source.left < source.down, "an offset is out of bounds");
      const std::int64_t phases = std::int64_t{source.up} * source.up - 1;
      read(source.value, source.channel, phases * source.phases + operation.outputs);
      numbers(source.weights, operation.outputs);
    }
  }

  const std::vector<int>& channels_;
  long numbers_;
  std::vector<std::vector<bool>> written_;
  std::vector<bool> read_;
  std::vector<bool> made_;
};

}  // namespace

Program::Program(const LayerKernels& chosen, const LayerKernels& exact_kernels,
                 const std::int64_t* code, long code_count, const float* numbers, long count)
    : kernels(chosen), exact(exact_kernels) {
  Reader reader(code, code_count);
  require(reader.take(kVersion, kVersion) == kVersion, "another version");
  const int values = reader.take(1, kMaxValues);
  const int length = reader.take(1, kMaxValues);
  pictures = reader.take(1, kMaxPictures);
  require(code_count == kHeader + values + std::int64_t{length} * kRecord, "another length");
  for (int v = 0; v < values; ++v) channels.push_back(reader.take(1, kMaxChannels));
  Checker checker(channels, pictures, count);
  for (int i = 0; i < length; ++i) {
    operations.push_back(read_operation(reader, values, pictures, count));
    checker.check(operations.back());
  }
  reader.finish();
  checker.finish();
  fuse(*this);
  pack(*this, numbers);
}

}  // namespace cmudrn
