// How fast the tile products are: kernel_bench [--isa NAME] [--type NAME] [--threads N]
//                                              [--rows N] [--columns N] [--repeats N]
// One line for each type and number of tokens: GOP/s (a multiplication and an addition are two), their
// share of the measured int8 peak, and GB/s of weights; medians, with the spread over the repeats, and
// the best, which is what a busy machine disturbs least.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "bench/int8_peak.h"
#include "bench/types.h"
#include "kernels/blocks.h"
#include "kernels/kernels.h"
#include "kernels/pack.h"

namespace tropilla {
namespace {

struct Settings {
  std::string isa, type;
  int64_t threads = 1, rows = 2048, columns = 2048, repeats = 7;
};

// A matrix without meaning but with the sizes of one: bytes of a zero scale keep every sum finite.
struct Problem {
  int64_t n_cols, n_tiles, n_tokens;
  std::vector<uint8_t> weights, scratches;
  std::vector<float> f32, scale, out;
  std::vector<int8_t> q;
  std::vector<int32_t> sums;
  uint8_t* tiles;

  Problem(TensorType type, int64_t rows, int64_t columns, int64_t tokens, int64_t threads)
      : n_cols(columns), n_tiles(rows / kTileRows), n_tokens(tokens),
        weights(size_t(n_tiles * tile_bytes(type, columns) + 64)),
        scratches(size_t(threads * (matmul_scratch_bytes(columns) + 64) + 64)), f32(size_t(tokens * columns), 1.0f),
        scale(size_t(tokens * columns / kActivationBlock), 1.0f), out(size_t(tokens * rows)),
        q(size_t(tokens * columns), 1), sums(size_t(tokens * columns / kSumBlock), kSumBlock) {
    void* start = weights.data();
    size_t room = weights.size();
    tiles = static_cast<uint8_t*>(std::align(64, room - 64, start, room));
  }

  uint8_t* scratch(int64_t thread) {
    auto* start = scratches.data() + thread * (matmul_scratch_bytes(n_cols) + 64);
    return start + (64 - reinterpret_cast<uintptr_t>(start) % 64);
  }
  Activations activations() const { return {n_cols, f32.data(), q.data(), scale.data(), sums.data()}; }
};

void multiply(MatmulTiles matmul, TensorType type, Problem& p, int64_t threads) {
  std::atomic<int64_t> next{0};
  const int64_t stride = tile_bytes(type, p.n_cols);
  const auto work = [&](uint8_t* scratch) {
    for (int64_t tile = next.fetch_add(kTilesPerCall); tile < p.n_tiles; tile = next.fetch_add(kTilesPerCall)) {
      const Tiles tiles{p.tiles + tile * stride, stride, std::min<int64_t>(kTilesPerCall, p.n_tiles - tile), nullptr};
      matmul(tiles, p.activations(), 0, p.n_tokens, p.out.data() + tile * kTileRows, p.n_tiles * kTileRows, scratch);
    }
  };
  std::vector<std::thread> others;
  for (int64_t i = 1; i < threads; ++i) others.emplace_back([&, i] { work(p.scratch(i)); });
  work(p.scratch(0));
  for (std::thread& other : others) other.join();
}

double seconds_of(MatmulTiles matmul, TensorType type, Problem& p, int64_t threads) {
  const auto start = std::chrono::steady_clock::now();
  multiply(matmul, type, p, threads);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void measure(const Kernels& kernels, const NamedType& named, int64_t n_tokens, const Settings& s, double peak) {
  Problem p(named.type, s.rows, s.columns, n_tokens, s.threads);
  const MatmulTiles matmul = kernels.matmul[index_of(named.type)];
  std::vector<double> seconds(size_t(s.repeats + 1));
  for (double& one : seconds) one = seconds_of(matmul, named.type, p, s.threads);
  seconds.erase(seconds.begin());  // the first one touched the memory
  std::sort(seconds.begin(), seconds.end());
  const double median = seconds[seconds.size() / 2];
  const double gops = 2e-9 * double(s.rows * s.columns * n_tokens) / median;
  const double gbs = 1e-9 * double(p.n_tiles * tile_bytes(named.type, p.n_cols)) / median;
  const double spread = (seconds.back() - seconds.front()) / median * 100;
  const double best = 2e-9 * double(s.rows * s.columns * n_tokens) / seconds.front();
  std::printf("%-7s %-7s T=%-3lld %8.1f GOP/s %5.1f %% of peak %7.2f GB/s  best %6.1f GOP/s  spread %3.0f %%\n", kernels.name,
              named.name, static_cast<long long>(n_tokens), gops, peak > 0 ? gops / peak * 100 : 0.0, gbs, best, spread);
}

bool parse(int argc, char** argv, Settings& s) {
  const std::map<std::string, int64_t*> numbers = {{"--threads", &s.threads}, {"--rows", &s.rows},
                                                   {"--columns", &s.columns}, {"--repeats", &s.repeats}};
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string flag = argv[i];
    if (flag == "--isa") s.isa = argv[i + 1];
    else if (flag == "--type") s.type = argv[i + 1];
    else if (const auto at = numbers.find(flag); at != numbers.end()) *at->second = std::atoll(argv[i + 1]);
    else return false;
  }
  return argc % 2 == 1;
}

int run(int argc, char** argv) {
  Settings s;
  if (!parse(argc, argv, s)) {
    std::fprintf(stderr, "kernel_bench: unknown flag or missing value\n");
    return 2;
  }
  const Kernels* table = s.isa.empty() ? &kernels() : kernels_named(s.isa.c_str());
  if (table == nullptr) {
    std::fprintf(stderr, "kernel_bench: this machine has no kernels called %s\n", s.isa.c_str());
    return 2;
  }
  const double peak = int8_peak(table->name, static_cast<int>(s.threads)) * 1e-9;
  std::printf("%lld x %lld, %lld threads, int8 peak %.0f GOP/s\n", static_cast<long long>(s.rows),
              static_cast<long long>(s.columns), static_cast<long long>(s.threads), peak);
  for (const NamedType& named : kTypes) {
    if (!s.type.empty() && s.type != named.name) continue;
    for (const int64_t n_tokens : {1, 4, 8, 16, 192}) measure(*table, named, n_tokens, s, peak);
  }
  return 0;
}

}  // namespace
}  // namespace tropilla

int main(int argc, char** argv) { return tropilla::run(argc, argv); }
