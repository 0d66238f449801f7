#include "executor.h"

#include <algorithm>
#include <barrier>
#include <cstring>
#include <new>
#include <system_error>
#include <thread>

#include "task.h"

namespace cmudrn {
namespace {

std::size_t count_threads(const Schedule& schedule, int threads) {
  std::size_t most = 1;
  for (const Segment& segment : schedule.segments)
    for (const auto& tasks : segment.steps)
      most = std::max(most, segment.columns.size() * tasks.size());
  return std::min(most, static_cast<std::size_t>(threads));
}

}  // namespace

Executor::Executor(const Program& program, Size size, int threads, int step_rows)
    : schedule_(program, size, threads, step_rows),
      threads_(count_threads(schedule_, threads)),
      scratch_(threads_),
      next_task_(schedule_.segments.size()) {
  arena_.resize(schedule_.arena);
  rings_.resize(schedule_.rings);
  for (AlignedFloats& scratch : scratch_) scratch.resize(Task::scratch_floats(schedule_));
}

void Executor::run(const float* degraded, float* const* made) {
  const long plane = static_cast<long>(schedule_.size.height) * schedule_.size.width;
  run_step({degraded, plane, schedule_.size.height, made, plane, 0}, 0);
}

int Executor::push(const float* degraded, long plane, int rows, float* const* made,
                   long made_plane) {
  const int width = schedule_.size.width, kept = schedule_.degraded_rows;
  const int first = step_ == 0 ? 0 : schedule_.steps[step_ - 1].finished;
  degraded_.resize(3 * static_cast<std::size_t>(kept) * static_cast<std::size_t>(width));
  int finished = first;
  if (loaded_ == 0) begin_picture();
  while (step_ < schedule_.steps.size()) {
    const int missing = std::min(rows, schedule_.steps[step_].loaded - loaded_);
    load(degraded, plane, missing);
    degraded += static_cast<long>(missing) * width;
    rows -= missing;
    if (loaded_ < schedule_.steps[step_].loaded) break;
    const Pictures pictures = {
        degraded_.data(), static_cast<long>(kept) * width, kept, made, made_plane, first};
    run_step(pictures, step_);
    finished = schedule_.steps[step_++].finished;
  }
  if (step_ == schedule_.steps.size()) step_ = 0, loaded_ = 0;  // ready for the next picture
  return finished - first;
}

void Executor::begin_picture() {
  done_.clear();
  for (const Segment& segment : schedule_.segments) done_.emplace_back(segment.columns.size());
}

void Executor::load(const float* rows, long plane, int count) {
  const int width = schedule_.size.width, kept = schedule_.degraded_rows;
  for (int colour = 0; colour < 3; ++colour)
    for (int y = 0; y < count; ++y) {
      const long to = static_cast<long>(colour) * kept + (loaded_ + y) % kept;
      std::memcpy(degraded_.data() + to * width,
                  rows + colour * plane + static_cast<long>(y) * width,
                  static_cast<std::size_t>(width) * sizeof(float));
    }
  loaded_ += count;
}

void Executor::run_step(const Pictures& pictures, std::size_t step) {
  for (auto& next : next_task_) next = 0;
  std::barrier segment_end(static_cast<std::ptrdiff_t>(threads_));
  std::atomic<bool> no_memory{false};
  const auto worker = [&](std::size_t thread) {
    for (std::size_t s = 0; s < schedule_.segments.size(); ++s) {
      try {
        work(pictures, thread, s, step);
      } catch (const std::bad_alloc&) {
        no_memory = true;
      }
      segment_end.arrive_and_wait();
    }
  };
  std::vector<std::thread> helpers;
  helpers.reserve(threads_);
  for (std::size_t i = 1; i < threads_; ++i) {
    try {
      helpers.emplace_back(worker, i);
    } catch (const std::system_error&) {  // the system gives no more threads: go on with fewer
      segment_end.arrive_and_drop();
    }
  }
  worker(0);
  for (std::thread& helper : helpers) helper.join();
  if (no_memory) throw std::bad_alloc();
}

void Executor::work(const Pictures& pictures, std::size_t thread, std::size_t s, std::size_t step) {
  const Segment& segment = schedule_.segments[s];
  const std::vector<Range>& ranges = segment.steps[step];
  const std::size_t rows = ranges.size(), tasks = segment.columns.size() * rows;
  for (std::size_t i = next_task_[s]++; i < tasks; i = next_task_[s]++) {
    const std::size_t strip = i / rows;
    float* rings = nullptr;
    if (schedule_.in_steps()) rings = rings_.data() + segment.offset + strip * segment.memory;
    Task task(schedule_, segment, segment.columns[strip], arena_.data(), scratch_[thread].data(),
              pictures, rings);
    if (rings)
      task.go_on(ranges[i % rows], done_[s][strip]);
    else
      task.run(ranges[i % rows]);
  }
}

}  // namespace cmudrn
