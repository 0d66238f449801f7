// What Python calls (through ctypes). Nothing throws across this border.
#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#endif

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <exception>
#include <numeric>
#include <stdexcept>
#include <thread>
#include <vector>

#include "convolutions.h"
#include "executor.h"
#include "stream.h"

#if defined(_WIN32)
#define CMUDRN_EXPORT extern "C" __declspec(dllexport)
#else
#define CMUDRN_EXPORT extern "C" __attribute__((visibility("default")))
#endif

namespace {

using cmudrn::BatchShape;
using cmudrn::Executor;
using cmudrn::Kernels;
using cmudrn::LayerKernels;
using cmudrn::Network;
using cmudrn::Planes;
using cmudrn::Program;
using cmudrn::Stream;

#if defined(__aarch64__)
// Whether the processor has dot products of bfloat16 numbers.
bool has_bf16() {
#if defined(__linux__)
  constexpr unsigned long kBf16 = 1UL << 14;  // HWCAP2_BF16, which old headers lack
  return (getauxval(AT_HWCAP2) & kBf16) != 0;
#elif defined(__APPLE__)
  int has = 0;
  std::size_t size = sizeof has;
  return sysctlbyname("hw.optional.arm.FEAT_BF16", &has, &size, nullptr, 0) == 0 && has != 0;
#else
  return false;
#endif
}
#endif

#if defined(__x86_64__)
// Whether the processor has tile registers with products of bfloat16 numbers, and the system lets
// this process use them. Linux wants to be asked once, since they make a thread's state larger.
bool has_tiles() {
#if defined(__linux__)
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  constexpr unsigned kTiles = 1U << 24, kBf16 = 1U << 22;
  if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) || !(edx & kTiles) || !(edx & kBf16))
    return false;
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XTILEDATA
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}
#endif

bool runs_here(const Kernels& kernels) {
#if defined(__aarch64__)
  if (&kernels == &cmudrn::kNeon) return true;
  if (&kernels == &cmudrn::kNeonBf16) return has_bf16();
#elif defined(CMUDRN_ANY_CPU)
  return true;
#elif defined(__x86_64__)
  __builtin_cpu_init();
  if (&kernels == &cmudrn::kAvx2)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (&kernels == &cmudrn::kAvx512)
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
  if (&kernels == &cmudrn::kAvx512Bf16)
    return runs_here(cmudrn::kAvx512) && __builtin_cpu_supports("avx512bf16");
  if (&kernels == &cmudrn::kAmxBf16) {
    static const bool tiles = has_tiles();
    return tiles && runs_here(cmudrn::kAvx512Bf16);
  }
#endif
  return &kernels == &cmudrn::kPortable;
}

constexpr int kMaxSide = 1 << 20;
constexpr int kMaxDepth = 64;
constexpr int kMaxThreads = 4096;

const Kernels* find(const char* isa) {
#if defined(__x86_64__)
  const Kernels* every[] = {&cmudrn::kPortable, &cmudrn::kAvx2, &cmudrn::kAvx512,
                            &cmudrn::kAvx512Bf16, &cmudrn::kAmxBf16};
#elif defined(__aarch64__)
  const Kernels* every[] = {&cmudrn::kPortable, &cmudrn::kNeon, &cmudrn::kNeonBf16};
#else
  const Kernels* every[] = {&cmudrn::kPortable};
#endif
  for (const Kernels* kernels : every)
    if (std::strcmp(kernels->name, isa) == 0 && runs_here(*kernels)) return kernels;
  return nullptr;
}

// The layer kernels of an instruction set, and those of float beside them.
struct Layers {
  const LayerKernels* kernels;
  const LayerKernels* exact;
};

Layers find_layers(const Kernels* kernels) {
#if defined(__x86_64__)
  if (kernels == &cmudrn::kAvx2) return {&cmudrn::kAvx2Layers, &cmudrn::kAvx2Layers};
  if (kernels == &cmudrn::kAvx512) return {&cmudrn::kAvx512Layers, &cmudrn::kAvx512Layers};
  if (kernels == &cmudrn::kAvx512Bf16) return {&cmudrn::kAvx512Bf16Layers, &cmudrn::kAvx512Layers};
  if (kernels == &cmudrn::kAmxBf16) return {&cmudrn::kAmxBf16Layers, &cmudrn::kAvx512Layers};
#elif defined(__aarch64__)
  if (kernels == &cmudrn::kNeon) return {&cmudrn::kNeonLayers, &cmudrn::kNeonLayers};
  if (kernels == &cmudrn::kNeonBf16) return {&cmudrn::kNeonBf16Layers, &cmudrn::kNeonLayers};
#endif
  return {&cmudrn::kPortableLayers, &cmudrn::kPortableLayers};
}

// Seconds that this thread has computed, where the system says; other programs' work does not
// count.
double thread_seconds() {
#ifdef CLOCK_THREAD_CPUTIME_ID
  timespec time;
  if (!clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)) return time.tv_sec + 1e-9 * time.tv_nsec;
#endif
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

// Whether this library and this processor have an instruction set: portable, avx2, avx512 or
// neon; avx512bf16 or neonbf16 (bfloat16 products).
CMUDRN_EXPORT int cmudrn_has(const char* isa) { return find(isa) != nullptr; }

// Whether bfloat16 is faster here than float: for networks that are wide enough to fill tile
// registers, and where AMD multiplies it in vectors. Intel's vectors multiply it no faster than
// float. It was not measured on Arm: servers take it, Apple's do not.
CMUDRN_EXPORT int cmudrn_bf16_is_faster([[maybe_unused]] int wide) {
#if defined(__x86_64__)
  if (wide && find("amxbf16")) return 1;
  return __builtin_cpu_is("amd") && find("avx512bf16");
#elif defined(__linux__)
  return find("neonbf16") != nullptr;
#else
  return 0;
#endif
}

// A network, or null (unknown instruction set, wrong count of numbers, no memory).
CMUDRN_EXPORT Network* cmudrn_network_new(const char* isa, int branches, int fused, int fusion_skip,
                                          int rectify_leave, const float* numbers, long count) try {
  const Kernels* kernels = find(isa);
  if (!kernels || !numbers || count < 0 || branches < 1 || branches > cmudrn::kMostBranches)
    return nullptr;
  return new Network(*kernels, {branches, fused != 0, fusion_skip != 0, rectify_leave != 0},
                     numbers, count);
} catch (const std::exception&) {
  return nullptr;
}

CMUDRN_EXPORT void cmudrn_network_free(Network* network) { delete network; }

// A stream for one picture of that size, or null (a number out of bounds, no memory). The network
// must outlive it.
CMUDRN_EXPORT Stream* cmudrn_stream_new(const Network* network, int height, int width, int stages,
                                        int recursions, int threads) try {
  const auto within = [](int number, int most) { return 1 <= number && number <= most; };
  if (!network || !within(height, kMaxSide) || !within(width, kMaxSide) ||
      !within(stages, kMaxDepth) || !within(recursions, kMaxDepth) || !within(threads, kMaxThreads))
    return nullptr;
  return new Stream(*network, height, width, stages, recursions, threads);
} catch (const std::exception&) {
  return nullptr;
}

// Takes rows (3, rows, width), planes `plane` floats apart; writes finished rows at the start of
// `restored` and, if not null, of `branches` (branch, 3, ...), planes `out_plane` floats apart.
// Returns how many rows it wrote, or -1.
CMUDRN_EXPORT int cmudrn_stream_push(Stream* stream, const float* rows, long plane, int count,
                                     float* restored, float* branches, long out_plane) try {
  if (!stream || !rows || !restored || count < 0 || count > stream->left()) return -1;
  Planes each[cmudrn::kMostBranches] = {};
  for (int b = 0; b < cmudrn::kMostBranches && branches; ++b)
    each[b] = {branches + 3L * b * out_plane, out_plane};
  return stream->push(rows, plane, count, {restored, out_plane}, branches ? each : nullptr);
} catch (const std::exception&) {
  return -1;
}

CMUDRN_EXPORT void cmudrn_stream_free(Stream* stream) { delete stream; }

// A program of layers, or null (unknown instruction set, numbers that are no program, no memory).
CMUDRN_EXPORT Program* cmudrn_program_new(const char* isa, const std::int64_t* code,
                                          long code_count, const float* numbers, long count) try {
  const Kernels* kernels = find(isa);
  if (!kernels || !code || !numbers || code_count < 0 || count < 0) return nullptr;
  const Layers layers = find_layers(kernels);
  return new Program(*layers.kernels, *layers.exact, code, code_count, numbers, count);
} catch (const std::exception&) {
  return nullptr;
}

CMUDRN_EXPORT void cmudrn_program_free(Program* program) { delete program; }

// What runs a program on pictures of one size, one call at a time; the program must outlive it.
// Null, and *reason 1: the program does not take this size; 2: no memory.
CMUDRN_EXPORT Executor* cmudrn_executor_new(const Program* program, int height, int width,
                                            int threads, int* reason) try {
  if (!program || threads < 1 || threads > kMaxThreads) throw std::invalid_argument("threads");
  return new Executor(*program, {height, width}, threads, 0);
} catch (const std::invalid_argument&) {
  *reason = 1;
  return nullptr;
} catch (const std::exception&) {
  *reason = 2;
  return nullptr;
}

// Restores planes (3, height, width) into as many planes as the program has pictures; a null among
// them is not wanted. Returns 0, or -1 where there is not enough memory.
CMUDRN_EXPORT int cmudrn_executor_run(Executor* executor, const float* degraded,
                                      float* const* made) try {
  if (!executor || !degraded || !made || !executor->whole()) return -1;
  executor->run(degraded, made);
  return 0;
} catch (const std::exception&) {
  return -1;
}

// As cmudrn_executor_new, for pictures that come a few rows at a time and go through in steps of
// `step_rows`; memory grows with the picture's width and these, not with its height.
CMUDRN_EXPORT Executor* cmudrn_row_executor_new(const Program* program, int height, int width,
                                                int threads, int step_rows, int* reason) try {
  if (!program || threads < 1 || threads > kMaxThreads || step_rows < 1)
    throw std::invalid_argument("threads");
  return new Executor(*program, {height, width}, threads, step_rows);
} catch (const std::invalid_argument&) {
  *reason = 1;
  return nullptr;
} catch (const std::exception&) {
  *reason = 2;
  return nullptr;
}

// Takes rows (3, count, width), planes `plane` floats apart; writes the rows that are then finished
// at the start of every picture, planes `made_plane` floats apart. Returns how many, or -1.
CMUDRN_EXPORT int cmudrn_executor_push(Executor* executor, const float* degraded, long plane,
                                       int count, float* const* made, long made_plane) try {
  if (!executor || !degraded || !made || count < 0 || count > executor->left()) return -1;
  return executor->push(degraded, plane, count, made, made_plane);
} catch (const std::exception&) {
  return -1;
}

CMUDRN_EXPORT void cmudrn_executor_free(Executor* executor) { delete executor; }

// A convolution of training (convolutions.h), or its gradients. `shape` is count, height, width,
// inputs, outputs and groups. Returns 0, or -1 where there is not enough memory or no such one.
CMUDRN_EXPORT int cmudrn_convolve_batch(const char* isa, const int* shape, const float* maps,
                                        const float* taps, const float* bias, float* made,
                                        cmudrn::RunOnThreads run, int threads) try {
  const Kernels* kernels = find(isa);
  const BatchShape batch = {shape[0], shape[1], shape[2], shape[3], shape[4], shape[5]};
  if (!kernels || threads < 1 || threads > kMaxThreads || !batch.possible()) return -1;
  cmudrn::convolve_batch(*find_layers(kernels).exact, batch, maps, taps, bias, made,
                         {run, threads});
  return 0;
} catch (const std::exception&) {
  return -1;
}

CMUDRN_EXPORT int cmudrn_differentiate_batch(const char* isa, const int* shape, const float* maps,
                                             const float* gradient, const float* turned_taps,
                                             float* of_maps, float* of_taps,
                                             cmudrn::RunOnThreads run, int threads) try {
  const Kernels* kernels = find(isa);
  const BatchShape batch = {shape[0], shape[1], shape[2], shape[3], shape[4], shape[5]};
  if (!kernels || threads < 1 || threads > kMaxThreads || !batch.possible()) return -1;
  cmudrn::differentiate_batch(*find_layers(kernels).exact, batch, maps, gradient, turned_taps,
                              of_maps, of_taps, {run, threads});
  return 0;
} catch (const std::exception&) {
  return -1;
}

// A cross-stitch unit of training; `shape` is images, pixels of each, and channels of a branch.
// What is made of maps where `gradient` is null, else the gradients of maps (to `made`) and matrix.
CMUDRN_EXPORT int cmudrn_mix_batch(const char* isa, const int* shape, const float* maps,
                                   const float* matrix, float* made, const float* gradient,
                                   float* of_matrix, cmudrn::RunOnThreads run, int threads) try {
  const Kernels* kernels = find(isa);
  const cmudrn::MixShape units = {shape[0], shape[1], shape[2]};
  if (!kernels || threads < 1 || threads > kMaxThreads || !units.possible()) return -1;
  const LayerKernels& layers = *find_layers(kernels).exact;
  if (gradient)
    cmudrn::mix_batch_gradient(layers, units, maps, matrix, gradient, made, of_matrix,
                               {run, threads});
  else
    cmudrn::mix_batch(layers, units, maps, matrix, made, {run, threads});
  return 0;
} catch (const std::exception&) {
  return -1;
}

// Multiply-adds in registers alone, on `threads` threads: what nothing can beat, in GFLOP/s.
CMUDRN_EXPORT double cmudrn_peak_gflops(const char* isa, int threads, long rounds) try {
  const Kernels* kernels = find(isa);
  if (!kernels) return 0;
  std::vector<double> rates(static_cast<size_t>(std::max(1, threads)));
  std::vector<std::thread> helpers;
  for (double& rate : rates)
    helpers.emplace_back([&rate, kernels, rounds] {
      const double start = thread_seconds();
      const double operations = kernels->peak(rounds);
      rate = operations / (thread_seconds() - start) / 1e9;
    });
  for (std::thread& helper : helpers) helper.join();
  return std::accumulate(rates.begin(), rates.end(), 0.0);
} catch (const std::exception&) {
  return 0;
}
