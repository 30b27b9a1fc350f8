// How fast attention is: attention_bench [--isa NAME] [--kv-type NAME] [--threads N] [--layers N] [--heads N]
//                                        [--kv-heads N] [--head-dim N] [--sequences N] [--tokens N] [--repeats N]
// One line for each depth and number of new tokens: milliseconds for all layers, GFLOP/s (a multiplication
// and an addition of scores and sums are two each), GB/s of keys and values; medians, the spread over the
// repeats, and the best.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "attention.h"
#include "kernels/kernels.h"
#include "kv_cache.h"
#include "thread_pool.h"

namespace tropilla {
namespace {

const std::map<std::string, KVType> kTypes = {{"f16", KVType::F16}, {"f32", KVType::F32}, {"q8_0", KVType::Q8_0}, {"q4_0", KVType::Q4_0}};

struct Settings {
  std::string isa, kv_type = "f16";
  int64_t threads = 2, layers = 30, heads = 9, kv_heads = 3, head_dim = 64, sequences = 1, repeats = 15;
  int64_t tokens = 0;  // new ones; 0: each case
};

// Tokens that `sequences` sequences add at a depth.
struct Work {
  int64_t depth, tokens;
};
constexpr Work kWork[] = {{0, 1},    {128, 1},   {512, 1},    {1024, 1},   {4096, 1},
                          {0, 128},  {0, 256},   {256, 256},  {1792, 256}, {3840, 256}};
constexpr int64_t kMaxTokens = 256;

// A step in which every sequence adds some tokens.
Batch batch_of(const Work& work, int64_t n_sequences) {
  Batch batch;
  int32_t block = 0;
  for (int64_t s = 0; s < n_sequences; ++s) {
    SequenceSpan span{s * work.tokens, work.tokens, work.depth, {}};
    const int64_t n_blocks = (work.depth + work.tokens + kKVBlockTokens - 1) / kKVBlockTokens;
    for (int64_t b = 0; b < n_blocks; ++b) span.blocks.push_back(block++);
    batch.sequences.push_back(span);
  }
  batch.token_ids.resize(size_t(n_sequences * work.tokens));
  return batch;
}

void fill(const KVCache& cache, const Kernels& kernels, const Settings& s) {
  std::mt19937 random(0);
  std::normal_distribution<float> normal;
  std::vector<float> row(size_t(s.head_dim) + 64);
  for (float& x : row) x = normal(random);
  for (int64_t block = 0; block < cache.n_blocks(); ++block) {
    for (int64_t layer = 0; layer < s.layers; ++layer) {
      for (int64_t head = 0; head < s.kv_heads; ++head) {
        for (int64_t slot = 0; slot < kKVBlockTokens; ++slot) {
          cache.put(kernels, block, layer, head, slot, row.data() + random() % 64, row.data() + random() % 64);
        }
      }
    }
  }
}

double seconds_of(Attention& attention, const KVCache& cache, const Batch& batch, const Settings& s, float* out) {
  const auto start = std::chrono::steady_clock::now();
  attention.plan(batch);
  for (int64_t layer = 0; layer < s.layers; ++layer) attention.run(cache, layer, out);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void measure(Attention& attention, const KVCache& cache, const Work& work, const Settings& s, float* out) {
  const Batch batch = batch_of(work, s.sequences);
  std::vector<double> seconds(static_cast<size_t>(s.repeats + 1));
  for (double& one : seconds) one = seconds_of(attention, cache, batch, s, out);
  seconds.erase(seconds.begin());
  std::sort(seconds.begin(), seconds.end());
  const double median = seconds[seconds.size() / 2];
  const double seen = double(work.tokens) * (double(work.depth) + double(work.tokens + 1) / 2);
  const double flops = 4.0 * double(s.layers * s.heads * s.head_dim * s.sequences) * seen;
  const double token_bytes = double(cache.size_bytes()) / double(cache.n_blocks() * kKVBlockTokens);
  const double bytes = token_bytes * double((work.depth + work.tokens) * s.sequences);
  std::printf("depth %-5lld tokens %-4lld %9.3f ms %7.1f GFLOP/s %6.2f GB/s  best %9.3f ms  spread %3.0f %%\n",
              static_cast<long long>(work.depth), static_cast<long long>(work.tokens), median * 1e3,
              flops / median * 1e-9, bytes / median * 1e-9, seconds.front() * 1e3,
              (seconds.back() - seconds.front()) / median * 100);
}

bool parse(int argc, char** argv, Settings& s) {
  const std::map<std::string, int64_t*> numbers = {
      {"--threads", &s.threads},   {"--layers", &s.layers},       {"--heads", &s.heads},    {"--kv-heads", &s.kv_heads},
      {"--head-dim", &s.head_dim}, {"--sequences", &s.sequences}, {"--repeats", &s.repeats},
      {"--tokens", &s.tokens}};
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string flag = argv[i];
    if (flag == "--isa") s.isa = argv[i + 1];
    else if (flag == "--kv-type") s.kv_type = argv[i + 1];
    else if (const auto at = numbers.find(flag); at != numbers.end()) *at->second = std::atoll(argv[i + 1]);
    else return false;
  }
  return argc % 2 == 1 && kTypes.contains(s.kv_type);
}

int run(int argc, char** argv) {
  Settings s;
  if (!parse(argc, argv, s)) {
    std::fprintf(stderr, "attention_bench: unknown flag or type, or missing value\n");
    return 2;
  }
  const Kernels* table = s.isa.empty() ? &kernels() : kernels_named(s.isa.c_str());
  if (table == nullptr) {
    std::fprintf(stderr, "attention_bench: this machine has no kernels called %s\n", s.isa.c_str());
    return 2;
  }
  int64_t n_blocks = 0;
  for (const Work& work : kWork) {
    n_blocks = std::max(n_blocks, s.sequences * ((work.depth + work.tokens) / kKVBlockTokens + 1));
  }
  ThreadPool pool(static_cast<int>(s.threads));
  const KVCache cache(kTypes.at(s.kv_type), n_blocks, s.layers, s.kv_heads, s.head_dim);
  fill(cache, *table, s);
  const int64_t max_tokens = kMaxTokens * s.sequences;
  Attention attention({s.heads, s.kv_heads, s.head_dim, 0}, max_tokens, *table, pool);
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  float* queries = attention.queries(0, 0);
  for (int64_t i = 0; i < max_tokens * s.heads * s.head_dim; ++i) queries[i] = normal(random) * 0.125f;
  std::vector<float> out(size_t(max_tokens * s.heads * s.head_dim));
  std::printf("%s, %s, %lld layers, %lld / %lld heads of %lld, %lld threads, %lld sequences\n", table->name,
              s.kv_type.c_str(), static_cast<long long>(s.layers), static_cast<long long>(s.heads),
              static_cast<long long>(s.kv_heads), static_cast<long long>(s.head_dim), static_cast<long long>(s.threads),
              static_cast<long long>(s.sequences));
  for (const Work& work : kWork) {
    if (s.tokens == 0 || s.tokens == work.tokens) measure(attention, cache, work, s, out.data());
  }
  return 0;
}

}  // namespace
}  // namespace tropilla

int main(int argc, char** argv) { return tropilla::run(argc, argv); }
