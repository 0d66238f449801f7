// Runs the native engine over awkward sizes, for the sanitizers to watch. Every instruction set's
// vector length is compiled for any processor (CMUDRN_ANY_CPU) and must agree with the shortest.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <random>
#include <string>
#include <vector>

extern "C" {
int cmudrn_has(const char*);
void* cmudrn_network_new(const char*, int, int, int, int, const float*, long);
void cmudrn_network_free(void*);
void* cmudrn_stream_new(const void*, int, int, int, int, int);
int cmudrn_stream_push(void*, const float*, long, int, float*, float*, long);
void cmudrn_stream_free(void*);
void* cmudrn_program_new(const char*, const std::int64_t*, long, const float*, long);
void cmudrn_program_free(void*);
void* cmudrn_executor_new(const void*, int, int, int, int*);
int cmudrn_executor_run(void*, const float*, float* const*);
void cmudrn_executor_free(void*);
void* cmudrn_row_executor_new(const void*, int, int, int, int, int*);
int cmudrn_executor_push(void*, const float*, long, int, float* const*, long);
double cmudrn_peak_gflops(const char*, int, long);
}

namespace {

#if defined(__aarch64__)
constexpr const char* kFastest = "neon";
#else
constexpr const char* kFastest = "avx2";
#endif
constexpr const char* kBf16[] = {"avx512bf16", "amxbf16", "neonbf16"};

struct Case {
  int branches, height, width, stages, recursions, threads, rows_a_push;
  bool same;  // equal rows in every stitch: the branches share one map
};

constexpr Case kCases[] = {
    {1, 1, 1, 1, 1, 1, 1, false},   {2, 1, 7, 2, 1, 2, 1, true},      {2, 7, 1, 1, 2, 3, 3, false},
    {2, 37, 53, 2, 2, 2, 5, true},  {2, 70, 131, 3, 1, 2, 70, false}, {3, 9, 17, 1, 1, 2, 4, true},
    {1, 203, 5, 3, 1, 2, 64, true}, {2, 6, 1100, 1, 1, 2, 6, true},
};

std::vector<float> random_floats(size_t count, float low, float high) {
  std::mt19937 generator(static_cast<unsigned>(count));
  std::uniform_real_distribution<float> uniform(low, high);
  std::vector<float> numbers(count);
  for (float& number : numbers) number = uniform(generator);
  return numbers;
}

std::vector<float> weights(const Case& c) {
  const int branch = 880 + 4 * 2320 + 435, unit = c.branches * c.branches * 16;
  const bool fused = c.branches > 1;
  const int fusion = 9 * 3 * c.branches * 16 + 16 + 2320 + 435;
  std::vector<float> numbers = random_floats(
      static_cast<size_t>(c.branches * branch + 5 * unit + fused * fusion), -.1f, .1f);
  for (int i = c.branches * branch; i < c.branches * branch + 5 * unit; ++i)
    numbers[static_cast<size_t>(i)] =
        c.same ? 1.f / static_cast<float>(c.branches) : numbers[static_cast<size_t>(i)];
  return numbers;
}

std::vector<float> run(const char* isa, const Case& c) {
  const size_t pixels = static_cast<size_t>(c.height) * static_cast<size_t>(c.width);
  const std::vector<float> numbers = weights(c), degraded = random_floats(3 * pixels, 0, 1);
  const int fused = c.branches > 1;
  void* network = cmudrn_network_new(isa, c.branches, fused, fused, 0, numbers.data(),
                                     static_cast<long>(numbers.size()));
  if (!network) return {};
  void* stream = cmudrn_stream_new(network, c.height, c.width, c.stages, c.recursions, c.threads);
  const auto plane = static_cast<long>(pixels);
  std::vector<float> restored(3 * pixels), branches(3 * pixels * static_cast<size_t>(c.branches));
  int done = 0;
  for (int row = 0; row < c.height; row += c.rows_a_push) {
    const int rows = std::min(c.rows_a_push, c.height - row);
    done += cmudrn_stream_push(stream, degraded.data() + row * c.width, plane, rows,
                               restored.data() + done * c.width, branches.data() + done * c.width,
                               plane);
  }
  cmudrn_stream_free(stream);
  cmudrn_network_free(network);
  restored.insert(restored.end(), branches.begin(), branches.end());
  return done == c.height ? restored : std::vector<float>{};
}

// A network as Python lowered it, a degraded image, and what ONNX Runtime makes of it.
struct Lowered {
  std::int64_t height, width;
  std::vector<std::int64_t> code;
  std::vector<float> numbers, degraded, expected;
};

template <class Number>
std::vector<Number> read_numbers(std::ifstream& file, std::int64_t count) {
  std::vector<Number> numbers(static_cast<size_t>(count));
  file.read(reinterpret_cast<char*>(numbers.data()),
            static_cast<std::streamsize>(sizeof(Number) * numbers.size()));
  return numbers;
}

Lowered read_lowered(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::vector<std::int64_t> head = read_numbers<std::int64_t>(file, 5);
  Lowered lowered{head[3], head[4], read_numbers<std::int64_t>(file, head[0]), {}, {}, {}};
  const std::int64_t image = 3 * lowered.height * lowered.width;
  lowered.numbers = read_numbers<float>(file, head[1]);
  lowered.degraded = read_numbers<float>(file, image);
  lowered.expected = read_numbers<float>(file, head[2] * image);
  return lowered;
}

// The network's images one after another; nothing where it is refused.
std::vector<float> run_lowered(const char* isa, const Lowered& network, int threads) {
  void* program =
      cmudrn_program_new(isa, network.code.data(), static_cast<long>(network.code.size()),
                         network.numbers.data(), static_cast<long>(network.numbers.size()));
  if (!program) return {};
  int reason = 0;
  void* executor = cmudrn_executor_new(program, static_cast<int>(network.height),
                                       static_cast<int>(network.width), threads, &reason);
  std::vector<float> made;
  if (executor) {
    const auto size = static_cast<size_t>(3 * network.height * network.width);
    std::vector<float> degraded = network.degraded;
    degraded.resize(size);
    made.resize(16 * size);  // as many images as a program may have
    std::vector<float*> images;
    for (size_t i = 0; i < 16; ++i) images.push_back(made.data() + i * size);
    if (cmudrn_executor_run(executor, degraded.data(), images.data()) != 0) made.clear();
    cmudrn_executor_free(executor);
  }
  cmudrn_program_free(program);
  return made;
}

// As run_lowered, but the image comes some rows at a time.
std::vector<float> run_rows(const char* isa, const Lowered& network, int step_rows, int piece) {
  void* program =
      cmudrn_program_new(isa, network.code.data(), static_cast<long>(network.code.size()),
                         network.numbers.data(), static_cast<long>(network.numbers.size()));
  if (!program) return {};
  int reason = 0;
  const int height = static_cast<int>(network.height), width = static_cast<int>(network.width);
  void* executor = cmudrn_row_executor_new(program, height, width, 2, step_rows, &reason);
  std::vector<float> made;
  if (executor) {
    const long plane = network.height * network.width;
    std::vector<float> degraded = network.degraded;
    degraded.resize(static_cast<size_t>(3 * plane));
    made.resize(static_cast<size_t>(16 * 3 * plane));
    int done = 0;
    for (int y = 0; y < height; y += piece) {
      float* images[16];
      for (long i = 0; i < 16; ++i) images[i] = made.data() + 3 * i * plane + done * width;
      done += cmudrn_executor_push(executor, degraded.data() + y * width, plane,
                                   std::min(piece, height - y), images, plane);
    }
    if (done != height) made.clear();
    cmudrn_executor_free(executor);
  }
  cmudrn_program_free(program);
  return made;
}

// Whether all that is expected was made.
bool agree(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() > b.size()) return false;
  float most = 1;
  for (const float value : a) most = std::max(most, std::fabs(value));
  for (size_t i = 0; i < a.size(); ++i)
    if (!(std::fabs(a[i] - b[i]) <= 1e-5f * most)) return false;
  return true;
}

// Whether rounding to bfloat16 is all that lies between two results.
bool near(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() > b.size()) return false;
  double error = 0, energy = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    error += (a[i] - b[i]) * (a[i] - b[i]);
    energy += a[i] * a[i];
  }
  return error <= 1e-3 * energy;
}

// Runs the network on every instruction set, then with numbers of its code changed: what is not
// refused may return anything, but has to come back.
bool try_lowered(const std::string& path, int changes) {
  Lowered network = read_lowered(path);
  for (const char* isa : {"portable", "avx2", "avx512", "neon"}) {
    const std::vector<float> got = run_lowered(isa, network, 3);
    if (got.empty() && isa[0] != 'p') continue;  // of another processor
    if (!agree(network.expected, got))
      return std::printf("%s differs: %s\n", isa, path.c_str()), false;
  }
  for (const int step : {8, 16})
    if (!agree(network.expected, run_rows(kFastest, network, step, 5)) && cmudrn_has(kFastest))
      return std::printf("rows differ: %s\n", path.c_str()), false;
  for (const char* isa : kBf16) {
    const std::vector<float> got = run_lowered(isa, network, 2);
    if (!got.empty() && !near(network.expected, got))
      return std::printf("%s differs: %s\n", isa, path.c_str()), false;
  }
  constexpr std::int64_t numbers[] = {
      -2,        -1,       0,    1,    2,       3,         5,
      16,        31,       4095, 4096, 1 << 20, INT32_MAX, std::int64_t{1} << 32,
      INT64_MAX, INT64_MIN};
  std::mt19937 generator(7);
  for (int i = 0; i < changes; ++i) {
    Lowered changed = network;
    for (unsigned k = 0; k <= generator() % 3; ++k) {
      std::int64_t& number = changed.code[generator() % changed.code.size()];
      number = generator() % 2 ? numbers[generator() % 16]
                               : number + static_cast<std::int64_t>(generator() % 3) - 1;
    }
    if (generator() % 8 == 0) changed.code.resize(generator() % changed.code.size());
    if (generator() % 8 == 0) changed.width = static_cast<std::int64_t>(generator() % 40);
    run_lowered(i % 2 ? kFastest : "portable", changed, 2);
    if (i % 4 == 0) run_rows(kFastest, changed, 8, 5);
    if (i % 4 == 2) run_lowered("amxbf16", changed, 2);
  }
  return true;
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 3) {
    for (const char* isa :
         {"portable", "avx2", "avx512", "avx512bf16", "amxbf16", "neon", "neonbf16"})
      if (cmudrn_has(isa)) std::puts(isa);
    return 0;
  }
  const int changes = std::atoi(arguments[1]), most_pixels = std::atoi(arguments[2]);
  for (int i = 3; i < count; ++i)
    if (!try_lowered(arguments[i], changes)) return 1;
  for (const Case& c : kCases) {
    if (c.height * c.width > most_pixels) continue;  // an emulator is slow
    const std::vector<float> expected = run("portable", c);
    if (expected.empty()) return std::puts("a picture did not come out whole"), 1;
    for (const char* isa : {"avx2", "avx512", "avx512bf16", "amxbf16", "neon", "neonbf16"}) {
      const std::vector<float> got = run(isa, c);
      if (got.empty()) continue;  // of another processor
      const float most = std::strstr(isa, "bf16") ? 0.05f : 1e-5f;
      for (size_t i = 0; i < expected.size(); ++i)
        if (!(std::fabs(got[i] - expected[i]) < most))
          return std::printf("%s differs at %dx%d\n", isa, c.width, c.height), 1;
    }
  }
  for (const char* isa : {"portable", kFastest})
    if (!(cmudrn_peak_gflops(isa, 2, 1000) > 0)) return std::puts("no peak"), 1;
  const float one = 1;
  if (cmudrn_network_new("portable", 1, 0, 0, 0, &one, 1)) return std::puts("took 1 number"), 1;
  return std::puts("agreed") < 0;
}
