// The weights of a LLaMA-family decoder, by the names of their tensors.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "kernels/kernels.h"
#include "packed_matrix.h"
#include "thread_pool.h"

namespace tropilla {

struct LlamaShape {
  int64_t dim = 0, n_layers = 0, n_heads = 0, n_kv_heads = 0, head_dim = 0, ffn_dim = 0, vocab_size = 0;
  float norm_eps = 1e-5f;
  int64_t sliding_window = 0;    // 0 = every token sees all before it
  bool tied_embeddings = false, qkv_bias = false, output_bias = false, mlp_bias = false, qk_norm = false;
  std::vector<double> inv_freq;  // (Dh / 2) radians per position
  float attention_factor = 1;    // on cos and sin

  int64_t q_dim() const { return n_heads * head_dim; }
  int64_t kv_dim() const { return n_kv_heads * head_dim; }
};

// Throws std::invalid_argument if a size is not positive or sizes contradict each other.
void check(const LlamaShape& shape);

// A vector is empty where the shape has no such tensor.
using Vector = std::vector<float>;

struct LayerWeights {
  Vector attn_norm, ffn_norm;            // (D)
  PackedMatrix q, k, v, attn_output;     // (H * Dh, D), (K * Dh, D) twice, (D, H * Dh)
  Vector q_bias, k_bias, v_bias, attn_output_bias;
  Vector q_norm, k_norm;                 // (Dh)
  PackedMatrix gate, up, down;           // (F, D) twice, (D, F)
  Vector gate_bias, up_bias, down_bias;
};

class LlamaWeights {
 public:
  explicit LlamaWeights(const LlamaShape& shape);
  LlamaWeights(const LlamaWeights&) = delete;
  LlamaWeights& operator=(const LlamaWeights&) = delete;

  // Takes one tensor as the model file stores it; a vector has one row. Throws
  // std::invalid_argument for an unknown name, a wrong shape or length, a type that the kernels have
  // no product for, or a second load.
  void load(const std::string& name, TensorType type, int64_t rows, int64_t cols,
            std::span<const uint8_t> stored, const Kernels& kernels, ThreadPool& pool);
  // Names of the tensors still to be loaded.
  std::vector<std::string> missing() const;
  bool complete() const { return n_loaded_ == slots_.size(); }
  int64_t size_bytes() const { return arena_.size_bytes(); }

  const LayerWeights& layer(int64_t i) const { return layers_[static_cast<size_t>(i)]; }
  const PackedMatrix& embedding() const { return embedding_; }  // (V, D)
  const PackedMatrix& output() const { return output_.empty() ? embedding_ : output_; }
  const Vector& output_norm() const { return output_norm_; }

 private:
  // Where a tensor goes: one of the two.
  struct Slot {
    PackedMatrix* matrix;
    Vector* vector;
    int64_t rows, cols;
    bool loaded() const { return matrix ? !matrix->empty() : !vector->empty(); }
  };

  void name_layer(const LlamaShape& shape, int64_t index);
  void add(const std::string& name, PackedMatrix& matrix, int64_t rows, int64_t cols);
  void add(const std::string& name, Vector& vector, int64_t size);

  WeightArena arena_;
  PackedMatrix embedding_, output_;
  Vector output_norm_;
  std::vector<LayerWeights> layers_;
  std::map<std::string, Slot> slots_;
  size_t n_loaded_ = 0;
};

}  // namespace tropilla
