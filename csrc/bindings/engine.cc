// The forward pass, as the executor sees it.
#include <nanobind/ndarray.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <deque>
#include <stdexcept>
#include <utility>

#include "bindings/bindings.h"
#include "bindings/buffer.h"
#include "content_hash.h"
#include "llama.h"
#include "sampler/sampler.h"

namespace tropilla::bindings {
namespace {

namespace nb = nanobind;
using namespace nb::literals;
using ReleaseGil = nb::call_guard<nb::gil_scoped_release>;

// (name, type, rows, cols, stored bytes)
using Tensor = std::tuple<std::string, int, int64_t, int64_t, nb::object>;

// Several tensors a call: a thread that must get Python's lock back for each one waits for the others' work.
void load(Llama& model, const std::vector<Tensor>& tensors) {
  std::deque<Buffer> buffers;
  for (const Tensor& tensor : tensors) buffers.emplace_back(std::get<nb::object>(tensor), PyBUF_SIMPLE);
  const nb::gil_scoped_release release;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const auto& [name, type, rows, cols, stored] = tensors[i];
    model.load(name, static_cast<TensorType>(type), rows, cols, buffers[i].span());
  }
}

uint64_t hash_of(nb::handle data) {
  const Buffer bytes(data, PyBUF_SIMPLE);
  const nb::gil_scoped_release release;
  return content_hash(bytes.span());
}

nb::bytes read_kv_block(const Llama& model, int64_t block) {
  const std::span<const uint8_t> from = model.kv_block(block);
  return nb::bytes(from.data(), from.size());
}

void write_kv_block(Llama& model, int64_t block, nb::handle data) {
  const Buffer bytes(data, PyBUF_SIMPLE);
  const std::span<uint8_t> to = model.kv_block(block);
  if (bytes.span().size() != to.size()) throw std::invalid_argument("the data are not as long as a KV block");
  std::copy(bytes.span().begin(), bytes.span().end(), to.begin());
}

// (n_tokens, position of the first, KV blocks) of each sequence, in the order of the tokens.
using Spans = std::vector<std::tuple<int64_t, int64_t, std::vector<int32_t>>>;

bool step(Llama& model, std::vector<int32_t> token_ids, Spans spans, const std::vector<int32_t>& logit_rows) {
  Batch batch{std::move(token_ids), {}};
  int64_t first_token = 0;
  for (auto& [n_tokens, position, blocks] : spans) {
    batch.sequences.push_back({first_token, n_tokens, position, std::move(blocks)});
    first_token += n_tokens;
  }
  return model.step(batch, logit_rows);
}

// What one sequence draws in a step, and whether its sampler threw after that.
using Run = std::pair<std::vector<Draw>, bool>;
// A sequence's sampler, and the tokens proposed to follow its own, which the step computed too.
using Proposed = std::pair<Sampler*, std::vector<int32_t>>;

// Draws after row upon row for as long as each draw is the token that the next row was computed for:
// just what one step for each token would have drawn.
Run draw_run(const Llama& model, const Proposed& proposed, int64_t row) {
  const auto& [sampler, proposal] = proposed;
  Run run;
  auto& [draws, failed] = run;
  try {
    do {
      draws.push_back(sampler->sample(model.logits(row++)));
      sampler->accept(draws.back().token);
    } while (draws.size() <= proposal.size() && draws.back().token == proposal[draws.size() - 1]);
  } catch (const std::exception&) {
    failed = true;  // sample_one() throws it again, where the caller can tell whose it is
  }
  return run;
}

// One run for each sequence, on all threads. The last step's rows of logits are the sequences' in
// order: one, and one more for each proposed token.
std::vector<Run> draw(const Llama& model, ThreadPool& pool, const std::vector<Proposed>& sequences) {
  std::vector<int64_t> first_rows;
  int64_t n_rows = 0;
  for (const auto& [sampler, proposal] : sequences) {
    if (!sampler) throw std::invalid_argument("a sequence has no sampler");  // None, in a list
    first_rows.push_back(n_rows);
    n_rows += 1 + static_cast<int64_t>(proposal.size());
  }
  std::vector<Run> runs(sequences.size());
  pool.parallel_for(static_cast<int64_t>(runs.size()), 1, [&](int64_t begin, int64_t end, int) {
    for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
      runs[i] = draw_run(model, sequences[i], first_rows[i]);
    }
  });
  return runs;
}

Draw sample_one(Llama& model, int64_t row, Sampler& sampler) { return sampler.sample(model.logits(row)); }

using FloatArray = nb::ndarray<nb::numpy, float, nb::ndim<1>>;

FloatArray copy_logits(const Llama& model, int64_t row) {
  const std::span<const float> logits = model.logits(row);
  float* copy = new float[logits.size()];
  std::copy(logits.begin(), logits.end(), copy);
  nb::capsule owner(copy, [](void* p) noexcept { delete[] static_cast<float*>(p); });
  return FloatArray(copy, {logits.size()}, owner);
}

std::vector<float> logprobs(Llama& model, const std::vector<int32_t>& rows, const std::vector<int32_t>& targets) {
  return model.logprobs(rows, targets);
}

std::vector<float> sum_hidden(Llama& model, const std::vector<int32_t>& rows) { return model.sum_hidden(rows); }

void bind_shape(nb::module_& module) {
  nb::enum_<KVType>(module, "KVType", "What keys and values are kept as.")
      .value("F16", KVType::F16)
      .value("F32", KVType::F32)
      .value("Q8_0", KVType::Q8_0)
      .value("Q4_0", KVType::Q4_0);
  module.def("kv_block_bytes", [](KVType type, int64_t head_dim) { return 2 * kv_bytes(type, head_dim); }, "type"_a,
             "head_dim"_a, "Bytes of one head's keys and values in a KV block.");
  nb::class_<LlamaShape>(module, "LlamaShape", "Sizes and switches of a decoder; see tropilla.model.config.")
      .def(nb::init<>())
      .def_rw("dim", &LlamaShape::dim)
      .def_rw("n_layers", &LlamaShape::n_layers)
      .def_rw("n_heads", &LlamaShape::n_heads)
      .def_rw("n_kv_heads", &LlamaShape::n_kv_heads)
      .def_rw("head_dim", &LlamaShape::head_dim)
      .def_rw("ffn_dim", &LlamaShape::ffn_dim)
      .def_rw("vocab_size", &LlamaShape::vocab_size)
      .def_rw("norm_eps", &LlamaShape::norm_eps)
      .def_rw("sliding_window", &LlamaShape::sliding_window)
      .def_rw("tied_embeddings", &LlamaShape::tied_embeddings)
      .def_rw("qkv_bias", &LlamaShape::qkv_bias)
      .def_rw("output_bias", &LlamaShape::output_bias)
      .def_rw("mlp_bias", &LlamaShape::mlp_bias)
      .def_rw("qk_norm", &LlamaShape::qk_norm)
      .def_rw("inv_freq", &LlamaShape::inv_freq)
      .def_rw("attention_factor", &LlamaShape::attention_factor);
}

void construct(Llama* self, const LlamaShape& shape, int64_t max_tokens, int64_t max_logit_rows,
               int64_t n_kv_blocks, KVType kv_type, int n_threads, const std::string& isa) {
  new (self) Llama(shape, {max_tokens, max_logit_rows}, n_kv_blocks, kv_type, n_threads, isa);
}

}  // namespace

void bind_engine(nb::module_& module) {
  module.attr("KV_BLOCK_TOKENS") = kKVBlockTokens;
  module.attr("KV_GROUP") = kKVGroup;
  module.def("content_hash", &hash_of, "data"_a, nb::sig("def content_hash(data: bytes | memoryview) -> int"),
             "Return 64 bits that tell large contents apart, at the speed of memory.");
  bind_shape(module);
  nb::class_<MemoryUse>(module, "MemoryUse")
      .def_ro("weights_bytes", &MemoryUse::weights_bytes)
      .def_ro("kv_bytes", &MemoryUse::kv_bytes)
      .def_ro("scratch_bytes", &MemoryUse::scratch_bytes);
  nb::class_<Llama>(module, "Llama", "The forward pass of one model on the CPU.")
      .def("__init__", &construct, "shape"_a, nb::kw_only(), "max_tokens"_a, "max_logit_rows"_a, "n_kv_blocks"_a,
           "kv_type"_a, "n_threads"_a, "isa"_a)
      .def("load", &load, "tensors"_a,
           nb::sig("def load(self, tensors: Sequence[tuple[str, int, int, int, bytes | memoryview]]) -> None"))
      .def("missing_tensors", &Llama::missing_tensors)
      .def("step", &step, ReleaseGil(), "token_ids"_a, "sequences"_a, "logit_rows"_a)
      .def(
          "draw",
          [](Llama& model, const std::vector<Proposed>& sequences) { return draw(model, model.pool(), sequences); },
          ReleaseGil(), "sequences"_a)
      .def("sample_one", &sample_one, ReleaseGil(), "row"_a, "sampler"_a)
      .def("logits", &copy_logits, "row"_a)
      .def("logprobs", &logprobs, ReleaseGil(), "rows"_a, "targets"_a)
      .def("sum_hidden", &sum_hidden, ReleaseGil(), "rows"_a)
      .def("read_kv_block", &read_kv_block, "block"_a)
      .def("write_kv_block", &write_kv_block, "block"_a, "data"_a,
           nb::sig("def write_kv_block(self, block: int, data: bytes) -> None"))
      .def("cancel", &Llama::cancel)
      .def_prop_ro("isa", &Llama::isa)
      .def_prop_ro("n_threads", [](Llama& model) { return model.pool().size(); })
      .def("memory", &Llama::memory);
}

}  // namespace tropilla::bindings
