#include "llama.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "kernels/hadamard.h"

namespace tropilla {
namespace {

// Work on single tokens is shared out only from this many floats on: less costs less than waking.
constexpr int64_t kFloatsPerRange = 8192;

const Kernels& choose_kernels(const std::string& isa) {
  if (isa.empty()) return kernels();
  const Kernels* named = kernels_named(isa.c_str());
  if (!named) throw std::runtime_error("this machine or build has no kernels named " + isa);
  return *named;
}

const LlamaShape& checked(const LlamaShape& shape, StepLimits limits, int64_t n_kv_blocks, KVType kv_type) {
  check(shape);
  if (is_quantized(kv_type) && shape.head_dim % kKVGroup != 0) {
    throw std::invalid_argument("quantized keys and values need heads of a multiple of " + std::to_string(kKVGroup) +
                                " values, got " + std::to_string(shape.head_dim));
  }
  if (limits.max_tokens < 1 || limits.max_logit_rows < 1 || n_kv_blocks < 1) {
    throw std::invalid_argument("max_tokens, max_logit_rows and n_kv_blocks must be at least 1");
  }
  return shape;
}

const float* data_or_null(const Vector& v) { return v.empty() ? nullptr : v.data(); }

double log_sum_exp(std::span<const float> logits) {
  const float largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - largest);
  return largest + std::log(sum);
}

}  // namespace

Llama::Llama(const LlamaShape& shape, StepLimits limits, int64_t n_kv_blocks, KVType kv_type, int n_threads,
             const std::string& isa)
    : shape_(checked(shape, limits, n_kv_blocks, kv_type)),
      limits_(limits),
      kernels_(choose_kernels(isa)),
      pool_(n_threads),
      weights_(shape),
      cache_(kv_type, n_kv_blocks, shape.n_layers, shape.n_kv_heads, shape.head_dim),
      matmul_(kernels_, pool_, std::max({shape.dim, shape.q_dim(), shape.ffn_dim})),
      attention_({shape.n_heads, shape.n_kv_heads, shape.head_dim, shape.sliding_window}, limits.max_tokens,
                 kernels_, pool_),
      x_(size_product({limits.max_tokens, shape.dim})),
      rotations_(size_product({limits.max_tokens, shape.head_dim})),
      q_(size_product({limits.max_tokens, shape.q_dim()})),
      k_(size_product({limits.max_tokens, shape.kv_dim()})),
      v_(size_product({limits.max_tokens, shape.kv_dim()})),
      normed_(limits.max_tokens, shape.dim),
      mixed_(limits.max_tokens, shape.q_dim()),
      gated_(limits.max_tokens, shape.ffn_dim),
      last_(limits.max_logit_rows, shape.dim),
      logits_(size_product({limits.max_logit_rows, shape.vocab_size})) {}

void Llama::load(const std::string& name, TensorType type, int64_t rows, int64_t cols,
                 std::span<const uint8_t> stored) {
  weights_.load(name, type, rows, cols, stored, kernels_, pool_);
}

bool Llama::step(const Batch& batch, std::span<const int32_t> logit_rows) {
  check_batch(batch);
  n_tokens_ = static_cast<int64_t>(batch.token_ids.size());
  n_logit_rows_ = 0;
  check_rows(logit_rows);
  place(batch);
  embed(batch);
  compute_rotations();
  attention_.plan(batch);
  for (int64_t layer = 0; layer < shape_.n_layers; ++layer) {
    if (cancelled_.exchange(false, std::memory_order_relaxed)) return false;
    attend(layer);
    feed_forward(weights_.layer(layer));
  }
  compute_logits(logit_rows);
  return true;
}

void Llama::place(const Batch& batch) {
  places_.clear();
  for (const SequenceSpan& sequence : batch.sequences) {
    for (int64_t i = 0; i < sequence.n_tokens; ++i) {
      const int64_t position = sequence.position + i;
      places_.push_back({position, sequence.blocks[static_cast<size_t>(position / kKVBlockTokens)]});
    }
  }
}

void Llama::embed(const Batch& batch) {
  for_each_token(n_tokens_, shape_.dim, [&](int64_t t) {
    weights_.embedding().unpack_row(batch.token_ids[static_cast<size_t>(t)], x_.data() + t * shape_.dim);
  });
}

// In double precision: at position 100 000 a float angle would be off by a hundredth of a turn.
void Llama::compute_rotations() {
  constexpr int64_t kFloatsPerCosine = 16;  // a cosine costs as much as moving some floats
  for_each_token(n_tokens_, shape_.head_dim * kFloatsPerCosine, [&](int64_t t) {
    float* rotation = rotations_.data() + t * shape_.head_dim;
    for (const double inv_freq : shape_.inv_freq) {
      const double angle = static_cast<double>(places_[static_cast<size_t>(t)].position) * inv_freq;
      *rotation++ = static_cast<float>(std::cos(angle) * shape_.attention_factor);
      *rotation++ = static_cast<float>(std::sin(angle) * shape_.attention_factor);
    }
  });
}

// x += attn_output . attention(norm(x))
void Llama::attend(int64_t layer) {
  const LayerWeights& w = weights_.layer(layer);
  normalize(w.attn_norm, normed_, !w.q.reads_floats() || !w.k.reads_floats() || !w.v.reads_floats());
  const Product projections[] = {
      {&w.q, data_or_null(w.q_bias), q_.data(), shape_.q_dim()},
      {&w.k, data_or_null(w.k_bias), k_.data(), shape_.kv_dim()},
      {&w.v, data_or_null(w.v_bias), v_.data(), shape_.kv_dim()},
  };
  matmul_.run(projections, normed_.view(), n_tokens_);
  for_each_token(n_tokens_, shape_.q_dim() + 2 * shape_.kv_dim(), [&](int64_t t) { rotate_and_cache(layer, t); });
  attention_.run(cache_, layer, mixed_.row(0));
  quantize(mixed_, w.attn_output);
  const Product residual{&w.attn_output, data_or_null(w.attn_output_bias), x_.data(), shape_.dim, true};
  matmul_.run({&residual, 1}, mixed_.view(), n_tokens_);
}

// x += down . (silu(gate . norm(x)) * (up . norm(x)))
void Llama::feed_forward(const LayerWeights& w) {
  normalize(w.ffn_norm, normed_, !w.gate.reads_floats() || !w.up.reads_floats());
  const Product gate{&w.gate, data_or_null(w.gate_bias), nullptr, 0};
  const Product up{&w.up, data_or_null(w.up_bias), nullptr, 0};
  matmul_.run_gated(gate, up, normed_.view(), n_tokens_, gated_.row(0));
  quantize(gated_, w.down);
  const Product residual{&w.down, data_or_null(w.down_bias), x_.data(), shape_.dim, true};
  matmul_.run({&residual, 1}, gated_.view(), n_tokens_);
}

void Llama::normalize(const Vector& weight, const TokenInput& out, bool quantized) {
  for_each_token(n_tokens_, shape_.dim, [&](int64_t t) {
    kernels_.rms_norm(x_.data() + t * shape_.dim, weight.data(), shape_.dim, shape_.norm_eps, out.row(t));
    if (quantized) out.quantize(kernels_, t);
  });
}

void Llama::quantize(const TokenInput& input, const PackedMatrix& reader) {
  if (reader.reads_floats()) return;
  for_each_token(n_tokens_, reader.cols(), [&](int64_t t) { input.quantize(kernels_, t); });
}

// Turns q and k by their position; k and v go to the cache, q to attention, scaled.
void Llama::rotate_and_cache(int64_t layer, int64_t token) {
  const LayerWeights& w = weights_.layer(layer);
  const int64_t H = shape_.n_heads, K = shape_.n_kv_heads, Dh = shape_.head_dim, group = H / K;
  float* q = q_.data() + token * H * Dh;
  float* k = k_.data() + token * K * Dh;
  float* v = v_.data() + token * K * Dh;
  rotate(q, H, w.q_norm, token);
  rotate(k, K, w.k_norm, token);
  if (is_turned(cache_.type())) {
    for (int64_t head = 0; head < H; ++head) hadamard(q + head * Dh, Dh);
    for (int64_t head = 0; head < K; ++head) {
      hadamard(k + head * Dh, Dh);
      hadamard(v + head * Dh, Dh);
    }
  }
  const Place place = places_[static_cast<size_t>(token)];
  const int64_t slot = place.position % kKVBlockTokens;
  const float scale = 1.0f / std::sqrt(static_cast<float>(Dh));
  for (int64_t head = 0; head < K; ++head) {
    cache_.put(kernels_, place.block, layer, head, slot, k + head * Dh, v + head * Dh);
    std::transform(q + head * group * Dh, q + (head + 1) * group * Dh, attention_.queries(head, token),
                   [scale](float x) { return x * scale; });
  }
}

void Llama::rotate(float* heads, int64_t n_heads, const Vector& norm, int64_t token) const {
  const int64_t Dh = shape_.head_dim;
  if (!norm.empty()) {
    for (int64_t h = 0; h < n_heads; ++h) {
      kernels_.rms_norm(heads + h * Dh, norm.data(), Dh, shape_.norm_eps, heads + h * Dh);
    }
  }
  kernels_.rope(heads, n_heads, Dh, rotations_.data() + token * Dh);
}

// Leaves logits (rows, V) for tokens of the last step.
void Llama::compute_logits(std::span<const int32_t> rows) {
  n_logit_rows_ = static_cast<int64_t>(rows.size());
  if (rows.empty()) return;
  const PackedMatrix& output = weights_.output();
  for_each_token(n_logit_rows_, shape_.dim, [&](int64_t i) {
    const float* x = x_.data() + rows[static_cast<size_t>(i)] * shape_.dim;
    kernels_.rms_norm(x, weights_.output_norm().data(), shape_.dim, shape_.norm_eps, last_.row(i));
    if (!output.reads_floats()) last_.quantize(kernels_, i);
  });
  const Product product{&output, nullptr, logits_.data(), shape_.vocab_size};
  matmul_.run({&product, 1}, last_.view(), n_logit_rows_);
}

std::span<const float> Llama::logits(int64_t i) const {
  if (i < 0 || i >= n_logit_rows_) throw std::out_of_range("the last step computed no such row of logits");
  return {logits_.data() + i * shape_.vocab_size, static_cast<size_t>(shape_.vocab_size)};
}

std::span<uint8_t> Llama::kv_block(int64_t block) const {
  if (block < 0 || block >= cache_.n_blocks()) throw std::out_of_range("a KV block does not exist");
  return cache_.block(block);
}

std::vector<float> Llama::logprobs(std::span<const int32_t> rows, std::span<const int32_t> targets) {
  if (rows.size() != targets.size()) throw std::invalid_argument("rows and targets differ in number");
  for (const int32_t target : targets) {
    if (target < 0 || target >= shape_.vocab_size) throw std::invalid_argument("a target is no token");
  }
  std::vector<float> result(rows.size());
  const auto most = static_cast<size_t>(limits_.max_logit_rows);
  for (size_t begin = 0; begin < rows.size(); begin += most) {
    const auto some = rows.subspan(begin, std::min(most, rows.size() - begin));
    check_rows(some);
    compute_logits(some);
    pool_.parallel_for(static_cast<int64_t>(some.size()), 1, [&](int64_t first, int64_t last, int) {
      for (int64_t i = first; i < last; ++i) {
        const size_t at = begin + static_cast<size_t>(i);
        const auto row = logits(i);
        result[at] = static_cast<float>(row[static_cast<size_t>(targets[at])] - log_sum_exp(row));
      }
    });
  }
  return result;
}

std::vector<float> Llama::sum_hidden(std::span<const int32_t> rows) {
  std::vector<float> sum(static_cast<size_t>(shape_.dim)), hidden(sum.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    check_rows(rows.subspan(i, 1));
    kernels_.rms_norm(x_.data() + rows[i] * shape_.dim, weights_.output_norm().data(), shape_.dim,
                      shape_.norm_eps, hidden.data());
    kernels_.add(sum.data(), hidden.data(), shape_.dim);
  }
  return sum;
}

MemoryUse Llama::memory() const {
  int64_t scratch = attention_.size_bytes() + matmul_.size_bytes();
  for (const PageArray<float>* array : {&x_, &rotations_, &q_, &k_, &v_, &logits_}) scratch += array->size_bytes();
  for (const TokenInput* input : {&normed_, &mixed_, &gated_, &last_}) scratch += input->size_bytes();
  return {weights_.size_bytes(), cache_.size_bytes(), scratch};
}

void Llama::check_batch(const Batch& batch) const {
  const auto fail = [](const char* what) { throw std::invalid_argument(what); };
  if (!weights_.complete()) fail("tensors are still to be loaded");
  if (batch.token_ids.empty()) fail("the batch has no tokens");
  if (static_cast<int64_t>(batch.token_ids.size()) > limits_.max_tokens) fail("the batch exceeds max_tokens");
  for (const int32_t id : batch.token_ids) {
    if (id < 0 || id >= shape_.vocab_size) fail("a token id is outside the vocabulary");
  }
  int64_t next = 0;
  for (const SequenceSpan& sequence : batch.sequences) {
    if (sequence.first_token != next || sequence.n_tokens < 1 || sequence.position < 0) {
      fail("the batch's sequences do not follow each other");
    }
    next += sequence.n_tokens;
    const int64_t room = static_cast<int64_t>(sequence.blocks.size()) * kKVBlockTokens;
    if (sequence.position > room - sequence.n_tokens) fail("a sequence has too few KV blocks");
    for (const int32_t block : sequence.blocks) {
      if (block < 0 || block >= cache_.n_blocks()) fail("a KV block does not exist");
    }
  }
  if (next != static_cast<int64_t>(batch.token_ids.size())) fail("sequences and tokens differ in number");
}

void Llama::check_rows(std::span<const int32_t> rows) const {
  if (static_cast<int64_t>(rows.size()) > limits_.max_logit_rows) {
    throw std::invalid_argument("more rows of logits than max_logit_rows");
  }
  for (const int32_t row : rows) {
    if (row < 0 || row >= n_tokens_) throw std::invalid_argument("a row is outside the last step");
  }
}

template <class Body>
void Llama::for_each_token(int64_t n_tokens, int64_t floats_per_token, const Body& body) {
  const int64_t grain = std::max<int64_t>(1, kFloatsPerRange / floats_per_token);
  pool_.parallel_for(n_tokens, grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) body(t);
  });
}

}  // namespace tropilla
