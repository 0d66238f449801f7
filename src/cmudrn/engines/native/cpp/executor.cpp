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
    most = std::max(most, segment.columns.size() * segment.rows.size());
  return std::min(most, static_cast<std::size_t>(threads));
}

}  // namespace

Executor::Executor(const Program& program, Size size, int threads)
    : schedule_(program, size, threads),
      threads_(count_threads(schedule_, threads)),
      scratch_(threads_),
      next_task_(schedule_.segments.size()) {
  arena_.resize(schedule_.arena);
  for (AlignedFloats& scratch : scratch_) scratch.resize(Task::scratch_floats(schedule_));
}

void Executor::run(const Pictures& pictures) {
  for (auto& next : next_task_) next = 0;
  std::barrier segment_end(static_cast<std::ptrdiff_t>(threads_));
  std::atomic<bool> no_memory{false};
  const auto worker = [&](std::size_t thread) {
    for (std::size_t s = 0; s < schedule_.segments.size(); ++s) {
      try {
        work(pictures, thread, s);
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

void Executor::work(const Pictures& pictures, std::size_t thread, std::size_t s) {
  const Segment& segment = schedule_.segments[s];
  const std::size_t rows = segment.rows.size(), tasks = segment.columns.size() * rows;
  for (std::size_t i = next_task_[s]++; i < tasks; i = next_task_[s]++) {
    Task task(schedule_, segment, segment.columns[i / rows], arena_.data(), scratch_[thread].data(),
              pictures);
    task.run(segment.rows[i % rows]);
  }
}

}  // namespace cmudrn
