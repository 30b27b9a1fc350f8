// How fast the products of a whole model are, through the engine's own Matmul and from memory:
//   matmul_bench [--model smollm2|1.1b|7b] [--type NAME] [--threads N] [--tokens N | --most N]
//                [--repeats N] [--isa NAME]
// One line for each type and number of tokens in a step: median seconds, GOP/s and their share of the int8
// peak, GB/s of weights and their share of the read bandwidth, and the step's price against one token's.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "bench/int8_peak.h"
#include "bench/types.h"
#include "matmul.h"

namespace tropilla {
namespace {

struct Model {
  const char* name;
  int64_t dim, kv_dim, ffn_dim, vocab, n_layers;
};

// Layers enough for several times a large L3 cache, vocabularies as they are.
constexpr Model kModels[] = {{"smollm2", 576, 192, 1536, 49152, 30}, {"1.1b", 2048, 256, 5632, 32000, 22},
                             {"7b", 4096, 4096, 11008, 32000, 4}};

struct Settings {
  std::string model = "1.1b", type, isa;
  int64_t threads = 2, tokens = 0, most = 512, repeats = 7;
};

struct Layer {
  PackedMatrix q, k, v, o, gate, up, down;
};

double seconds_of(const auto& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double median_seconds(int64_t repeats, const auto& work) {
  std::vector<double> seconds(static_cast<size_t>(repeats));
  work();  // touches the memory
  for (double& one : seconds) one = seconds_of(work);
  std::sort(seconds.begin(), seconds.end());
  return seconds[seconds.size() / 2];
}

// Weights without meaning but with the sizes of a model: zero bytes keep every sum finite.
class Products {
 public:
  Products(const Model& model, TensorType type, int64_t max_tokens, const Kernels& kernels, ThreadPool& pool)
      : model_(model), pool_(pool), matmul_(kernels, pool, model.ffn_dim), x_(max_tokens, model.dim), wide_(max_tokens, model.ffn_dim),
        out_(max_tokens * std::max(model.ffn_dim, model.dim)), logits_(model.vocab),
        layers_(static_cast<size_t>(model.n_layers)) {
    for (Layer& w : layers_) {
      w.q = matrix(type, model.dim, model.dim);
      w.k = matrix(type, model.kv_dim, model.dim);
      w.v = matrix(type, model.kv_dim, model.dim);
      w.o = matrix(type, model.dim, model.dim);
      w.gate = matrix(type, model.ffn_dim, model.dim);
      w.up = matrix(type, model.ffn_dim, model.dim);
      w.down = matrix(type, model.dim, model.ffn_dim);
    }
    output_ = matrix(type, model.vocab, model.dim);
  }

  // The products of a step of n_tokens of which one wants logits.
  void step(int64_t n_tokens) {
    for (const Layer& w : layers_) {
      const Product qkv[] = {{&w.q, nullptr, out_.data(), model_.dim},
                             {&w.k, nullptr, out_.data(), model_.dim},
                             {&w.v, nullptr, out_.data(), model_.dim}};
      matmul_.run(qkv, x_.view(), n_tokens);
      run(w.o, x_, n_tokens);
      matmul_.run_gated({&w.gate, nullptr, nullptr, 0}, {&w.up, nullptr, nullptr, 0}, x_.view(), n_tokens, out_.data());
      run(w.down, wide_, n_tokens);
    }
    const Product logits{&output_, nullptr, logits_.data(), model_.vocab};
    matmul_.run({&logits, 1}, x_.view(), 1);
  }

  double operations(int64_t n_tokens) const {
    const int64_t layer = model_.dim * (2 * model_.dim + 2 * model_.kv_dim + 3 * model_.ffn_dim);
    return 2.0 * double(n_tokens * model_.n_layers * layer + model_.vocab * model_.dim);
  }

  int64_t bytes() const { return arena_.size_bytes(); }

  // Reads every byte of the weights.
  void read() {
    for (const std::span<const uint8_t> area : areas_) {
      pool_.parallel_for(int64_t(area.size() / kPiece), 4, [&](int64_t begin, int64_t end, int) {
        for (int64_t i = begin; i < end; ++i) read_piece(area.data() + i * kPiece);
      });
    }
  }

 private:
  static constexpr int64_t kPiece = 16 << 10;

  PackedMatrix matrix(TensorType type, int64_t rows, int64_t cols) {
    const std::vector<uint8_t> stored(static_cast<size_t>(stored_bytes(type, rows, cols)));
    PackedMatrix made(type, rows, cols, stored, arena_, pool_);
    areas_.emplace_back(made.tile(0), static_cast<size_t>(made.n_tiles() * tile_bytes(type, cols)));
    return made;
  }

  void run(const PackedMatrix& weight, const TokenInput& x, int64_t n_tokens) {
    const Product product{&weight, nullptr, out_.data(), model_.dim, true};
    matmul_.run({&product, 1}, x.view(), n_tokens);
  }

  static void read_piece(const uint8_t* piece) {
    uint64_t sums[8] = {};
    for (int64_t i = 0; i < kPiece; i += 64) {
      for (int k = 0; k < 8; ++k) {
        uint64_t word;
        std::memcpy(&word, piece + i + 8 * k, 8);
        sums[k] |= word;
      }
    }
    for (const uint64_t sum : sums) sink_ = sum;
  }
  static inline volatile uint64_t sink_;

  Model model_;
  ThreadPool& pool_;
  WeightArena arena_;
  Matmul matmul_;
  TokenInput x_, wide_;
  PageArray<float> out_, logits_;
  std::vector<Layer> layers_;
  PackedMatrix output_;
  std::vector<std::span<const uint8_t>> areas_;
};

void measure(const Model& model, const NamedType& named, const Kernels& kernels, const Settings& s) {
  ThreadPool pool(static_cast<int>(s.threads));
  std::vector<int64_t> counts{1, 2, 4, 8, 16, 32, 128, 512};
  if (s.tokens > 0) counts = {s.tokens};
  while (counts.size() > 1 && counts.back() > s.most) counts.pop_back();
  Products products(model, named.type, counts.back(), kernels, pool);
  const double peak = 1e-9 * int8_peak(kernels.name, static_cast<int>(s.threads));
  const double bandwidth = 1e-9 * double(products.bytes()) / median_seconds(s.repeats, [&] { products.read(); });
  std::printf("%s %s %s, %lld threads: int8 peak %.0f GOP/s, read bandwidth %.1f GB/s\n", model.name, named.name,
              kernels.name, static_cast<long long>(s.threads), peak, bandwidth);
  double first = 0;
  for (const int64_t n : counts) {
    const double seconds = median_seconds(n > 64 ? 3 : s.repeats, [&] { products.step(n); });
    if (first == 0) first = seconds;
    const double gops = 1e-9 * products.operations(n) / seconds, gbs = 1e-9 * double(products.bytes()) / seconds;
    std::printf("  T=%-4lld %9.3f ms  %6.1f GOP/s %5.1f %%  %6.2f GB/s %5.1f %%  %6.2f steps of one\n",
                static_cast<long long>(n), seconds * 1e3, gops, peak > 0 ? gops / peak * 100 : 0.0, gbs,
                gbs / bandwidth * 100, seconds / first);
    std::fflush(stdout);
  }
}

bool parse(int argc, char** argv, Settings& s) {
  const std::map<std::string, std::string*> texts = {{"--model", &s.model}, {"--type", &s.type}, {"--isa", &s.isa}};
  const std::map<std::string, int64_t*> numbers = {
      {"--most", &s.most},
      {"--threads", &s.threads}, {"--tokens", &s.tokens}, {"--repeats", &s.repeats}};
  for (int i = 1; i + 1 < argc; i += 2) {
    if (const auto at = texts.find(argv[i]); at != texts.end()) *at->second = argv[i + 1];
    else if (const auto number = numbers.find(argv[i]); number != numbers.end()) *number->second = std::atoll(argv[i + 1]);
    else return false;
  }
  return argc % 2 == 1;
}

int run(int argc, char** argv) {
  Settings s;
  if (!parse(argc, argv, s)) {
    std::fprintf(stderr, "matmul_bench: unknown flag or missing value\n");
    return 2;
  }
  const Kernels* table = s.isa.empty() ? &kernels() : kernels_named(s.isa.c_str());
  const auto model = std::find_if(std::begin(kModels), std::end(kModels), [&](const Model& m) { return m.name == s.model; });
  if (table == nullptr || model == std::end(kModels)) {
    std::fprintf(stderr, "matmul_bench: no such kernels or model\n");
    return 2;
  }
  for (const NamedType& named : kTypes) {
    if (s.type.empty() || s.type == named.name) measure(*model, named, *table, s);
  }
  return 0;
}

}  // namespace
}  // namespace tropilla

int main(int argc, char** argv) { return tropilla::run(argc, argv); }
