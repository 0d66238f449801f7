// Convolutions that read their inputs in bfloat16, in tile registers.
#include <algorithm>

#include "task.h"

namespace cmudrn {
namespace {

// Numbers of a rounded row that so many outputs read, with what tile registers read beyond them.
long rounded_row(const Operation& operation, int outputs) {
  const long pixels =
      static_cast<long>(round_up(outputs, 4 * kTilePixels)) * operation.stride + operation.kernel;
  const long numbers = pixels * rounded_pitch(operation.group_inputs());
  return (numbers / kTileInputs + 2) * kTileInputs;
}

}  // namespace

std::size_t Task::rounded_floats(const Schedule& schedule) {
  std::size_t most = 0;
  for (const Segment& segment : schedule.segments)
    for (const ColumnStrip& strip : segment.columns)
      for (std::size_t i = 0; i < segment.operations.size(); ++i) {
        const Operation& operation = *segment.operations[i];
        if (!operation.rounded) continue;
        const Range columns = strip.operations[i];
        const long row = rounded_row(operation, columns.end - columns.begin);
        most = std::max(most, static_cast<std::size_t>(row * operation.kernel / 2));
      }
  return most;
}

// Keeps the latest rows of one group's input in bfloat16, as many as the kernel has.
void Task::run_rounded(const Operation& operation, Range rows, Range columns) {
  const Program& program = schedule_.program;
  const MapView& out = reads(operation.value);
  const int inputs = operation.group_inputs(), outputs = operation.group_outputs();
  const int count = columns.end - columns.begin, kernel = operation.kernel;
  const int stride = operation.stride, pixels = (count - 1) * stride + kernel;
  auto* const rounded = reinterpret_cast<std::uint16_t*>(rounded_);
  RoundedInput input{};
  input.pitch = rounded_pitch(inputs);
  input.kernel = kernel;
  input.stride = stride;
  const long row = rounded_row(operation, count);
  for (int group = 0; group < operation.groups; ++group) {
    int next = rows.begin * stride - operation.pad;  // the first row that is not rounded yet
    const int origin = next;
    for (int y = rows.begin; y < rows.end; ++y) {
      const int top = y * stride - operation.pad;
      for (next = std::max(next, top); next < top + kernel; ++next)
        program.kernels.round(
            input_row(operation, next, columns.begin * stride - operation.pad, group * inputs),
            reads(operation.sources[0].value).pixel, pixels, inputs,
            rounded + (next - origin) % kernel * row);
      for (int ky = 0; ky < kernel; ++ky)
        input.rows[ky] = rounded + (top + ky - origin) % kernel * row;
      Epilogue after = epilogue(operation, group);
      after.residual[0] = residual_at(operation, y, columns.begin, group);
      const float* weights = program.packed.data() + operation.weights;
      const float* bias = program.packed.data() + operation.bias;
      program.kernels.convolve_rounded(
          input,
          reinterpret_cast<const std::uint16_t*>(weights + static_cast<std::size_t>(group) *
                                                               operation.group_floats),
          bias + static_cast<long>(group) * operation.padded_outputs, outputs, after, count,
          out.at(y, columns.begin) + operation.channel + group * outputs, out.pixel);
    }
  }
}

}  // namespace cmudrn
