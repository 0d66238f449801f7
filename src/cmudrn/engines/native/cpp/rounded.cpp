// Convolutions that read their inputs in bfloat16, in tile registers.
#include <algorithm>

#include "task.h"

namespace cmudrn {
namespace {

// Outputs along a row, before pixel shuffle.
int outputs_of(const Operation& operation, Range columns) {
  return (columns.end - 1) / operation.up - columns.begin / operation.up + 1;
}

// Numbers of a rounded row that so many outputs read, with what tile registers read beyond them.
long rounded_row(const Operation& operation, int outputs) {
  const int beyond = operation.up - 1;  // a place of pixel shuffle may begin one output later
  const long pixels =
      static_cast<long>(round_up(outputs, 4 * kTilePixels) + beyond) * operation.stride +
      operation.kernel;
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
        const long row = rounded_row(operation, outputs_of(operation, strip.operations[i]));
        most = std::max(most, static_cast<std::size_t>(row * operation.kernel / 2));
      }
  return most;
}

// Keeps the latest rows of one group's input in bfloat16, as many as the kernel has.
void Task::run_rounded(const Operation& operation, Range rows, Range columns) {
  const Program& program = schedule_.program;
  const int inputs = operation.group_inputs(), count = outputs_of(operation, columns);
  const int kernel = operation.kernel, stride = operation.stride, up = operation.up;
  const int first = columns.begin / up, pixels = (count - 1) * stride + kernel;
  auto* const rounded = reinterpret_cast<std::uint16_t*>(rounded_);
  RoundedInput input{};
  input.pitch = rounded_pitch(inputs);
  input.kernel = kernel;
  input.stride = stride;
  const long row = rounded_row(operation, count);
  for (int group = 0; group < operation.groups; ++group) {
    int next = rows.begin / up * stride - operation.pad;  // the first row that is not rounded yet
    const int origin = next;
    for (int y = rows.begin; y < rows.end; ++y) {
      const int top = y / up * stride - operation.pad;
      for (next = std::max(next, top); next < top + kernel; ++next)
        program.kernels.round(
            input_row(operation, next, first * stride - operation.pad, group * inputs),
            reads(operation.sources[0].value).pixel, pixels, inputs,
            rounded + (next - origin) % kernel * row);
      for (int dx = 0; dx < up; ++dx) {
        const Part part = part_of(operation, y, columns, group, dx);
        const long skipped = static_cast<long>(part.x - first) * stride * input.pitch;
        for (int ky = 0; ky < kernel; ++ky)
          input.rows[ky] = rounded + (top + ky - origin) % kernel * row + skipped;
        program.kernels.convolve_rounded(
            input, reinterpret_cast<const std::uint16_t*>(part.weights), part.bias,
            operation.group_outputs(), part.epilogue, part.count, part.out, part.pixel);
      }
    }
  }
  mix(operation, rows, columns);
}

}  // namespace cmudrn
