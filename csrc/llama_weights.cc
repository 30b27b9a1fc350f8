#include "llama_weights.h"

#include <stdexcept>

namespace tropilla {
namespace {

std::string shape_text(int64_t rows, int64_t cols) {
  return std::string("(") + std::to_string(rows) + ", " + std::to_string(cols) + ")";
}

}  // namespace

void check(const LlamaShape& shape) {
  const std::pair<const char*, int64_t> sizes[] = {
      {"dim", shape.dim},           {"n_layers", shape.n_layers}, {"n_heads", shape.n_heads},
      {"n_kv_heads", shape.n_kv_heads}, {"head_dim", shape.head_dim}, {"ffn_dim", shape.ffn_dim},
      {"vocab_size", shape.vocab_size}};
  constexpr int64_t kLargest = 1 << 24;  // keeps every product of a few sizes within 64 bits
  for (const auto& [name, size] : sizes) {
    if (size < 1 || size > kLargest) {
      throw std::invalid_argument(std::string(name) + " is " + std::to_string(size) + ", expected 1.." +
                                  std::to_string(kLargest));
    }
  }
  if (shape.n_heads % shape.n_kv_heads != 0) {
    throw std::invalid_argument("n_heads must be a multiple of n_kv_heads");
  }
  if (static_cast<int64_t>(shape.inv_freq.size()) * 2 != shape.head_dim) {
    throw std::invalid_argument("inv_freq must hold head_dim / 2 values");
  }
  if (shape.sliding_window < 0) throw std::invalid_argument("sliding_window must not be negative");
}

LlamaWeights::LlamaWeights(const LlamaShape& shape) : layers_(static_cast<size_t>(shape.n_layers)) {
  add("token_embd.weight", embedding_, shape.vocab_size, shape.dim);
  if (!shape.tied_embeddings) add("output.weight", output_, shape.vocab_size, shape.dim);
  add("output_norm.weight", output_norm_, shape.dim);
  for (int64_t i = 0; i < shape.n_layers; ++i) name_layer(shape, i);
}

void LlamaWeights::name_layer(const LlamaShape& shape, int64_t index) {
  const int64_t D = shape.dim, F = shape.ffn_dim, q_dim = shape.q_dim(), kv_dim = shape.kv_dim();
  const std::string prefix = "blk." + std::to_string(index) + ".";
  LayerWeights& w = layers_[static_cast<size_t>(index)];
  add(prefix + "attn_norm.weight", w.attn_norm, D);
  add(prefix + "attn_q.weight", w.q, q_dim, D);
  add(prefix + "attn_k.weight", w.k, kv_dim, D);
  add(prefix + "attn_v.weight", w.v, kv_dim, D);
  add(prefix + "attn_output.weight", w.attn_output, D, q_dim);
  add(prefix + "ffn_norm.weight", w.ffn_norm, D);
  add(prefix + "ffn_gate.weight", w.gate, F, D);
  add(prefix + "ffn_up.weight", w.up, F, D);
  add(prefix + "ffn_down.weight", w.down, D, F);
  if (shape.qkv_bias) {
    add(prefix + "attn_q.bias", w.q_bias, q_dim);
    add(prefix + "attn_k.bias", w.k_bias, kv_dim);
    add(prefix + "attn_v.bias", w.v_bias, kv_dim);
  }
  if (shape.output_bias) add(prefix + "attn_output.bias", w.attn_output_bias, D);
  if (shape.mlp_bias) {
    add(prefix + "ffn_gate.bias", w.gate_bias, F);
    add(prefix + "ffn_up.bias", w.up_bias, F);
    add(prefix + "ffn_down.bias", w.down_bias, D);
  }
  if (shape.qk_norm) {
    add(prefix + "attn_q_norm.weight", w.q_norm, shape.head_dim);
    add(prefix + "attn_k_norm.weight", w.k_norm, shape.head_dim);
  }
}

void LlamaWeights::add(const std::string& name, PackedMatrix& matrix, int64_t rows, int64_t cols) {
  slots_[name] = {&matrix, nullptr, rows, cols};
}

void LlamaWeights::add(const std::string& name, Vector& vector, int64_t size) {
  slots_[name] = {nullptr, &vector, 1, size};
}

void LlamaWeights::load(const std::string& name, TensorType type, int64_t rows, int64_t cols,
                        std::span<const uint8_t> stored, const Kernels& kernels, ThreadPool& pool) {
  const auto found = slots_.find(name);
  if (found == slots_.end()) throw std::invalid_argument("the model has no tensor " + name);
  Slot& slot = found->second;
  if (slot.loaded()) throw std::invalid_argument(name + " is loaded already");
  if (rows != slot.rows || cols != slot.cols) {
    throw std::invalid_argument(name + " has shape " + shape_text(rows, cols) + ", expected " +
                                shape_text(slot.rows, slot.cols));
  }
  try {
    if (slot.matrix) {
      stored_bytes(type, rows, cols);
      if (!kernels.matmul[index_of(type)]) throw std::invalid_argument("the kernels have no product for its type");
      *slot.matrix = PackedMatrix(type, rows, cols, stored, arena_, pool);
    } else {
      *slot.vector = unpack_vector(type, cols, stored);
    }
  } catch (const std::invalid_argument& error) {
    throw std::invalid_argument(name + ": " + error.what());
  }
  ++n_loaded_;
}

std::vector<std::string> LlamaWeights::missing() const {
  std::vector<std::string> names;
  for (const auto& [name, slot] : slots_) {
    if (!slot.loaded()) names.push_back(name);
  }
  return names;
}

}  // namespace tropilla
