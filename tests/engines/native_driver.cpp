// Runs the native engine over awkward sizes, for the sanitizers to watch. Every instruction set's
// vector length is compiled for any processor (CMUDRN_ANY_CPU) and must agree with the shortest.
#include <cmath>
#include <cstdio>
#include <cstring>
#include <random>
#include <vector>

extern "C" {
void* cmudrn_network_new(const char*, int, int, int, int, const float*, long);
void cmudrn_network_free(void*);
void* cmudrn_stream_new(const void*, int, int, int, int, int);
int cmudrn_stream_push(void*, const float*, long, int, float*, float*, long);
void cmudrn_stream_free(void*);
double cmudrn_peak_gflops(const char*, int, long);
}

namespace {

struct Case {
  int branches, height, width, stages, recursions, threads, rows_a_push;
  bool same;  // equal rows in every stitch: the branches share one map
};

constexpr Case kCases[] = {
    {1, 1, 1, 1, 1, 1, 1, false},  {2, 1, 7, 2, 1, 2, 1, true},     {2, 7, 1, 1, 2, 3, 3, false},
    {2, 37, 53, 2, 2, 2, 5, true}, {2, 70, 131, 3, 1, 2, 70, false}, {3, 9, 17, 1, 1, 2, 4, true},
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
  std::vector<float> numbers =
      random_floats(static_cast<size_t>(c.branches * branch + 5 * unit + fused * fusion), -.1f, .1f);
  for (int i = c.branches * branch; i < c.branches * branch + 5 * unit; ++i)
    numbers[static_cast<size_t>(i)] = c.same ? 1.f / static_cast<float>(c.branches) : numbers[static_cast<size_t>(i)];
  return numbers;
}

std::vector<float> run(const char* isa, const Case& c) {
  const size_t pixels = static_cast<size_t>(c.height) * static_cast<size_t>(c.width);
  const std::vector<float> numbers = weights(c), degraded = random_floats(3 * pixels, 0, 1);
  const int fused = c.branches > 1;
  void* network = cmudrn_network_new(isa, c.branches, fused, fused, 0, numbers.data(),
                                     static_cast<long>(numbers.size()));
  if (!network) return {};
  void* stream =
      cmudrn_stream_new(network, c.height, c.width, c.stages, c.recursions, c.threads);
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

}  // namespace

int main() {
  for (const Case& c : kCases) {
    const std::vector<float> expected = run("portable", c);
    if (expected.empty()) return std::puts("a picture did not come out whole"), 1;
    for (const char* isa : {"avx2", "avx512", "avx512bf16"}) {
      const std::vector<float> got = run(isa, c);
      if (got.empty()) continue;  // not an x86-64 processor
      const float most = std::strcmp(isa, "avx512bf16") == 0 ? 0.05f : 1e-5f;
      for (size_t i = 0; i < expected.size(); ++i)
        if (!(std::fabs(got[i] - expected[i]) < most))
          return std::printf("%s differs at %dx%d\n", isa, c.width, c.height), 1;
    }
  }
  if (!(cmudrn_peak_gflops("portable", 2, 1000) > 0)) return std::puts("no peak"), 1;
  const float one = 1;
  if (cmudrn_network_new("portable", 1, 0, 0, 0, &one, 1)) return std::puts("took 1 number"), 1;
  return std::puts("agreed") < 0;
}
