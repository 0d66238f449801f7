#include "stream.h"

#include <algorithm>
#include <barrier>
#include <cstring>
#include <system_error>
#include <thread>

namespace cmudrn {
namespace {

constexpr int kStepRows = 32;       // rows a task moves on at most, but for the flush at the end
constexpr int kStripColumns = 512;  // about; wide strips recompute less, narrow ones fit the cache
constexpr int kLeastColumns = 48;   // narrower strips, to feed more threads, do not pay

// Rows between what a pipeline has read and what it has finished.
int lag(const Pipeline& pipeline) { return kTileRows * (pipeline.depth() + 1); }

// Rows to keep of a picture that a section writes while the next ones read it.
int kept_rows(int height, int delay) { return std::min(height, 3 * kStepRows + delay); }

// Rows between the newest degraded row and the oldest one that the last stage still adds to.
int whole_delay(const Pipeline& stage, int stages) { return stages * (lag(stage) + 2 * kStepRows); }

// Mixes the branches' estimates of one pixel, in place.
void stitch_pixel(const Stitch& stitch, float* const* estimates, size_t branches, long at) {
  for (int c = 0; c < 3; ++c) {
    float before[kMostBranches];
    for (size_t j = 0; j < branches; ++j) before[j] = estimates[j][at + c];
    for (size_t i = 0; i < branches; ++i) {
      float sum = 0;
      for (size_t j = 0; j < branches; ++j)
        sum += stitch.matrix[(i * branches + j) * kChannels + static_cast<size_t>(c)] * before[j];
      estimates[i][at + c] = sum;
    }
  }
}

void copy_pixel(float* to, const float* from) {
  std::memcpy(to, from, RowRing::kPixel * sizeof(float));
}

int count_strips(int width, int threads) {
  int strips = (width + kStripColumns - 1) / kStripColumns;
  strips = (strips + threads - 1) / threads * threads;
  return std::max(1, std::min(strips, width / kLeastColumns));
}

}  // namespace

Stream::Stream(const Network& network, int height, int width, int stages, int recursions,
               int threads)
    : network_(network),
      height_(height),
      width_(width),
      threads_(threads),
      first_(stage_pipeline(network, recursions, true)),
      later_(stage_pipeline(network, recursions, false)),
      fusion_(fusion_pipeline(network)),
      degraded_(kept_rows(height, whole_delay(first_, stages)), width) {
  const int rows = kept_rows(height, lag(first_) + lag(fusion_) + 2 * kStepRows);
  for (int stage = 0; stage < stages; ++stage) {
    add_section(stage == 0 ? first_ : later_, threads);
    auto& rings = estimates_.emplace_back();
    for (int b = 0; b < network.shape.branches; ++b) rings.emplace_back(rows, width);
  }
  add_section(fusion_, threads);
}

void Stream::add_section(const Pipeline& pipeline, int threads) {
  Section& section = sections_.emplace_back();
  section.pipeline = &pipeline;
  const int strips = count_strips(width_, threads);
  for (int i = 0; i < strips; ++i) {
    const auto edge = [&](int n) {
      return static_cast<int>(static_cast<long>(width_) * n / strips);
    };
    section.strips.emplace_back(network_.kernels, pipeline, height_, width_, edge(i), edge(i + 1));
  }
}

int Stream::push(const float* degraded, long plane, int rows, Planes restored,
                 const Planes* branches) {
  source_ = degraded;
  source_plane_ = plane;
  source_begin_ = loaded_;
  source_end_ = loaded_ + rows;
  restored_ = restored;
  branches_ = branches;
  target_begin_ = sections_.back().done;
  plan_step();
  const auto next_step = [this]() noexcept {
    finish_step();
    plan_step();
  };
  std::barrier step_end(threads_, next_step);
  const auto worker = [&] {
    while (!tasks_.empty()) {
      work();
      step_end.arrive_and_wait();
    }
  };
  std::vector<std::thread> helpers;
  for (int i = 1; i < threads_; ++i) {
    try {
      helpers.emplace_back(worker);
    } catch (const std::system_error&) {  // the system gives no more threads: go on with fewer
      step_end.arrive_and_drop();
    }
  }
  worker();
  for (std::thread& helper : helpers) helper.join();
  return sections_.back().done - target_begin_;
}

// Says how far each section may go on the rows that exist now, and lists the tasks that can move.
void Stream::plan_step() {
  load_degraded();
  tasks_.clear();
  int available = loaded_;
  for (size_t s = 0; s < sections_.size(); ++s) {
    Section& section = sections_[s];
    const int limit = std::min(available, section.taken + kStepRows);
    section.limit = limit == height_ ? limit : limit / kTileRows * kTileRows;
    if (section.limit > section.taken)
      for (size_t i = 0; i < section.strips.size(); ++i) tasks_.push_back({s, i});
    available = section.done;
  }
  next_task_ = 0;
}

void Stream::finish_step() {
  for (Section& section : sections_) {
    section.taken = std::max(section.taken, section.limit);
    const int finished = section.taken / kTileRows - section.pipeline->depth();
    section.done = section.taken == height_ ? height_ : std::max(0, kTileRows * finished);
  }
}

void Stream::load_degraded() {
  const int end = std::min(source_end_, sections_.front().taken + kStepRows);
  for (; loaded_ < end; ++loaded_) {
    const float* from = source_ + static_cast<long>(loaded_ - source_begin_) * width_;
    float* to = degraded_.row(loaded_);
    for (int x = 0; x < width_; ++x, to += RowRing::kPixel)
      for (int c = 0; c < 3; ++c) to[c] = from[c * source_plane_ + x];
  }
}

void Stream::work() {
  for (size_t i = next_task_++; i < tasks_.size(); i = next_task_++) run(tasks_[i]);
}

void Stream::run(const Task& task) {
  Strip& strip = sections_[task.section].strips[task.strip];
  if (task.section < estimates_.size())
    run_stage(task.section, strip);
  else
    run_fusion(strip);
}

void Stream::run_stage(size_t stage, Strip& strip) {
  strip.advance(
      sections_[stage].limit, [&](int row) { load_inputs(stage, strip, row); },
      [&](int row) { emit_estimates(stage, strip, row); });
}

void Stream::run_fusion(Strip& strip) {
  const auto load = [&](int row) {
    for (size_t b = 0; b < estimates_.back().size() && network_.shape.fused; ++b) {
      const float* from = estimates_.back()[b].row(row) + strip.load_begin() * RowRing::kPixel;
      float* to = strip.at(0, row, strip.load_begin()) + 3 * b;
      for (int x = strip.load_begin(); x < strip.load_end(); ++x, to += kChannels, from += 4)
        copy_pixel(to, from);
    }
  };
  strip.advance(sections_.back().limit, load, [&](int row) { emit_restored(strip, row); });
}

// Fills the input maps: degraded in channels 0 to 2, the branch's estimate in 3 to 5. Copies whole
// pixels, four floats, which is faster; convolutions do not look at the channels beyond theirs.
void Stream::load_inputs(size_t stage, const Strip& strip, int row) const {
  const long skipped = static_cast<long>(strip.load_begin()) * RowRing::kPixel;
  for (int map = 0; map < sections_[stage].pipeline->inputs; ++map) {
    const float* degraded = degraded_.row(row) + skipped;
    const float* estimate =
        stage == 0 ? degraded : estimates_[stage - 1][static_cast<size_t>(map)].row(row) + skipped;
    float* to = strip.at(map, row, strip.load_begin());
    for (int x = strip.load_begin(); x < strip.load_end(); ++x) {
      copy_pixel(to, degraded);
      copy_pixel(to + 3, estimate);
      to += kChannels;
      degraded += RowRing::kPixel;
      estimate += RowRing::kPixel;
    }
  }
}

// Writes each branch's estimate: degraded + what its conv_out made, then stitched.
void Stream::emit_estimates(size_t stage, const Strip& strip, int row) const {
  const std::vector<int>& maps = sections_[stage].pipeline->outputs;
  const size_t branches = estimates_[stage].size();
  const bool together = maps.size() == 1;  // branch b in channels 3b to 3b + 2 of one map
  const float* degraded = degraded_.row(row) + strip.begin() * RowRing::kPixel;
  const long columns = strip.end() - strip.begin();
  float* to[kMostBranches];
  for (size_t b = 0; b < branches; ++b) {
    const float* residual =
        strip.at(maps[together ? 0 : b], row, strip.begin()) + (together ? 3 * b : 0);
    to[b] = estimates_[stage][b].row(row) + strip.begin() * RowRing::kPixel;
    for (long x = 0; x < columns; ++x)
      for (int c = 0; c < RowRing::kPixel; ++c)
        to[b][4 * x + c] = degraded[4 * x + c] + residual[kChannels * x + c];
  }
  if (network_.img.identity) return;
  for (long x = 0; x < columns; ++x) stitch_pixel(network_.img, to, branches, 4 * x);
}

// Writes a finished row to the caller's planes.
void Stream::emit_restored(const Strip& strip, int row) const {
  const Shape& shape = network_.shape;
  const size_t branches = estimates_.back().size();
  const long target = static_cast<long>(row - target_begin_) * width_ + strip.begin();
  const float* estimates[kMostBranches];
  for (size_t b = 0; b < branches; ++b)
    estimates[b] = estimates_.back()[b].row(row) + strip.begin() * RowRing::kPixel;
  const float* fused = shape.fused ? strip.at(3, row, strip.begin()) : nullptr;
  for (int c = 0; c < 3; ++c) {
    float* restored = restored_.data + c * restored_.plane + target;
    for (long x = 0; x < strip.end() - strip.begin(); ++x) {
      float sum = 0;
      for (size_t b = 0; b < branches; ++b) {
        const float estimate = estimates[b][4 * x + c];
        if (branches_) branches_[b].data[c * branches_[b].plane + target + x] = estimate;
        sum += estimate;
      }
      const float mean = sum / static_cast<float>(branches);
      restored[x] = fused ? fused[kChannels * x + c] + (shape.fusion_skip ? mean : 0.f) : mean;
    }
  }
}

}  // namespace cmudrn
